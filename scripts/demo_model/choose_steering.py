"""Chooses how the demo model is steered, on prompts and seeds that the evaluation never sees.

    python choose_steering.py --model models/demo --bundle out/demo/bundle --work-dir WORK

Every candidate is screened in either direction along a ladder of growing strength, until level, flatness
or the unsteered model's likelihood of the codes leave the 1st to 99th percentile of 128 unsteered clips, or
more than enough is reached. The best of the screening get five alphas, half and whole of each end, and more
seeds. Best is who reaches the largest multiple of what is asked of its concept at the worse of both ends.
Writes MODEL/steering.json; what WORK/candidates.jsonl holds is not tried again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from steering_runs import (
    KEPT,
    MEASURES,
    Bench,
    Setting,
    Trial,
    extract,
    is_monotone,
    kept_within,
    neutral_prompts,
)

# Other instruments in each; the evaluation's prompts are of the other half, its seeds begin at 2000.
PROMPTS = neutral_prompts()[:32:9]
RANGE = Trial(neutral_prompts()[:32], range(1100, 1104))
SCREENING, FINAL = Trial(PROMPTS, range(1000, 1004)), Trial(PROMPTS, range(1000, 1012))
FINALISTS = 2
ENOUGH = 1.4  # times what is asked: no need of stronger alphas
# Ends of the ladders, in multiples of the difference vector, by strategy and rows. Per layer, the vectors of
# all layers add up; what steers conditional rows alone is multiplied by guidance.
LADDERS = {
    ("per-layer", "both"): (0.05, 0.1, 0.2, 0.3, 0.4, 0.5),
    ("per-layer", "conditional"): (0.025, 0.05, 0.075, 0.1, 0.125, 0.15),
    ("one-to-all", "conditional"): (0.025, 0.05, 0.1, 0.15, 0.2),
    ("single", "both"): (0.5, 1.0, 1.5, 2.0, 2.5),
    ("single", "conditional"): (0.125, 0.25, 0.5, 0.75, 1.0),
}


def candidates(num_layers: int) -> list[Setting]:
    """Per-layer, and the inner layers' vectors put into their own layer alone or into all.

    Into all with both rows is left out: it moved tempo by a tenth at most before the music left its range.
    """
    everywhere = f"0-{num_layers - 1}"
    found = []
    for strategy, rows in LADDERS:
        if strategy == "per-layer":
            found.append(Setting(strategy, None, everywhere, "difference", rows))
            continue
        for layer in range(1, num_layers - 1):
            layers = str(layer) if strategy == "single" else everywhere
            found.append(Setting(strategy, layer, layers, "difference", rows))
    return found


@dataclass
class Verdict:
    """What a setting does to the mean of its concept's measure at rising alphas, zero among them."""

    setting: Setting
    alphas: list[float]
    means: list[float]
    kept: bool  # level, flatness and likelihood stay in range

    @property
    def changes(self) -> tuple[float, float]:
        """Relative change at the lowest and at the highest alpha."""
        plain = self.means[self.alphas.index(0.0)]
        return self.means[0] / plain - 1, self.means[-1] / plain - 1

    def rank(self, asked: Sequence[float]) -> tuple[bool, bool, float]:
        """Larger is better."""
        reached = min(change / wanted for change, wanted in zip(self.changes, asked, strict=True))
        return self.kept, is_monotone(self.means), reached

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        low, high = self.changes
        return {"alphas": self.alphas, "means": self.means, "low": low, "high": high, "kept": self.kept}


class Chooser:
    """Tries settings of one concept."""

    def __init__(self, bench: Bench, concept: str, vectors: Path, log: Path) -> None:
        self.bench, self.concept, self.vectors, self.log = bench, concept, vectors, log
        self.measure, *self.asked = MEASURES[concept]
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
        asked = {"measure": self.measure, "clips": clips, "setting": vars(setting), "alphas": list(alphas)}
        for line in self.known:
            if asked == {key: line[key] for key in asked}:
                return Verdict(setting, line["alphas"], line["means"], line["kept"])
        found = self.bench.dose_response(trial, self.vectors, setting, alphas, unsteered)
        inside = [kept_within(run, self.usual) for run in found]
        kept = all(run[name] for run in inside for name in KEPT)
        verdict = Verdict(setting, list(alphas), [float(run[self.measure].mean()) for run in found], kept)
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asked | verdict.as_dict()) + "\n")
        return verdict

    def screen(self, setting: Setting, unsteered: dict[str, np.ndarray]) -> list[tuple[float, float]]:
        """The best end in each direction, negative first, as (alpha, multiple of what is asked)."""
        best = []
        for sign, wanted in zip((-1, 1), self.asked, strict=True):
            reached = [(0.0, 0.0)]
            for end in LADDERS[setting.strategy, setting.rows]:
                verdict = self.judge(SCREENING, setting, sorted((0.0, sign * end)), unsteered)
                if not verdict.kept:
                    break  # stronger alphas leave the range of unsteered clips further behind
                steered, plain = verdict.means if sign < 0 else reversed(verdict.means)
                reached.append((sign * end, (steered / plain - 1) / wanted))
                if reached[-1][1] > ENOUGH:
                    break
            best.append(max(reached, key=lambda found: found[1]))
        return best

    def choose(self, num_layers: int) -> dict[str, Any]:
        """The best setting, with its alphas."""
        unsteered = self.bench.clips(SCREENING)
        screened = [(self.screen(setting, unsteered), setting) for setting in candidates(num_layers)]
        screened = [(ends, setting) for ends, setting in screened if all(alpha for alpha, _ in ends)]
        if not screened:
            raise SystemExit(f"error: no setting moves {self.concept} both ways with the music in range")
        screened.sort(key=lambda found: min(reached for _, reached in found[0]), reverse=True)
        unsteered, finals = self.bench.clips(FINAL), []
        for ((low, _), (high, _)), setting in screened[:FINALISTS]:
            alphas = [low, low / 2, 0.0, high / 2, high]
            finals.append(self.judge(FINAL, setting, alphas, unsteered))
        best = max(finals, key=lambda verdict: verdict.rank(self.asked))
        chosen = {key: value for key, value in vars(best.setting).items() if value is not None}
        outcome = best.as_dict()
        alphas = outcome.pop("alphas")
        return {
            "prompts": f"prompts/{self.concept}.json",
            **chosen,
            "alphas": alphas,
            "chosen_on": outcome | {"measure": self.measure, "clips": len(FINAL.prompts) * len(FINAL.seeds)},
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
        vectors = extract(arguments.bundle, concept, arguments.work_dir / f"{concept}.safetensors")
        chooser = Chooser(bench, concept, vectors, arguments.work_dir / "candidates.jsonl")
        chosen[concept] = chooser.choose(num_layers)
        print(json.dumps({concept: chosen[concept]}), flush=True)
    text = json.dumps({"concepts": chosen}, indent=2) + "\n"
    (arguments.model / "steering.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
