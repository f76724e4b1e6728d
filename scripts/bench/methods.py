"""Compares the methods of `extract` on the demo model: by how much does each steer, at equal cost?

    python scripts/bench/methods.py --bundle out/demo/bundle --out out/methods [--seeds 0:32] [--max-kl 0.5]

For each concept of models/demo/steering.json, activations are extracted once, every method finds its
direction from them, and a sweep plays prompts of prompts/neutral.json with each, as steering.json says that
the concept is steered. Prints a Markdown table with a row for each method: its reach, the change of the
measure at --max-kl nats a code, by slope and cost (docs/steering.md, Reading a study), relative to the
unsteered clips, with a 95 % bootstrap interval over seeds. A second call goes on where a first one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
# The shipped prompt sets have no numbers, so that ridge cannot run on them.
METHODS = ("mean-diff", "pca", "pca-center", "logistic", "rfm", "random")
MEASURES = {"tempo": "onset_rate_hz", "brightness": "spectral_centroid_hz"}
ALPHAS = (-0.5, -0.25, 0.0, 0.25, 0.5)
AXES = {
    "strategy": "strategies",
    "source_layer": "source_layers",
    "layers": "layers",
    "unit": "units",
    "rows": "rows",
}


def run(*arguments: object) -> None:
    """The program, or an end with its exit code."""
    done = subprocess.run([str(PROGRAM), *map(str, arguments)], stdout=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"musicsteer {arguments[0]} failed with exit code {done.returncode}")


def directions(options: argparse.Namespace, prompts: Path, folder: Path) -> dict[str, Path]:
    """A vector file of each method."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "activations.safetensors"
    files = {method: folder / f"{method}.safetensors" for method in METHODS}
    if not kept.exists():
        generated = ["--model", options.bundle, "--prompts", prompts, "--duration", options.duration]
        limit = ["--limit", options.limit] if options.limit else []
        run("extract", *generated, *limit, "--save-activations", kept, "--out", files["mean-diff"], "--force")
    for method, file in files.items():
        run("extract", "--from-activations", kept, "--method", method, "--out", file, "--force")
    return files


def sweep(
    options: argparse.Namespace, settings: dict[str, Any], files: dict[str, Path], folder: Path
) -> list[dict[str, Any]]:
    """The records of every method's clips and the unsteered ones."""
    axes = {axis: [settings[key]] for key, axis in AXES.items() if settings.get(key) is not None}
    plan = {
        "model": str(options.bundle),
        "prompts_file": str(ROOT / "prompts" / "neutral.json"),
        "limit": options.prompts,
        "seeds": options.seeds,
        "duration_s": options.duration,
        "kl": True,
        "audio": False,
        "vectors": [{"file": str(file), "alphas": list(ALPHAS), **axes} for file in files.values()],
    }
    file = folder / "plan.json"
    file.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    run("sweep", "--plan", file, "--out", folder / "sweep")
    lines = (folder / "sweep" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def responses(
    records: list[dict[str, Any]], measure: str, file: Path | None
) -> dict[int, NDArray[np.float64]]:
    """For each seed, rows of alpha, measure and cost: of one vector's clips, or of the unsteered ones."""
    found: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    for record in records:
        steered = record["steering"]
        value = record["measures"][measure]
        if value is None or bool(steered) != (file is not None):
            continue
        if not steered or Path(steered[0]["file"]).name == file.name:
            alpha = steered[0]["alpha"] if steered else 0.0
            found[record["seed"]].append((alpha, value, record["kl_nats"]))
    return {seed: np.array(rows) for seed, rows in found.items()}


def reach(rows: NDArray[np.float64], unsteered: NDArray[np.float64], max_kl: float) -> float:
    """Relative change of the measure where the cost, growing as alpha squared, comes to max_kl."""
    base = unsteered[:, 1].mean()
    alpha, change, kl = rows[:, 0], rows[:, 1] - base, rows[:, 2]
    slope = (alpha * change).sum() / (alpha**2).sum()
    cost = (alpha**2 * kl).sum() / (alpha**4).sum()
    return float(slope * np.sqrt(max_kl / cost) / base)


def interval(
    steered: dict[int, NDArray[np.float64]], plain: dict[int, NDArray[np.float64]], max_kl: float
) -> tuple[float, float, float]:
    """The reach and the ends of its 95 % interval, seeds drawn with replacement."""
    seeds = np.array(sorted(steered.keys() & plain.keys()))

    def of(drawn: NDArray[np.int64]) -> float:
        rows = np.concatenate([steered[seed] for seed in drawn])
        return reach(rows, np.concatenate([plain[seed] for seed in drawn]), max_kl)

    rng = np.random.default_rng(0)
    resampled = [of(rng.choice(seeds, len(seeds))) for _ in range(1000)]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return of(seeds), float(low), float(high)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for vectors and sweeps")
    parser.add_argument("--seeds", default="0:32")
    parser.add_argument("--prompts", type=int, default=2, help="neutral prompts")
    parser.add_argument("--limit", type=int, default=0, help="prompts a side to extract from; 0 is all")
    parser.add_argument("--duration", type=float, default=8.0, help="seconds a clip")
    parser.add_argument("--max-kl", type=float, default=0.5, help="nats a code")
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    options = parse_arguments()
    concepts = json.loads((ROOT / "models" / "demo" / "steering.json").read_text(encoding="utf-8"))[
        "concepts"
    ]
    table = {}
    for concept, measure in MEASURES.items():
        folder = options.out / concept
        files = directions(options, ROOT / concepts[concept]["prompts"], folder)
        records = sweep(options, concepts[concept], files, folder)
        plain = responses(records, measure, None)
        for method, file in files.items():
            table[method, concept] = interval(responses(records, measure, file), plain, options.max_kl)
    print(f"| method | {' | '.join(f'{c} ({m})' for c, m in MEASURES.items())} |")
    print("|---" * (len(MEASURES) + 1) + "|")
    for method in METHODS:
        cells = [table[method, concept] for concept in MEASURES]
        text = [f"{value:+.1%} ({low:+.1%} to {high:+.1%})" for value, low, high in cells]
        print(f"| `{method}` | {' | '.join(text)} |")


if __name__ == "__main__":
    main()
