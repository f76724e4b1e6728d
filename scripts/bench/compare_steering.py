"""Compares ways of steering the demo model at equal cost: methods, strategies, layers, and pairs of vectors.

    python scripts/bench/compare_steering.py methods --bundle out/demo/bundle --out out/compare
    python scripts/bench/compare_steering.py strategies --bundle out/demo/bundle --out out/compare
    python scripts/bench/compare_steering.py layers --bundle out/demo/bundle --out out/compare
    python scripts/bench/compare_steering.py crosstalk --bundle out/demo/bundle --out out/compare

For each concept of models/demo/steering.json, activations are extracted once, and every method finds its
direction from them. `methods` steers with each direction as steering.json says that the concept is steered;
`strategies` steers with mean-diff's in six ways, `layers` at each layer alone. A few clips estimate the cost
of each way; then clips are made at plus and minus the strength that should cost --max-kl nats a code that is
steered: tempo is steered in the first 0.4 s alone, and costs that share of it over the whole clip.
`crosstalk` plays both concepts' vectors with steering.json's largest strengths, alone, together and
orthogonalized. All prompts are neutral, with the same seeds everywhere. Prints a Markdown table, intervals
are 95 %, bootstrapped over seeds. A second call resumes the first.
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

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
NEUTRAL = ROOT / "prompts" / "neutral.json"
# The shipped prompt sets have no numbers, so that ridge cannot run on them.
METHODS = ("mean-diff", "pca", "pca-center", "logistic", "rfm", "random")
MEASURES = {"tempo": "tempo_bpm", "brightness": "spectral_centroid_hz"}
TRIAL_SEEDS = "100000:100004"
TRIAL_ALPHA = 0.2

Json = dict[str, Any]
# seed -> values of its clips
Values = dict[int, list[float]]


def run(*arguments: object, output: bool = False) -> str:
    """Run the program; exit with its code if it fails."""
    target = subprocess.PIPE if output else subprocess.DEVNULL
    done = subprocess.run([str(PROGRAM), *map(str, arguments)], stdout=target, text=True)
    if done.returncode != 0:
        sys.exit(f"musicsteer {arguments[0]} failed with exit code {done.returncode}")
    return done.stdout or ""


def directions(options: argparse.Namespace, concept: Json, folder: Path) -> dict[str, Path]:
    """A vector file of each method, read from what steering.json says."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "activations.safetensors"
    files = {method: folder / f"{method}.safetensors" for method in METHODS}
    if not kept.exists():
        generated = ["--model", options.bundle, "--prompts", ROOT / concept["prompts"]]
        generated += ["--duration", concept.get("duration_s", options.duration)]
        generated += ["--positions", concept.get("positions", "generated")]
        limit = ["--limit", options.limit] if options.limit else []
        run("extract", *generated, *limit, "--save-activations", kept, "--out", files["mean-diff"], "--force")
    for method, file in files.items():
        if not file.exists() or method == "mean-diff":
            run("extract", "--from-activations", kept, "--method", method, "--out", file, "--force")
    return files


def way(file: Path, strategy: str, rows: str, source: int | None = None, layers: str | None = None) -> Json:
    """A vector as a sweep's plan names it, without its strengths."""
    entry: Json = {"file": str(file.resolve()), "strategies": [strategy], "rows": [rows]}
    if source is not None:
        entry["source_layers"] = [source]
    if layers is not None:
        entry["layers"] = [layers]
    return entry


def ways(table: str, concept: Json, files: dict[str, Path]) -> dict[str, Json]:
    """What a table compares."""
    if table == "methods":
        fixed = (concept["strategy"], concept["rows"], concept.get("source_layer"), concept["layers"])
        return {f"`{method}`": way(file, *fixed) for method, file in files.items()}
    file = files["mean-diff"]
    shown = json.loads(run("inspect", file, "--json", output=True))["layers"]
    if table == "layers":
        numbers = [int(name.split(".")[1]) for name in shown]
        return {f"layer {i}": way(file, "single", "both", i, str(i)) for i in numbers}
    best = max(shown, key=lambda name: abs(shown[name]["effect_size"] or 0.0)).split(".")[1]
    found = {}
    for rows in ("both", "conditional"):
        found[f"per-layer, rows {rows}"] = way(file, "per-layer", rows)
        found[f"one-to-all, rows {rows}"] = way(file, "one-to-all", rows, int(best))
        found[f"single, rows {rows}"] = way(file, "single", rows, int(best), best)
    return found


def sweep(options: argparse.Namespace, vectors: list[Json], seeds: str, folder: Path) -> list[Json]:
    """The records of one clip for each vector, strength, prompt and seed."""
    plan = {
        "model": str(options.bundle.resolve()),
        "prompts_file": str(NEUTRAL),
        "limit": options.prompts,
        "seeds": seeds,
        "duration_s": options.duration,
        "kl": True,
        "audio": False,
        "vectors": vectors,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "request.json"
    file.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
    run("sweep", "--plan", file, "--out", folder / "sweep")
    lines = (folder / "sweep" / "runs.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def is_of(record: Json, entry: Json) -> bool:
    """Whether a clip was steered in that way."""
    if not record["steering"]:
        return False
    steering = record["steering"][0]
    if "source_layers" in entry and [steering.get("source_layer")] != entry["source_layers"]:
        return False
    same = Path(steering["file"]).name == Path(entry["file"]).name
    return same and [steering["strategy"]] == entry["strategies"] and [steering["rows"]] == entry["rows"]


def steered_share(options: argparse.Namespace, concept: Json) -> float:
    """The part of a clip that is steered: 1, or that of its "window,FROM,TO"."""
    name, *times = concept.get("schedule", "constant").split(",")
    return (float(times[1]) - float(times[0])) / options.duration if name == "window" else 1.0


def strengths(
    options: argparse.Namespace, found: dict[str, Json], max_kl: float, folder: Path
) -> dict[str, float]:
    """The alpha of each way that should cost `max_kl` over a clip: cost grows as its square."""
    entries = [entry | {"alphas": [-TRIAL_ALPHA, TRIAL_ALPHA]} for entry in found.values()]
    records = sweep(options, entries, TRIAL_SEEDS, folder)
    alphas = {}
    for label, entry in found.items():
        cost = np.mean([r["kl_nats"] for r in records if is_of(r, entry)]) / TRIAL_ALPHA**2
        alphas[label] = float(np.round(np.sqrt(max_kl / cost), 3))
    return alphas


def by_seed(records: list[Json], key: str) -> Values:
    """A measure's values, or `kl_nats`."""
    values: Values = defaultdict(list)
    for record in records:
        value = record[key] if key == "kl_nats" else record["measures"][key]
        if value is not None:
            values[record["seed"]].append(value)
    return values


def relative(high: Values, low: Values, base: Values) -> str:
    """(mean of high - mean of low) / mean of base, with its interval."""
    seeds = np.array(sorted(high.keys() & low.keys() & base.keys()))

    def of(drawn: Any) -> float:
        high_mean, low_mean, base_mean = (
            np.mean(np.concatenate([values[seed] for seed in drawn])) for values in (high, low, base)
        )
        return float((high_mean - low_mean) / base_mean)

    rng = np.random.default_rng(0)
    low_end, high_end = np.quantile([of(rng.choice(seeds, len(seeds))) for _ in range(1000)], [0.025, 0.975])
    return f"{of(seeds):+.0%} [{low_end:+.0%}, {high_end:+.0%}]"


def compare(table: str, options: argparse.Namespace, concepts: Json) -> list[list[str]]:
    """For each way and concept: from minus to plus the strength, and what that cost."""
    cells: dict[str, list[str]] = defaultdict(list)
    for concept, measure in MEASURES.items():
        files = directions(options, concepts[concept], options.out / concept)
        when = {"schedule": concepts[concept].get("schedule", "constant")}
        found = {label: entry | when for label, entry in ways(table, concepts[concept], files).items()}
        folder = options.out / concept / table
        max_kl = options.max_kl * steered_share(options, concepts[concept])
        alphas = strengths(options, found, max_kl, folder / "trial")
        entries = [entry | {"alphas": [-alphas[label], alphas[label]]} for label, entry in found.items()]
        entries[0]["alphas"].append(0.0)  # the unsteered clips, the same for all
        records = sweep(options, entries, options.seeds, folder)
        base = by_seed([r for r in records if not r["steering"]], measure)
        for label, entry in found.items():
            mine = [r for r in records if is_of(r, entry)]
            high, low = (
                by_seed([r for r in mine if (r["steering"][0]["alpha"] > 0) == up], measure)
                for up in (True, False)
            )
            cost = float(np.mean([r["kl_nats"] for r in mine]))
            cells[label].append(f"{relative(high, low, base)} at {alphas[label]:.3g}, {cost:.3g} nats")
    return [[label, *row] for label, row in cells.items()]


def steer_argument(concept: Json, file: Path, alpha: float) -> str:
    """FILE:alpha=...:strategy=...: as generate takes it."""
    parts = [str(file), f"alpha={alpha:g}", f"strategy={concept['strategy']}", f"rows={concept['rows']}"]
    if concept.get("source_layer") is not None:
        parts.append(f"source-layer={concept['source_layer']}")
    return ":".join(
        [*parts, f"layers={concept['layers']}", f"schedule={concept.get('schedule', 'constant')}"]
    )


def play(options: argparse.Namespace, steering: list[str], folder: Path) -> list[Json]:
    """Clips steered by several vectors at once, with their measures and their cost."""
    log = folder / "clips.jsonl"
    if not log.exists():
        texts = json.loads(NEUTRAL.read_text(encoding="utf-8"))["prompts"][: options.prompts]
        prompts = [part for text in texts for part in ("--prompt", text)] + ["--seeds", options.seeds]
        settings = ["--duration", options.duration, "--batch-size", 16, "--force", "--out", folder]
        score = ["--score"] if steering else []
        run("generate", "--model", options.bundle, *prompts, *settings, *score, *steering)
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    files = [folder / record["file"] for record in records]
    measured = json.loads(run("measure", *files, "--json", output=True))
    return [
        {"seed": r["seed"], "measures": m, "cost": r.get("kl_nats", 0.0)}
        for r, m in zip(records, measured, strict=True)
    ]


def crosstalk(options: argparse.Namespace, concepts: Json) -> list[list[str]]:
    """What each vector does to each measure, alone and beside the other."""
    arguments = {}
    for concept in MEASURES:
        files = directions(options, concepts[concept], options.out / concept)
        for sign, alpha in (("+", concepts[concept]["alphas"][-1]), ("-", concepts[concept]["alphas"][0])):
            steer = steer_argument(concepts[concept], files["mean-diff"], alpha)
            arguments[sign + concept] = ["--steer", steer]
    up = arguments["+tempo"] + arguments["+brightness"]
    apart = arguments["+tempo"] + arguments["-brightness"]
    conditions = {
        f"{name[1:]}, alpha {steer[1].split(':')[1][6:]}": steer for name, steer in arguments.items()
    }
    conditions |= {
        "faster and brighter": up,
        "the same, `--orthogonalize`": [*up, "--orthogonalize"],
        "faster and darker": apart,
        "the same, `--orthogonalize` ": [*apart, "--orthogonalize"],
    }
    folder = options.out / "crosstalk"
    plain = play(options, [], folder / "unsteered")
    rows = []
    for i, (label, steering) in enumerate(conditions.items()):
        records = play(options, steering, folder / str(i))
        cells = []
        for measure in MEASURES.values():
            base = by_seed(plain, measure)
            cells.append(relative(by_seed(records, measure), base, base))
        rows.append([label.strip(), *cells, f"{np.mean([r['cost'] for r in records]):.2f}"])
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=("methods", "strategies", "layers", "crosstalk"))
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for vectors and clips")
    parser.add_argument("--seeds", default="0:32")
    parser.add_argument("--prompts", type=int, default=2, help="neutral prompts")
    parser.add_argument("--limit", type=int, default=0, help="prompts a side to extract from; 0 is all")
    parser.add_argument("--duration", type=float, default=8.0, help="seconds a clip")
    parser.add_argument("--max-kl", type=float, default=0.5, help="nats a steered code")
    options = parser.parse_args()
    steering = ROOT / "models" / "demo" / "steering.json"
    concepts = json.loads(steering.read_text(encoding="utf-8"))["concepts"]
    if options.table == "crosstalk":
        header, rows = [*MEASURES.values(), "KL, nats a code"], crosstalk(options, concepts)
    else:
        header = [f"{concept} ({measure})" for concept, measure in MEASURES.items()]
        rows = compare(options.table, options, concepts)
    print(f"| steering | {' | '.join(header)} |")
    print("|---" * (len(header) + 1) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
