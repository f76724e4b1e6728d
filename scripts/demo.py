"""The demo after setting up: bundle, directions, clips, table. Start scripts/demo.sh instead."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo_table

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "build" / "musicsteer"
CHECKPOINT = ROOT / "models" / "demo"

# What is generated: every prompt with every seed, at every alpha.
PROMPTS = ["piano music", "a synth lead with drums", "organ music", "a marimba groove with percussion"]
SEEDS = "0:2"
DURATION_S = 8.0

# How each concept is steered, where models/demo/steering.json does not say.
STEERING: dict[str, dict[str, Any]] = {
    concept: {
        "prompts": f"prompts/{concept}.json",
        "strategy": "one-to-all",
        "source_layer": 3,
        "unit": "difference",
        "rows": "both",
        "alphas": [-2.0, -1.0, 0.0, 1.0, 2.0],
    }
    for concept in ("tempo", "brightness")
}
# Keys that are passed on to `--steer FILE:key=value`.
STEER_KEYS = {
    "strategy": "strategy",
    "source_layer": "source-layer",
    "layers": "layers",
    "site": "site",
    "unit": "unit",
    "rows": "rows",
}
# Keys that are passed on to `musicsteer extract`.
EXTRACT_KEYS = {
    "limit": "--limit",
    "duration_s": "--duration",
    "seed": "--seed",
    "positions": "--positions",
    "extract_rows": "--rows",
}


class DemoError(Exception):
    """A step failed; the message is one sentence."""


def text_of(value: Any) -> str:
    """A setting as the command line spells it: lists with commas, numbers without needless zeros."""
    if isinstance(value, list):
        return ",".join(text_of(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_steering() -> dict[str, dict[str, Any]]:
    """The settings of each concept: the model's own where its file has the concept, else those above."""
    file = CHECKPOINT / "steering.json"
    chosen = json.loads(file.read_text(encoding="utf-8"))["concepts"] if file.is_file() else {}
    return {concept: chosen.get(concept, STEERING[concept]) for concept in STEERING}


def files_under(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, folders replaced by what is in them."""
    found: list[Path] = []
    for path in paths:
        found += sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [file for file in found if "__pycache__" not in file.parts]


@dataclass
class Step:
    """One thing to make. It is made again if its inputs or settings changed since it was finished."""

    name: str
    title: str
    inputs: list[Path]
    outputs: list[Path]
    settings: list[str]
    make: Callable[[], None]


class Maker:
    """Runs steps, and remembers in `folder` what they were made from."""

    def __init__(self, folder: Path, elapsed_s: float):
        self.folder = folder
        self.start = time.monotonic() - elapsed_s

    def say(self, text: str) -> None:
        """A line with the time since the demo was started."""
        print(f"[{time.monotonic() - self.start:4.0f} s] {text}", flush=True)

    def run(self, step: Step) -> None:
        """Make the step's outputs unless they are up to date."""
        stamp = self.folder / f"{step.name}.json"
        inputs = {
            str(file): [file.stat().st_size, file.stat().st_mtime_ns] for file in files_under(step.inputs)
        }
        made_from = {"settings": step.settings, "inputs": inputs}
        before = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else None
        if before == made_from | {"finished": True} and all(path.exists() for path in step.outputs):
            return
        if before is None and (found := [path for path in step.outputs if path.exists()]):
            raise DemoError(
                f"{found[0]} exists and was not made by this demo: remove it or give another --out"
            )
        self.say(step.title)
        if before is not None:  # what lies there is ours, and old or half made
            for path in step.outputs:
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps(made_from | {"finished": False}), encoding="utf-8")
        step.make()
        stamp.write_text(json.dumps(made_from | {"finished": True}), encoding="utf-8")


def call(command: list[str]) -> None:
    """Run a command without its results; its progress and its errors stay visible.

    Raises:
        DemoError: it failed.
    """
    code = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
    ).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise DemoError(f"exit code {code} from: {' '.join(command)}")


def command_step(name: str, title: str, inputs: list[Path], output: Path, command: list[str]) -> Step:
    """A step that is one command with one output."""
    return Step(name, title, inputs, [output], command, lambda: call(command))


def export_step(bundle: Path) -> Step:
    """Checkpoint -> bundle."""
    program = ROOT / "scripts" / "export_model.py"
    command = [sys.executable, str(program), str(CHECKPOINT), str(bundle)]
    inputs = [program, ROOT / "scripts" / "torchscript", CHECKPOINT]
    return command_step("export", "exporting the demo model to a bundle", inputs, bundle, command)


def extract_step(concept: str, settings: dict[str, Any], bundle: Path, out: Path) -> Step:
    """Prompt set -> direction."""
    prompts = ROOT / settings["prompts"]
    command = [str(PROGRAM), "extract", "--model", str(bundle), "--prompts", str(prompts), "--out", str(out)]
    for key, flag in EXTRACT_KEYS.items():
        if settings.get(key) is not None:
            command += [flag, text_of(settings[key])]
    command += ["--log-level", "warn"]
    inputs = [PROGRAM, bundle / "manifest.json", prompts]
    return command_step(f"extract-{concept}", f"extracting the {concept} direction", inputs, out, command)


def generate_step(title: str, bundle: Path, folder: Path, steer: tuple[Path, str] | None = None) -> Step:
    """Every prompt with every seed, in one batch; steer: a vector file and its settings."""
    command = [
        str(PROGRAM),
        "generate",
        "--model",
        str(bundle),
        "--seed",
        SEEDS,
        "--duration",
        text_of(DURATION_S),
    ]
    for prompt in PROMPTS:
        command += ["--prompt", prompt]
    inputs = [PROGRAM, bundle / "manifest.json"]
    if steer is not None:
        command += ["--steer", f"{steer[0]}:{steer[1]}"]
        inputs.append(steer[0])
    command += ["--out", f"{folder}{os.sep}", "--log-level", "warn"]
    return command_step("-".join(folder.parts[-2:]), title, inputs, folder, command)


def make_clips(
    maker: Maker, concept: str, settings: dict[str, Any], bundle: Path, vector: Path, out: Path
) -> list[Path]:
    """The clips of one concept, a folder an alpha; alpha 0 is no steering and shared by the concepts."""
    folders = []
    for alpha in sorted(float(alpha) for alpha in settings["alphas"]):
        if alpha == 0.0:
            folder, steer, title = out / "clips" / "unsteered", None, "generating clips without steering"
        else:
            folder = out / "clips" / concept / f"alpha{alpha:+g}"
            keys = {name: settings[key] for key, name in STEER_KEYS.items() if settings.get(key) is not None}
            steer = (
                vector,
                ":".join(f"{key}={text_of(value)}" for key, value in ({"alpha": alpha} | keys).items()),
            )
            title = f"generating clips with {concept} steered by alpha {alpha:+g}"
        maker.run(generate_step(title, bundle, folder, steer))
        folders.append(folder)
    return folders


def run_demo(maker: Maker, out: Path) -> None:
    """Everything, in order.

    Raises:
        DemoError: one sentence.
    """
    for path, what in ((CHECKPOINT / "config.json", "the demo model"), (PROGRAM, "the program")):
        if not path.is_file():
            raise DemoError(f"{what} is missing: there is no {path}")
    steering = read_steering()
    bundle = out / "bundle"
    maker.run(export_step(bundle))
    folders_of: dict[str, list[Path]] = {}
    for concept, settings in steering.items():
        vector = out / f"{concept}.safetensors"
        maker.run(extract_step(concept, settings, bundle, vector))
        folders_of[concept] = make_clips(maker, concept, settings, bundle, vector, out)

    records = [folder / "clips.jsonl" for folders in folders_of.values() for folder in folders]
    table = out / "table.txt"
    tools = [Path(__file__).resolve(), Path(demo_table.__file__)]
    medleys = {concept: out / f"{concept}.wav" for concept in folders_of}

    def measure() -> None:
        for concept, folders in folders_of.items():
            demo_table.write_medley(folders, medleys[concept])
        table.write_text(demo_table.format_table(folders_of), encoding="utf-8")

    outputs = [table, *medleys.values()]
    title = "measuring tempo, brightness and onsets with librosa"
    maker.run(Step("measure", title, tools + records, outputs, sorted(folders_of), measure))

    print(f"\n{table.read_text(encoding='utf-8')}\nListen:")
    for concept, medley in medleys.items():
        sides = json.loads((ROOT / steering[concept]["prompts"]).read_text(encoding="utf-8"))
        low, high = sides["negative"]["label"], sides["positive"]["label"]
        alphas = ", ".join(f"{alpha:+g}" if alpha else "0" for alpha in sorted(steering[concept]["alphas"]))
        print(f"  {medley}: from {low} to {high}, one prompt and seed at alpha {alphas}")
    print(f"  {out / 'clips'}: every clip; clips.jsonl in each folder tells how it was made")


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
    except DemoError as error:
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
