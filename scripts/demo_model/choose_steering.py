"""Chooses how the demo model is steered, on prompts and seeds that the evaluation never sees.

    python choose_steering.py --model models/demo --bundle out/demo/bundle --work-dir WORK

Every candidate is screened in either direction along a ladder of growing strength, until level, flatness
or the unsteered model's likelihood of the codes leave the 1st to 99th percentile of 128 unsteered clips, or
more than enough is reached. The best of the screening get five alphas, half and whole of each end, and more
seeds. Best is who reaches the largest multiple of what is asked of its concept at the worse of both ends; an
end that takes what should stay, brightness beside tempo and the reverse, too far along counts half.
Writes MODEL/steering.json; what WORK/candidates.jsonl holds is not tried again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from steering_runs import (
    AIMS,
    KEPT,
    Aim,
    Bench,
    Setting,
    Trial,
    is_monotone,
    kept_within,
    neutral_prompts,
    strict_rises,
)

# Other instruments in each; the evaluation's prompts are of the other half, its seeds begin at 2000. Clips of
# one seed are alike whatever the prompt, so that seeds count more than prompts.
PROMPTS = neutral_prompts()[:32:9]
RANGE = Trial(neutral_prompts()[:32], range(1100, 1104))
SCREENING, FINAL = Trial(PROMPTS, range(1000, 1004)), Trial(PROMPTS, range(1000, 1012))
FINALISTS = 2
ENOUGH = 1.4  # times what is asked: no need of stronger alphas
# Ends of the ladders, in multiples of the difference vector.
LADDERS = {"brightness": (0.15, 0.3, 0.45), "tempo": (0.2, 0.3, 0.4)}
BEGINNING = {
    "rows": "conditional",
    "schedule": "window,0,0.4",
    "duration_s": 1.0,
    "positions": "window:0-0.4",
    "limit": 100,
}


def candidates(concept: str, num_layers: int) -> list[Setting]:
    """Every layer but the last steered alone, with its own vector.

    This model decides its tempo within the first notes, and then repeats its bars: vectors are read and added
    there, where the prompt does it. Later they make slow notes endless. Steering conditional rows alone is
    multiplied by guidance.
    """
    found = []
    for layer in range(num_layers - 1):
        where = Setting("single", layer, str(layer), "difference", "both")
        found.append(replace(where, **BEGINNING) if concept == "tempo" else where)
    return found


@dataclass
class Verdict:
    """What a setting does to the mean of its concept's measure at rising alphas, zero among them."""

    setting: Setting
    alphas: list[float]
    means: list[float]
    beside: list[float]  # means of what should stay
    kept: bool  # level, flatness and likelihood stay in range
    rises: float  # share of pairs that rise strictly over all alphas

    def change(self, index: int) -> float:
        """Relative change of the measure from alpha 0 to another."""
        return self.means[index] / self.means[self.alphas.index(0.0)] - 1

    def reached(self, index: int, aim: Aim) -> float:
        """The change at an end (index 0 or -1), as a multiple of what is asked there."""
        reached = self.change(index) / (aim.high if index else aim.low)
        moved = self.beside[index] / self.beside[self.alphas.index(0.0)] - 1
        return reached if abs(moved) <= aim.beside_limit else reached / 2

    def rank(self, aim: Aim) -> tuple[bool, bool, float]:
        """Larger is better."""
        return self.kept, is_monotone(self.means), min(self.reached(0, aim), self.reached(-1, aim))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: value for name, value in vars(self).items() if name != "setting"} | {
            "low": self.change(0),
            "high": self.change(-1),
        }


class Chooser:
    """Tries settings of one concept."""

    def __init__(self, bench: Bench, concept: str, log: Path) -> None:
        self.bench, self.concept, self.log = bench, concept, log
        self.aim = AIMS[concept]
        self.usual = bench.clips(RANGE)
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        self.known = [json.loads(line) for line in lines]

    def judge(
        self,
        trial: Trial,
        setting: Setting,
        alphas: Sequence[float],
        unsteered: dict[str, np.ndarray],
    ) -> Verdict:
        """Generates at these alphas, unless the log has it from a run that was cut off."""
        clips = len(trial.prompts) * len(trial.seeds)
        asked = {
            "measure": self.aim.measure,
            "clips": clips,
            "setting": vars(setting),
            "alphas": list(alphas),
        }
        for line in self.known:
            if asked == {key: line[key] for key in asked}:
                return Verdict(
                    setting, *(line[name] for name in ("alphas", "means", "beside", "kept", "rises"))
                )
        vectors = setting.extract(self.bench.bundle, self.concept, self.bench.work_dir)
        found = self.bench.dose_response(trial, vectors, setting, alphas, unsteered)
        inside = [kept_within(run, self.usual) for run in found]
        kept = all(run[name] for run in inside for name in KEPT)
        moved, beside = ([run[name] for run in found] for name in (self.aim.measure, self.aim.beside))
        means, others = ([float(values.mean()) for values in runs] for runs in (moved, beside))
        verdict = Verdict(setting, list(alphas), means, others, kept, strict_rises(np.stack(moved)))
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asked | verdict.as_dict()) + "\n")
        return verdict

    def screen(self, setting: Setting, unsteered: dict[str, np.ndarray]) -> list[tuple[float, float]]:
        """The best end in each direction, negative first, as (alpha, multiple of what is asked)."""
        best = []
        for sign in (-1, 1):
            reached = [(0.0, 0.0)]
            for end in LADDERS[self.concept]:
                verdict = self.judge(SCREENING, setting, sorted((0.0, sign * end)), unsteered)
                if not verdict.kept:
                    break  # stronger alphas leave the range of unsteered clips further behind
                reached.append((sign * end, verdict.reached(0 if sign < 0 else -1, self.aim)))
                if reached[-1][1] > ENOUGH:
                    break
            best.append(max(reached, key=lambda found: found[1]))
        return best

    def choose(self, num_layers: int) -> dict[str, Any]:
        """The best setting, with its alphas."""
        unsteered = self.bench.clips(SCREENING)
        tried = candidates(self.concept, num_layers)
        screened = [(self.screen(setting, unsteered), setting) for setting in tried]
        screened = [(ends, setting) for ends, setting in screened if all(alpha for alpha, _ in ends)]
        if not screened:
            raise SystemExit(f"error: no setting moves {self.concept} both ways with the music in range")
        screened.sort(key=lambda found: min(reached for _, reached in found[0]), reverse=True)
        unsteered, finals = self.bench.clips(FINAL), []
        for ((low, _), (high, _)), setting in screened[:FINALISTS]:
            alphas = [low, low / 2, 0.0, high / 2, high]
            finals.append(self.judge(FINAL, setting, alphas, unsteered))
        best = max(finals, key=lambda verdict: verdict.rank(self.aim))
        outcome = best.as_dict()
        alphas, clips = outcome.pop("alphas"), len(FINAL.prompts) * len(FINAL.seeds)
        return {
            "prompts": f"prompts/{self.concept}.json",
            **best.setting.as_dict(),
            "alphas": alphas,
            "chosen_on": outcome | {"measure": self.aim.measure, "clips": clips},
        }


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="checkpoint; gets steering.json")
    parser.add_argument("--bundle", type=Path, required=True, help="its export")
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--concepts", default="brightness,tempo")
    arguments = parser.parse_args()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.model, arguments.bundle, arguments.work_dir)
    num_layers = bench.model.config.decoder.num_hidden_layers
    chosen = {}
    for concept in arguments.concepts.split(","):
        chooser = Chooser(bench, concept, arguments.work_dir / "candidates.jsonl")
        chosen[concept] = chooser.choose(num_layers)
        print(json.dumps({concept: chosen[concept]}), flush=True)
    text = json.dumps({"concepts": chosen}, indent=2) + "\n"
    (arguments.model / "steering.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
