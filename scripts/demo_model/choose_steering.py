"""Chooses how the demo model is steered, on prompts and seeds that the evaluation never sees.

    python choose_steering.py --model models/demo --bundle out/demo/bundle --work-dir WORK

Every candidate (strategy, layers, unit, rows) is tried on ladders of five alphas. A ladder is acceptable if
level, flatness and the unsteered model's likelihood of the codes stay within the 1st to 99th percentile of
unsteered clips. The best has the largest rise of its concept's measure from one end to the other, among those
that rise at every alpha and reach what is asked, if there are any. Writes MODEL/steering.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from steering_runs import (
    MEASURES,
    Bench,
    Setting,
    Trial,
    extract,
    is_monotone,
    kept_within,
    neutral_prompts,
)

# The evaluation's prompts are the other half and its seeds begin at 2000.
PROMPTS = neutral_prompts()[:32:8]
SEEDS = range(1000, 1008)
# Ends of the ladder, as shares of the mean activation norm for unit `residual`.
LADDERS = {"residual": (0.05, 0.1, 0.2, 0.4), "difference": (0.25, 0.5, 1.0, 2.0, 4.0)}


def candidates(num_layers: int) -> list[Setting]:
    """Per-layer, and one-to-all from each layer, in both units and on both choices of rows."""
    everywhere = f"0-{num_layers - 1}"
    found = []
    for unit in LADDERS:
        for rows in ("both", "conditional"):
            found.append(Setting("per-layer", None, everywhere, unit, rows))
            found += [Setting("one-to-all", layer, everywhere, unit, rows) for layer in range(1, num_layers)]
    return found


def ladder(end: float) -> list[float]:
    """Five alphas from -end to end."""
    return [-end, -end / 2, 0.0, end / 2, end]


def judge(
    measure: str, found: Sequence[dict[str, np.ndarray]], unsteered: dict[str, np.ndarray]
) -> dict[str, Any]:
    """What one ladder does to the concept's measure and to what should stay."""
    means = [float(run[measure].mean()) for run in found]
    middle = means[len(means) // 2]
    return {
        "means": means,
        "low": means[0] / middle - 1,
        "high": means[-1] / middle - 1,
        "monotone": is_monotone(means),
        "kept": all(all(kept_within(run, unsteered).values()) for run in found),
    }


def choose(bench: Bench, concept: str, vectors: Path, num_layers: int, log: Path) -> dict[str, Any]:
    """The best setting of a concept, with the ladder it was chosen for."""
    measure, asked_low, asked_high = MEASURES[concept]
    trial = Trial(PROMPTS, SEEDS)
    unsteered = bench.clips(trial)
    best: tuple[tuple[bool, bool, float], Setting, float, dict[str, Any]] | None = None
    for setting in candidates(num_layers):
        for end in LADDERS[setting.unit]:
            verdict = judge(measure, bench.dose_response(trial, vectors, setting, ladder(end)), unsteered)
            line = {"concept": concept, "end": end, **vars(setting), **verdict}
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            if not verdict["kept"]:
                break  # stronger alphas leave the range of unsteered clips further behind
            reached = verdict["low"] <= asked_low and verdict["high"] >= asked_high
            rank = (verdict["monotone"], reached, verdict["high"] - verdict["low"])
            if best is None or rank > best[0]:
                best = (rank, setting, end, verdict)
    if best is None:
        raise SystemExit(f"error: no setting steers {concept} and leaves the music in range")
    _, setting, end, verdict = best
    chosen = {key: value for key, value in vars(setting).items() if value is not None}
    return {"prompts": f"prompts/{concept}.json", **chosen, "alphas": ladder(end), "chosen_on": verdict}


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
