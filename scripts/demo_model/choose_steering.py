"""Chooses how the demo model is steered, on prompts and seeds that the evaluation never sees.

    python choose_steering.py --model models/demo --bundle out/demo/bundle --work-dir WORK

Every candidate is screened at both ends of ladders of growing strength, until level, flatness or the
unsteered model's likelihood of the codes leave the 1st to 99th percentile of 128 unsteered clips. The best
of the screening get all five alphas and more seeds. Best is who reaches the largest multiple of what is asked
of its concept at the worse of both ends. Writes MODEL/steering.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
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
FINALISTS = 3
# Ends of the ladders, in multiples of the difference vector. Per layer, the vectors of all layers add up.
LADDERS = {
    "per-layer": (0.05, 0.1, 0.15, 0.2, 0.3, 0.4),
    "one-to-all": (0.05, 0.1, 0.2, 0.3, 0.4, 0.6),
    "single": (0.5, 1.0, 1.5, 2.0),
}


def candidates(num_layers: int) -> list[Setting]:
    """Per-layer, and the inner layers' vectors put into all layers or into their own alone."""
    everywhere = f"0-{num_layers - 1}"
    found = [Setting("per-layer", None, everywhere, "difference", rows) for rows in ("both", "conditional")]
    for layer in range(1, num_layers - 1):
        found.append(Setting("one-to-all", layer, everywhere, "difference", "both"))
        found.append(Setting("single", layer, str(layer), "difference", "both"))
    return found


def ladder(end: float) -> list[float]:
    """Five alphas from -end to end."""
    return [-end, -end / 2, 0.0, end / 2, end]


@dataclass
class Verdict:
    """What a setting does to its concept's measure, and whether the rest stays."""

    setting: Setting
    end: float
    means: list[float]
    low: float = field(init=False)
    high: float = field(init=False)
    monotone: bool = field(init=False)
    kept: bool

    def __post_init__(self) -> None:
        middle = self.means[len(self.means) // 2]
        self.low, self.high = self.means[0] / middle - 1, self.means[-1] / middle - 1
        self.monotone = is_monotone(self.means)

    def rank(self, asked_low: float, asked_high: float) -> tuple[bool, float]:
        """Larger is better."""
        return self.monotone, min(self.low / asked_low, self.high / asked_high)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "setting": vars(self.setting)}


def judge(
    bench: Bench,
    concept: str,
    trial: Trial,
    vectors: Path,
    setting: Setting,
    alphas: Sequence[float],
    unsteered: dict[str, np.ndarray],
    usual: dict[str, np.ndarray],
) -> Verdict:
    """Generates at these alphas, zero in the middle of them; `usual` says what should stay."""
    found = bench.dose_response(trial, vectors, setting, alphas, unsteered)
    means = [float(run[MEASURES[concept][0]].mean()) for run in found]
    inside = [kept_within(run, usual) for run in found]
    return Verdict(setting, alphas[-1], means, kept=all(run[name] for run in inside for name in KEPT))


def choose(bench: Bench, concept: str, vectors: Path, num_layers: int, log: Path) -> dict[str, Any]:
    """The best setting of a concept, with the ladder it was chosen for."""
    _, *asked = MEASURES[concept]

    def note(stage: str, verdict: Verdict) -> None:
        line = {"concept": concept, "stage": stage, **verdict.as_dict()}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    usual = bench.clips(RANGE)
    unsteered, screened = bench.clips(SCREENING), []
    for setting in candidates(num_layers):
        for end in LADDERS[setting.strategy]:
            ends = [-end, 0.0, end]
            verdict = judge(bench, concept, SCREENING, vectors, setting, ends, unsteered, usual)
            note("screening", verdict)
            if not verdict.kept:
                break  # stronger alphas leave the range of unsteered clips further behind
            screened.append(verdict)
    if not screened:
        raise SystemExit(f"error: no setting steers {concept} and leaves the music in range")
    screened.sort(key=lambda verdict: verdict.rank(*asked), reverse=True)
    unsteered, finals = bench.clips(FINAL), []
    for verdict in screened[:FINALISTS]:
        alphas = ladder(verdict.end)
        finals.append(judge(bench, concept, FINAL, vectors, verdict.setting, alphas, unsteered, usual))
        note("final", finals[-1])
    best = max(finals, key=lambda verdict: (verdict.kept, verdict.rank(*asked)))
    chosen = {key: value for key, value in vars(best.setting).items() if value is not None}
    outcome = {key: value for key, value in best.as_dict().items() if key not in ("setting", "end")}
    return {
        "prompts": f"prompts/{concept}.json",
        **chosen,
        "alphas": ladder(best.end),
        "chosen_on": outcome,
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
        log = arguments.work_dir / "candidates.jsonl"
        chosen[concept] = choose(bench, concept, vectors, num_layers, log)
        print(json.dumps({concept: chosen[concept]}), flush=True)
    text = json.dumps({"concepts": chosen}, indent=2) + "\n"
    (arguments.model / "steering.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
