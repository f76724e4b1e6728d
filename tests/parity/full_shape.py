"""Hold the engine to transformers at musicgen-small's full shape, with random weights; not part of the tests.

    python tests/parity/full_shape.py /large/folder > result.md

Makes the checkpoint (2.3 GB) and its bundle (as much again) in the folder unless they are there, and prints a
Markdown block. Needs 8 GB of memory and some minutes. `--shape tiny-mono` tries the script itself.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "src" / "python"), str(HERE)]

from checkpoints import SHAPES, Shape, musicgen_small_shape  # noqa: E402
from comparison import GreedyComparison, compare_greedy, compare_tensors  # noqa: E402
from job import Engine, Request, Run  # noqa: E402
from reference import Reference  # noqa: E402
from shared_runs import PROMPTS, random_codes, teacher_forced  # noqa: E402
from sides import prepare  # noqa: E402

from musicsteer.torchscript.parity import BOUND, Difference, difference  # noqa: E402

TEACHER_FORCED_FRAMES = 4
REQUESTS = (Request(PROMPTS[0]), Request(PROMPTS[1], negative_prompt="sad quiet music"))


@contextmanager
def step(what: str, seconds: dict[str, float]) -> Iterator[None]:
    """Say on stderr what is being done; keep how long it took."""
    print(f"{what} ...", file=sys.stderr, flush=True)
    start = time.monotonic()
    yield
    seconds[what] = time.monotonic() - start


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def compare_everything(reference: Reference, engine: Engine) -> list[Difference]:
    """Text states, every hook point and logits of a few steps, decoded samples."""
    states, mask = reference.text_states(list(PROMPTS))
    ours = engine(texts={str(i): text for i, text in enumerate(PROMPTS)}).tensors
    found = [
        difference("text states", states[i][mask[i].bool()], ours[str(i)], BOUND) for i in range(len(PROMPTS))
    ]
    run = teacher_forced(reference, REQUESTS, TEACHER_FORCED_FRAMES).dumping("activations", "logits")
    found += compare_tensors(reference.run(run), engine.run(run))
    codes = random_codes(reference, 1, 50)
    samples = engine(decode={"samples": codes}).tensors["samples"]
    return [*found, difference("codec samples", reference.decode(codes), samples, BOUND)]


def kind_of(name: str) -> str:
    """decoder.3.mlp_out -> mlp_out"""
    return name.rsplit(".", 1)[-1]


def markdown(shape: Shape, greedy: GreedyComparison, found: list[Difference], facts: dict[str, str]) -> str:
    """The result as a block for the documentation."""
    worst: dict[str, float] = {}
    for d in [*found, *greedy.differences]:
        worst[kind_of(d.name)] = max(worst.get(kind_of(d.name), 0.0), d.share)
    verdict = "equal" if greedy.ok else f"**NOT equal**: {greedy.failure or greedy.differences[0]}"
    lines = [f"### {shape.name}, random weights", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines.append(f"- greedy codes: {verdict} ({greedy.choices} choices, {len(greedy.near_ties)} near ties)")
    lines += [f"  - {tie}" for tie in greedy.near_ties]
    lines += ["", "| tensor | largest error / largest value |", "|---|---|"]
    lines += [f"| {kind} | {share:.1e} |" for kind, share in worst.items()]
    return "\n".join(lines)


def check(shape: Shape, folder: Path, frames: int) -> tuple[str, bool]:
    """The Markdown block, and whether everything held."""
    seconds: dict[str, float] = {}
    with step("make and export", seconds):
        checkpoint, bundle = prepare(shape, folder)
    with step("load in transformers", seconds):
        reference = Reference(checkpoint)
    engine = Engine(bundle, folder, timeout_s=3600.0)
    with step("compare tensors", seconds):
        found = compare_everything(reference, engine)
    with step(f"compare {frames} greedy frames", seconds):
        greedy = compare_greedy(engine, reference, Run(REQUESTS, frames))
    parameters = sum(p.numel() for p in reference.model.parameters())
    size = sum(path.stat().st_size for path in bundle.iterdir())
    facts = {
        "parameters": f"{parameters / 1e6:.1f} million, bundle {size / 1e9:.2f} GB",
        "frames": f"{frames}, guidance 3, {len(REQUESTS)} requests",
        "run on": f"{processor()}, torch {torch.__version__}, transformers {transformers.__version__}",
        "time": ", ".join(f"{what} {took:.0f} s" for what, took in seconds.items()),
    }
    return markdown(shape, greedy, found, facts), greedy.ok and all(d.ok for d in found)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    shapes = {shape.name: shape for shape in [musicgen_small_shape(), *SHAPES]}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where checkpoint and bundle go (5 GB)")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--shape", choices=shapes, default=musicgen_small_shape().name)
    options = parser.parse_args(arguments)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options.folder.mkdir(parents=True, exist_ok=True)
    block, ok = check(shapes[options.shape], options.folder, options.frames)
    print(block)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
