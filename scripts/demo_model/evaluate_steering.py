"""Evaluates MODEL/steering.json once, on prompts and seeds that choosing it never saw.

    python evaluate_steering.py --model models/demo --bundle out/demo/bundle --work-dir WORK \\
        --out evaluation.json

For each concept: means with 95 % intervals over paired seeds at each alpha, slopes over alpha of its
direction and, at both ends, of random ones of the same norm with the interval of the difference, and
whether level, flatness and likelihood stay within the 1st to 99th percentile of 128 unsteered clips.
Prints Markdown, writes JSON, and notes the effects at both ends in steering.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from steering_runs import (
    AIMS,
    KEPT,
    Bench,
    Setting,
    Trial,
    interval,
    is_monotone,
    kept_within,
    neutral_prompts,
    random_vectors,
    relative_changes,
    slopes,
    strict_rises,
)

# Other instruments in each; choosing used the other half of the prompts, and seeds from 1000 on.
PROMPTS = neutral_prompts()[32::9]
SEEDS = range(2000, 2032)
RANGE = Trial(neutral_prompts()[32:], range(2100, 2104))
SHOWN = ("tempo_bpm", "tempo_default_bpm", "onset_rate", "centroid_hz", "rms", "flatness", "nll")
RANDOM_DIRECTIONS = 8
PAIRS_SHOWN = 12  # single pairs of prompt and seed of which it is said how many rise strictly


def at_alpha(
    found: dict[str, np.ndarray], plain: dict[str, np.ndarray], usual: dict[str, np.ndarray]
) -> dict[str, Any]:
    """Means at one alpha and their changes from the paired unsteered clips, with intervals."""
    figures = {}
    for name in SHOWN:
        change = relative_changes(found[name], plain[name])
        figures[name] = {
            "mean": float(found[name].mean()),
            "interval": interval(found[name]),
            "change": float(change.mean()),
            "change_interval": interval(change),
        }
    return {"figures": figures, "kept": kept_within(found, usual)}


def evaluate(bench: Bench, concept: str, chosen: dict[str, Any], vectors: Path) -> dict[str, Any]:
    """Dose response of the concept's direction and of random ones."""
    aim = AIMS[concept]
    measure = aim.measure
    trial, alphas = Trial(PROMPTS, SEEDS), chosen["alphas"]
    setting = Setting.of(chosen)
    usual, unsteered = bench.clips(RANGE), bench.clips(trial)
    found = bench.dose_response(trial, vectors, setting, alphas, unsteered)
    moved = np.stack([run[measure] for run in found])
    slope = slopes(moved, alphas)
    random_slopes, ends = [], [alphas[0], 0.0, alphas[-1]]
    for seed in range(RANDOM_DIRECTIONS):
        control = random_vectors(vectors, seed, bench.work_dir / "random.safetensors")
        runs = bench.dose_response(trial, control, setting, ends, unsteered)
        random_slopes.append(slopes(np.stack([run[measure] for run in runs]), ends))
    means = [float(run[measure].mean()) for run in found]
    middle = means[len(means) // 2]
    return {
        "measure": measure,
        "alphas": alphas,
        "by_alpha": [at_alpha(run, unsteered, usual) for run in found],
        "change_low": means[0] / middle - 1,
        "change_high": means[-1] / middle - 1,
        "asked": asdict(aim),
        "strict_rises": strict_rises(moved),
        "strict_rises_shown": round(PAIRS_SHOWN * strict_rises(moved[:, :, : PAIRS_SHOWN // len(PROMPTS)])),
        "monotone": is_monotone(means),
        "slope": {"mean": float(slope.mean()), "interval": interval(slope)},
        "random_slopes": [float(values.mean()) for values in random_slopes],
        "differences": [interval(slope - values) for values in random_slopes],
        "difference": interval(slope - np.mean(random_slopes, axis=0)),
    }


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """What steering.json says of an evaluation: the changes at both ends."""
    clips = len(PROMPTS) * len(SEEDS)
    return {
        "measure": result["measure"],
        "low": result["change_low"],
        "high": result["change_high"],
        "clips": clips,
    }


def markdown(concept: str, result: dict[str, Any]) -> str:
    """One table a concept, and the comparison with random directions."""
    lines = [f"### {concept}", "", "| alpha | " + " | ".join(SHOWN) + " | in range |"]
    lines.append("|---" * (len(SHOWN) + 2) + "|")
    for alpha, row in zip(result["alphas"], result["by_alpha"], strict=True):
        cells = []
        for name in SHOWN:
            low, high = row["figures"][name]["interval"]
            change = row["figures"][name]["change"]
            cells.append(f"{row['figures'][name]['mean']:.4g} [{low:.4g}, {high:.4g}] {change:+.1%}")
        missed = [name for name in KEPT if not row["kept"][name]]
        lines.append(f"| {alpha:g} | " + " | ".join(cells) + f" | {', '.join(missed) or 'yes'} |")
    low, high = result["slope"]["interval"]
    beyond = sum(low > 0 for low, _ in result["differences"])
    monotone = "monotone" if result["monotone"] else "not monotone"
    lines += [
        "",
        f"{result['measure']}: {result['change_low']:+.1%} at the lowest alpha, "
        f"{result['change_high']:+.1%} at the highest, {monotone}. Slope {result['slope']['mean']:.3g} "
        f"[{low:.3g}, {high:.3g}] of the middle per unit of alpha; random directions "
        f"{min(result['random_slopes']):.3g} to {max(result['random_slopes']):.3g}; the difference's "
        f"interval lies above zero for {beyond} of {len(result['differences'])}, and against their mean it "
        f"is [{result['difference'][0]:.3g}, {result['difference'][1]:.3g}]. "
        f"{result['strict_rises']:.0%} of pairs rise strictly, {result['strict_rises_shown']} of the first "
        f"{PAIRS_SHOWN}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="checkpoint with steering.json")
    parser.add_argument("--bundle", type=Path, required=True, help="its export")
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON with every figure")
    arguments = parser.parse_args()
    arguments.work_dir.mkdir(parents=True, exist_ok=True)
    file = arguments.model / "steering.json"
    steering = json.loads(file.read_text(encoding="utf-8"))["concepts"]
    bench = Bench(arguments.model, arguments.bundle, arguments.work_dir)
    results = {}
    for concept, chosen in steering.items():
        vectors = Setting.of(chosen).extract(arguments.bundle, concept, arguments.work_dir)
        results[concept] = evaluate(bench, concept, chosen, vectors)
        chosen["evaluated"] = summary(results[concept])
        print(markdown(concept, results[concept]), flush=True)
        arguments.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        file.write_text(json.dumps({"concepts": steering}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
