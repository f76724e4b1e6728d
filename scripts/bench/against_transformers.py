"""Compare the speed of musicsteer and transformers on the same work, in turns. Run it on an idle machine.

    .venv/bin/python scripts/bench/against_transformers.py /large/folder --json speed.json
    .venv/bin/python scripts/bench/against_transformers.py /large/folder --only codec --repeats 1

At musicgen-small's shape with random weights; the checkpoint and its bundles (2.4 GB each) are created in the
folder if they are missing. Both sides steer every layer, guide with scale 3 and sample from the 250 likeliest
tokens; transformers runs its scaled-dot-product attention, on its best number of threads, and decodes clips
one by one, which is also fastest. A repeat of everything takes about 25 minutes on two cores; --only,
--frames and --repeats make it shorter. Prints a Markdown table: medians, and the smallest and largest of all
repeats.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import machine
from comparison_runs import VARIANTS, BenchError, Sides, exporter_offers, make_bundle, make_checkpoint
from comparison_runs import make_vectors as write_vectors

ROOT = Path(__file__).resolve().parents[2]
DTYPES = {"f32": "float32", "bf16": "bfloat16"}
SETTLING = 5  # steps that count for nothing: the first ones allocate
BYTES = {"f32": 4, "bf16": 2, "int8": 1}
# Row -> description.
ROWS = {
    "lm": "language model alone, one clip steered at all layers (s a step)",
    "codec": "codec decode of one clip (s)",
    "load": "loading (s)",
    "clip": "text to WAV, one clip, whole process (s)",
    "memory": "peak memory of that process (GB)",
    "variations": "16 variations (4 strengths x 4 seeds), text to WAV (s)",
    "steering": "steering every layer against none (ratio of step times)",
    "recording": "recording every layer against not (ratio of step times)",
    "length": "step at 1,500 frames against 50 (ratio of step times)",
    "bound": "step against reading its weights once from memory (ratio)",
}


@dataclass
class Figures:
    """Row -> side -> a figure of each repeat."""

    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def add(self, row: str, side: str, value: float) -> None:
        """Keep one."""
        self.rows.setdefault(row, {}).setdefault(side, []).append(value)
        print(f"  {row}, {side}: {value:.4g}", file=sys.stderr, flush=True)


def median_step(steps: list[float]) -> float:
    """Seconds of a step, settled."""
    return statistics.median(steps[SETTLING:] if len(steps) > 2 * SETTLING else steps)


def weight_bytes(manifest: dict[str, Any], variant: str) -> int:
    """What one step has to read: attention, of cross-attention two of four, feed-forward, heads."""
    d = manifest["decoder"]
    width = d["hidden_size"]
    layer = 4 * width * width + 2 * width * width + 2 * width * d["ffn_size"]
    return (d["num_layers"] * layer + d["num_codebooks"] * d["codebook_size"] * width) * BYTES[variant]


def step_spec(steps: int, context: int = 0, steered: bool = True, recorded: bool = False) -> dict[str, Any]:
    """One clip's steps, as engine_times takes them."""
    return {"clips": 1, "context": context, "count": steps, "steered": steered, "recorded": recorded}


def engine_parts(sides: Sides, variant: str, rows: set[str], steps: int, figures: Figures) -> None:
    """Loading, codec and steps of one variant."""
    job: dict[str, Any] = {}
    if variant in BYTES and rows & {"lm", "bound"}:
        job |= {"steps": {"steered": step_spec(steps)}, "read_bandwidth": "bound" in rows}
    if "codec" in rows:
        job["codec"] = {"clips": 1, "frames": sides.frames, "repeats": 3}
    found = sides.engine(variant, **job)
    if "codec" in rows:
        figures.add("codec", variant, statistics.median(found["codec_s"]))
    if variant not in BYTES:
        return
    if "load" in rows:
        figures.add("load", variant, found["load_s"])
    step = {name: median_step(times) for name, times in found["steps"].items()}
    if "lm" in rows:
        figures.add("lm", variant, step["steered"])
    if "bound" in rows and found["bytes_per_s"] > 0:
        manifest = json.loads((sides.bundles[variant] / "manifest.json").read_text("utf-8"))
        floor = weight_bytes(manifest, variant) / found["bytes_per_s"]
        figures.add("bound", variant, step["steered"] / floor)
        figures.add("bandwidth (GB/s)", variant, found["bytes_per_s"] / 1e9)


def engine_ratios(sides: Sides, variant: str, rows: set[str], steps: int, figures: Figures) -> None:
    """What steering, recording and a long clip cost, from sessions that take turns step by step."""
    specs = {}
    if rows & {"steering", "recording"}:
        specs["plain"] = step_spec(steps, steered=False)
    if "steering" in rows:
        specs["steered"] = step_spec(steps)
    if "recording" in rows:
        specs["recorded"] = step_spec(steps, steered=False, recorded=True)
    if "length" in rows:
        specs |= {"early": step_spec(steps, 50), "late": step_spec(steps, 1500)}
    found = sides.engine(variant, steps=specs)["steps"]
    step = {name: median_step(times) for name, times in found.items()}
    for row, of, against in (
        ("steering", "steered", "plain"),
        ("recording", "recorded", "plain"),
        ("length", "late", "early"),
    ):
        if row in rows:
            figures.add(row, variant, step[of] / step[against])


def their_parts(sides: Sides, dtype: str, rows: set[str], options: Any, figures: Figures) -> None:
    """Language model, codec and loading in transformers."""
    job: dict[str, Any] = {}
    if "lm" in rows:
        job["steps"] = {"clips": 1, "count": options.steps}
    if "codec" in rows:
        job["codec"] = {"frames": sides.frames, "repeats": 2}
    if not job and "load" not in rows:
        return
    side = f"transformers {DTYPES[dtype]}"
    found = sides.transformers(DTYPES[dtype], options.threads, **job)
    if "lm" in rows:
        figures.add("lm", side, median_step(found["steps_s"]))
    if "codec" in rows:
        figures.add("codec", side, statistics.median(found["codec_s"]))
    if "load" in rows:
        figures.add("load", side, found["load_s"])


def whole_runs(sides: Sides, rows: set[str], variants: list[str], options: Any, figures: Figures) -> None:
    """Text to WAV, one clip and 16."""
    threads = [options.threads[-1]]
    if rows & {"clip", "memory"}:
        for dtype in DTYPES.values():
            out = str(sides.fresh("theirs"))
            found = sides.transformers(dtype, threads, wav={"clips": 1, "out": out})
            figures.add("clip", f"transformers {dtype}", found["process_s"])
            figures.add("memory", f"transformers {dtype}", found["peak_bytes"] / 1e9)
        for variant in variants:
            ended = sides.generate(variant)
            figures.add("clip", variant, ended.seconds)
            figures.add("memory", variant, ended.peak_bytes / 1e9)
    if "variations" in rows:
        out = str(sides.fresh("theirs"))
        found = sides.transformers("float32", threads, wav={"clips": 1, "calls": options.calls, "out": out})
        rest = found["process_s"] - sum(found["clip_s"])
        one_by_one = rest + 16 * statistics.median(found["clip_s"])
        figures.add("variations", "transformers float32, one by one", one_by_one)
        found = sides.transformers("bfloat16", threads, wav={"clips": 16, "out": out})
        figures.add("variations", "transformers bfloat16, batched", found["process_s"])
        for variant in variants:
            figures.add("variations", variant, sides.variations(variant).seconds)


def spread(values: list[float]) -> str:
    """Median, smallest and largest."""
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def is_theirs(side: str) -> bool:
    """Whether a side is transformers."""
    return side.startswith("transformers")


def table(figures: Figures) -> list[str]:
    """Markdown: each of our sides against each of theirs, the ratio taken repeat by repeat."""
    lines = ["| work | musicsteer | transformers | ratio |", "|---|---|---|---|"]
    for row, sides in figures.rows.items():
        title = ROWS.get(row, row)
        ours = {side: values for side, values in sides.items() if not is_theirs(side)}
        theirs = {side: values for side, values in sides.items() if is_theirs(side)}
        for side, values in ours.items():
            if not theirs:
                lines.append(f"| {title} | {side}: {spread(values)} | | |")
            for other, their_values in theirs.items():
                pairs = list(zip(values, their_values, strict=False))
                # Memory as a share, times as a speed-up.
                ratios = [v / t if row == "memory" else t / v for v, t in pairs]
                sign = "" if row == "memory" else " x"
                name = other.removeprefix("transformers ")
                cells = [title, f"{side}: {spread(values)}", f"{name}: {spread(their_values)}"]
                lines.append(f"| {' | '.join(cells)} | **{statistics.median(ratios):.2f}{sign}** |")
    return lines


def measure(options: argparse.Namespace, notes: list[str]) -> Figures:
    """Run both sides in turns."""
    rows, figures = set(options.only or ROWS), Figures()
    offered = exporter_offers()
    notes += [
        f"{name}: not measured, because this exporter does not offer it"
        for name in BYTES
        if name not in offered
    ]
    wanted = [name for name in VARIANTS if name in offered and (name in BYTES or "codec" in rows)]
    options.folder.mkdir(parents=True, exist_ok=True)
    print("preparing checkpoint and bundles ...", file=sys.stderr, flush=True)
    checkpoint = make_checkpoint(options.folder, options.shape)
    bundles = {name: make_bundle(checkpoint, name) for name in wanted}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        vectors = write_vectors(bundles["f32"], work / "vectors.safetensors")
        sides = Sides(checkpoint, bundles, vectors, options.build, options.frames, work)
        for repeat in range(options.repeats):
            print(f"repeat {repeat + 1} of {options.repeats}", file=sys.stderr, flush=True)
            for dtype in DTYPES:
                their_parts(sides, dtype, rows, options, figures)
            for variant in wanted:
                if rows & {"lm", "codec", "load", "bound"}:
                    engine_parts(sides, variant, rows, options.steps, figures)
                if variant in BYTES and rows & {"steering", "recording", "length"}:
                    engine_ratios(sides, variant, rows, options.steps, figures)
            whole_runs(sides, rows, [name for name in wanted if name in BYTES], options, figures)
    return figures


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder for checkpoint and bundles (12 GB)")
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--frames", type=int, default=500, help="frames of a clip [500: 10 s]")
    parser.add_argument("--steps", type=int, default=120, help="timed decoder steps [120]")
    parser.add_argument("--repeats", type=int, default=3, help="[3]")
    parser.add_argument(
        "--calls", type=int, default=2, help="number of the 16 clips one by one that are timed [2]"
    )
    parser.add_argument("--json", type=Path, help="also write every figure to this file")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument(
        "--shape", default="musicgen-small-shape", help="tiny-mono tries the benchmark itself"
    )
    options = parser.parse_args(arguments)
    if min(options.frames, options.steps, options.repeats, options.calls) < 1:
        parser.error("--frames, --steps, --repeats and --calls must be at least 1")
    count = machine.cores()
    options.threads = sorted({max(1, count // 2), count})
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse_arguments(arguments)
    notes: list[str] = []
    description = machine.describe()
    try:
        figures = measure(options, notes)
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    settings = f"{options.frames} frames a clip, {options.steps} steps timed, {options.repeats} repeats"
    lines = [f"- {name}: {value}" for name, value in description.items()] + [f"- settings: {settings}"]
    lines += [f"- {note}" for note in notes]
    print("\n".join([*lines, "", *table(figures)]))
    if options.json:
        result = {"machine": description, "settings": settings, "notes": notes, "rows": figures.rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
