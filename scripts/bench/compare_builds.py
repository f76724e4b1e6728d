"""Make the same clips with two builds of the program and compare everything they write, byte by byte.

    python scripts/bench/compare_builds.py /elsewhere/musicsteer build/musicsteer

The clips are steering_grid.py's, with every kind of steering, and two extractions beside them. Compared are
IDs, records, audio, codes, vectors and what is printed; timings are not. Run both builds on the same machine:
another type of processor gives other last bits, and so other codes. It takes a minute on two cores. Exit
code: 0 if nothing differs, 1 if something does, 2 if a run failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from steering_grid import commands, write_inputs

ROOT = Path(__file__).resolve().parents[2]
CLOCKED = {".lock", "timings.jsonl"}  # differ from run to run
MAX_LINES = 100  # of differences


class CompareError(Exception):
    """The comparison failed; one sentence."""


def export_demo(folder: Path) -> Path:
    """The demo model as a bundle."""
    target = folder / "demo"
    command = [ROOT / "build" / "musicsteer", "export", ROOT / "models" / "demo", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CompareError("models/demo cannot be exported: " + done.stderr.strip().splitlines()[-1])
    return target


def extractions() -> list[list[str]]:
    """Arguments of `extract`: all that a direction's file can hold."""
    common = ["--limit", "2", "--duration", "0.4", "--threads", "1", "--batch-size", "4"]
    extract = ["extract", "--model", "bundle", "--prompts", str(ROOT / "prompts" / "tempo.json"), *common]
    pooled = "extracted.activations"
    return [
        [*extract, "--rows", "both", "--save-activations", pooled, "--out", "extracted.safetensors"],
        ["extract", "--from-activations", pooled, "--method", "logistic", "--out", "probe.safetensors"],
    ]


def make(program: Path, bundle: Path, folder: Path) -> None:
    """Everything by one build, in a folder of its own.

    Raises:
        CompareError: a run failed, with what it said.
    """
    folder.mkdir()
    (folder / "cache").mkdir()
    model = write_inputs(folder, bundle)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    for number, arguments in enumerate([*commands(model), *extractions()]):
        done = subprocess.run(
            [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise CompareError(f"{program} {' '.join(arguments[:6])} ... failed: {said}")
        (folder / f"stdout-{number:02}-{arguments[0]}.txt").write_text(done.stdout, encoding="utf-8")


def outputs(folder: Path) -> dict[str, bytes]:
    """What was written, but for inputs and what depends on the clock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in CLOCKED and path.relative_to(folder).parts[0] != "cache"
    }


def values(prefix: str, value: Any) -> dict[str, Any]:
    """The leaves of a JSON value by their path."""
    if not isinstance(value, dict):
        return {prefix: value}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= values(f"{prefix}.{key}", item)
    return leaves


def records(text: bytes) -> dict[str, dict[str, Any]]:
    """A record's name -> its values, of a JSON or JSON Lines file."""
    found: dict[str, dict[str, Any]] = {}
    lines = text.splitlines()
    for value in [json.loads(text)] if text.startswith(b"{\n") or len(lines) < 2 else map(json.loads, lines):
        found[value.get("id") or value.get("file") or ""] = values("", value)
    return found


def record_differences(name: str, before: bytes, after: bytes) -> list[str]:
    """A line for each value of each record that is not the same."""
    old, new = records(before), records(after)
    lines = [f"{name}: {key} is {'gone' if key in old else 'new'}" for key in old.keys() ^ new.keys()]
    for key in old.keys() & new.keys():
        for path in sorted(old[key].keys() | new[key].keys()):
            was, now = old[key].get(path, "missing"), new[key].get(path, "missing")
            if was != now:
                lines.append(f"{name}: {key}{path} was {was!r} and is {now!r}")
    return sorted(lines) or [f"{name}: the same values in other bytes"]


def differences(before: dict[str, bytes], after: dict[str, bytes]) -> list[str]:
    """A line for each file, or value of a record, that is not the same."""
    lines = [f"{name}: is gone" for name in before if name not in after]
    lines += [f"{name}: is new" for name in after if name not in before]
    for name in before:
        if name not in after or before[name] == after[name]:
            continue
        if name.endswith((".json", ".jsonl")):
            lines += record_differences(name, before[name], after[name])
        else:
            equal = sum(1 for a, b in zip(before[name], after[name], strict=False) if a == b)
            lines.append(
                f"{name}: {max(len(before[name]), len(after[name])) - equal} bytes differ "
                f"of {len(before[name])} before, {len(after[name])} after"
            )
    return lines


def main() -> int:
    """Run both builds and print what differs."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("before", type=Path, help="the program before a change")
    parser.add_argument("after", type=Path, help="the program after it")
    parser.add_argument("--bundle", type=Path, help="bundle for both (default: models/demo, exported)")
    parser.add_argument(
        "--bundle-before", type=Path, help="the same model in an older bundle format, for an older program"
    )
    arguments = parser.parse_args()
    for program in (arguments.before, arguments.after):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not a program")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        try:
            bundle = arguments.bundle or export_demo(folder)
            make(arguments.before.resolve(), arguments.bundle_before or bundle, folder / "before")
            make(arguments.after.resolve(), bundle, folder / "after")
        except CompareError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        before, after = outputs(folder / "before"), outputs(folder / "after")
    lines = differences(before, after)
    print("\n".join(lines[:MAX_LINES]), end="\n" if lines else "")
    if len(lines) > MAX_LINES:
        print(f"... and {len(lines) - MAX_LINES} more")
    clips = sum(name.endswith(".wav") for name in before)
    print(
        f"{len(before)} files before and {len(after)} after, {clips} clips among them: "
        + (f"{len(lines)} differences" if lines else "all bytes are the same")
    )
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
