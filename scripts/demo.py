"""The demo after setting up: bundle, directions, a sweep, table, report. Start scripts/demo.sh instead."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import medley
from demo_steps import Maker, Step, StepError, call, command_step, times_table

from musicsteer.report.conditions import plain_alpha_text
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import read_sweeps
from musicsteer.report.terminal import format_tables

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / ".venv" / "bin" / "musicsteer"))
CHECKPOINT = ROOT / "models" / "demo"

# What is generated: every prompt with every seed, at every alpha. The number of clips for a strength, prompts
# times seeds, is the number of clips for a batch, so that no batch has to be filled up.
GRID: dict[str, Any] = {
    "prompts": ["piano music", "a synth lead with drums", "a marimba groove with percussion"],
    "seeds": [0, 1, 2, 3],
    "duration_s": 8.0,
    "batch_size": 12,
}
# Keys that are passed on to the sweep, and the names of its axes.
AXES = {
    "strategy": "strategies",
    "source_layer": "source_layers",
    "site": "sites",
    "unit": "units",
    "rows": "rows",
}
# Of the 100 a side in the prompt sets: they steer nearly as far in a quarter of the time (docs/results.md).
# A limit in the model's own file counts for more.
PROMPTS_A_SIDE = 25

# Keys that are passed on to `musicsteer extract`.
EXTRACT_KEYS = {
    "limit": "--limit",
    "duration_s": "--duration",
    "seed": "--seed",
    "positions": "--positions",
    "extract_rows": "--rows",
}


def text_of(value: Any) -> str:
    """A setting as the command line spells it: lists with commas, numbers without needless zeros."""
    if isinstance(value, list):
        return ",".join(text_of(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_steering() -> dict[str, dict[str, Any]]:
    """How the model's own file says that each concept is steered."""
    return json.loads((CHECKPOINT / "steering.json").read_text(encoding="utf-8"))["concepts"]


def vector_axes(file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """A concept's settings as a vector of a sweep's plan: one condition, at each alpha and at 0."""
    vector: dict[str, Any] = {"file": str(file)}
    vector["alphas"] = sorted({0.0, *map(float, settings["alphas"])})
    for key, axis in AXES.items():
        if settings.get(key) is not None:
            vector[axis] = [settings[key]]
    if settings.get("layers") is not None:  # "0,2-4" is steered together: a sweep spells that "0+2-4"
        vector["layers"] = [text_of(settings["layers"]).replace(",", "+")]
    if settings.get("schedule") is not None:
        vector["schedule"] = settings["schedule"]
    return vector


def export_step(bundle: Path) -> Step:
    """Checkpoint -> bundle."""
    command = [str(PROGRAM), "export", str(CHECKPOINT), str(bundle)]
    inputs = [PROGRAM, CHECKPOINT]
    return command_step("export", "exporting the demo model to a bundle", inputs, bundle, command)


def extract_step(concept: str, settings: dict[str, Any], bundle: Path, out: Path) -> Step:
    """Prompt set -> direction."""
    prompts = ROOT / settings["prompts"]
    command = [str(PROGRAM), "extract", "--model", str(bundle), "--prompts", str(prompts), "--out", str(out)]
    wanted = {"limit": PROMPTS_A_SIDE} | settings
    for key, flag in EXTRACT_KEYS.items():
        if wanted.get(key) is not None:
            command += [flag, text_of(wanted[key])]
    command += ["--log-level", "warn"]
    inputs = [PROGRAM, bundle / "manifest.json", prompts]
    return command_step(f"extract-{concept}", f"extracting the {concept} direction", inputs, out, command)


def sweep_step(
    steering: dict[str, dict[str, Any]], bundle: Path, vectors: dict[str, Path], out: Path
) -> Step:
    """Directions -> clips: one sweep of all concepts, whose unsteered clips they share."""
    plan_file = out.with_name(f"{out.name}-plan.json")
    plan = GRID | {
        "model": str(bundle),
        "vectors": [vector_axes(vectors[concept], settings) for concept, settings in steering.items()],
    }
    text = json.dumps(plan, indent=2) + "\n"

    def make() -> None:
        plan_file.write_text(text, encoding="utf-8")
        call([str(PROGRAM), "sweep", "--plan", str(plan_file), "--out", str(out), "--log-level", "warn"])

    strengths = 1 + sum(alpha != 0.0 for vector in plan["vectors"] for alpha in vector["alphas"])
    clips = strengths * len(GRID["prompts"]) * len(GRID["seeds"])
    title = f"generating {clips} clips, unsteered and with {' and '.join(steering)} steered"
    inputs = [PROGRAM, bundle / "manifest.json", *vectors.values()]
    return Step("sweep", title, inputs, [out, plan_file], [text], make, resumable=True)


def table_step(sweep: Path, table: Path, medleys: dict[str, Path]) -> Step:
    """Clips -> what was measured on them, and a WAV of each concept's strengths one after the other."""

    def make() -> None:
        swept = read_sweeps([sweep])
        of_concept = medley.medleys_of(swept)
        for concept, path in medleys.items():
            medley.write_wav(of_concept[concept].clips, path)
        table.write_text(format_tables(swept, others=False), encoding="utf-8")

    inputs = [Path(__file__).resolve(), Path(medley.__file__).resolve(), sweep / "runs.jsonl"]
    title = "joining takes of rising strength"
    return Step("measure", title, inputs, [table, *medleys.values()], list(medleys), make)


def report_step(sweep: Path, report: Path) -> Step:
    """Clips -> a page to listen to them."""
    command = [str(PROGRAM), "report", str(sweep), "--out", str(report)]
    inputs = [PROGRAM, sweep / "plan.json", sweep / "runs.jsonl"]
    return command_step("report", "making the listening report", inputs, report, command)


def run_demo(maker: Maker, out: Path) -> None:
    """Everything, in order.

    Raises:
        StepError: one sentence.
    """
    needed = {CHECKPOINT / "config.json": "the demo model", CHECKPOINT / "steering.json": "how it is steered"}
    for path, what in (needed | {PROGRAM: "the program"}).items():
        if not path.is_file():
            raise StepError(f"{what} is missing: there is no {path}")
    steering = read_steering()
    bundle, sweep, report, table = out / "bundle", out / "sweep", out / "report", out / "table.txt"
    vectors = {concept: out / f"{concept}.safetensors" for concept in steering}
    medleys = {concept: out / f"{concept}.wav" for concept in steering}
    maker.run(export_step(bundle))
    for concept, settings in steering.items():
        maker.run(extract_step(concept, settings, bundle, vectors[concept]))
    maker.run(sweep_step(steering, bundle, vectors, sweep))
    maker.run(table_step(sweep, table, medleys))
    maker.run(report_step(sweep, report))

    print(f"\n{table.read_text(encoding='utf-8')}")
    print(f"The other measures: {shlex.join([str(PROGRAM), 'report', str(sweep), '--table'])}\n\nListen:")
    print(f"  {report / 'index.html'}: open it in a browser and move the strength while the music plays")
    for concept, one in medley.medleys_of(read_sweeps([sweep])).items():
        print(f"  {medleys[concept]}: {medley_text(one)}")
    print(f"  {sweep / 'clips'}: every clip; runs.jsonl beside it tells how each was made")
    times = Path(os.environ.get("STEP_TIMES", os.devnull)).read_text(encoding="utf-8")
    if times:
        print(f"\nTime:\n{times_table(times, time.time())}", end="")


def medley_text(one: medley.Medley) -> str:
    """What is heard, and how it was chosen."""
    prompt, seed = one.pair
    strengths = ", ".join(plain_alpha_text(clip.alpha) for clip in one.clips)
    return (
        f"takes from {one.negative} to {one.positive}, at strength {strengths}\n"
        f"    Each is another take of '{prompt}' with seed {seed}, not one tune played in several ways.\n"
        f"    Of {one.pairs} pairs of prompt and seed it is the one that follows the strength most steadily, "
        f"by its {one.measure.name}."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="The demo's work after setting up; start scripts/demo.sh instead."
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "demo", help="where everything goes")
    parser.add_argument("--elapsed-s", type=float, default=0.0, help="what the clock of the lines starts at")
    options = parser.parse_args(arguments)
    out = options.out.absolute()
    maker = Maker(out / ".steps", options.elapsed_s)
    try:
        run_demo(maker, out)
    except (StepError, ReportError, medley.MedleyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or out}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; run it again to go on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
