"""Check that a bundle computes the same on a GPU as on the CPU, and time it.

    musicsteer check-device bundles/small --device cuda

Compares every hook point, logits, greedy choices and samples of the bundle's modules, plain and steered, on
both devices; then the program's own greedy codes and sound, of one clip, a steered one and a batch. Last come
the milliseconds of a step for 1, 16 and 64 clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import platform
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from musicsteer.bundle_code import check_code
from musicsteer.check_checkpoint import (
    PROMPTS,
    Line,
    greedy_line,
    prompt_case,
    run_generate,
    steering,
    summarise,
)
from musicsteer.command_parser import command_parser
from musicsteer.program import program_path
from musicsteer.torchscript.bundle import BundleError
from musicsteer.torchscript.checkpoint import one_line
from musicsteer.torchscript.layer_loop import Modules
from musicsteer.torchscript.parity import compare, difference
from musicsteer.torchscript.parity_case import Case, Steer
from musicsteer.torchscript.replay import replay
from musicsteer.vector_import.vector_file import encode, metadata_of, model_of_bundle

# Sums in another order differ by this share of a tensor's largest value; TF32 would by 1e-3.
BOUND = 1e-4
BATCH = 8  # clips made together and alone
SIZES = (1, 16, 64)  # clips whose steps are timed
TIMED_FRAMES = (50, 150)  # the extra time of the longer clip is its steps


def on_device(case: Case, device: torch.device) -> Case:
    """The case with its tensors there."""
    moved = {
        field.name: value.to(device)
        for field in dataclasses.fields(case)
        if isinstance(value := getattr(case, field.name), Tensor)
    }
    steer = [dataclasses.replace(s, vector=s.vector.to(device)) for s in case.steer]
    return dataclasses.replace(case, **moved, steer=steer)


def play(modules: Modules, case: Case, device: torch.device) -> dict[str, Tensor]:
    """What the modules compute there, brought to the CPU."""
    with device:
        return {name: tensor.cpu() for name, tensor in replay(modules, on_device(case, device)).items()}


def check_modules(
    here: Modules, there: Modules, case: Case, device: torch.device
) -> list[tuple[str, list[Line]]]:
    """The plain comparison and the steered one."""
    sections = []
    for title in ("modules, plain", "modules, steered"):
        expected, actual = play(here, case, torch.device("cpu")), play(there, case, device)
        codes = "codec.codes"  # of sound: a code may lie between two entries of its book
        near = float((expected.pop(codes) == actual.pop(codes)).float().mean())
        lines = [*summarise(compare(expected, actual, BOUND)), greedy_line(expected, actual)]
        lines.append(Line("codes of sound", near > 0.99, f"{100 * near:.1f} % equal"))
        sections.append((title, lines))
        case.steer = steering(expected, here.manifest, len(case.prompt_of_row))
    return sections


@dataclass
class Program:
    """The program on one bundle."""

    binary: Path
    bundle: Path
    folder: Path

    def generate(self, device: str, *arguments: str) -> tuple[Tensor, list[Tensor], float]:
        """Codes [B, K, N], samples [n, C] of each clip, and the seconds it took.

        Raises:
            BundleError: the program failed; with its message.
        """
        out = Path(tempfile.mkdtemp(dir=self.folder))
        codes = out / "codes.safetensors"
        common = ["--model", str(self.bundle), "--device", device, "--out", f"{out}/"]
        began = time.monotonic()
        run_generate(self.binary, [*common, "--save-codes", str(codes), "--format", "float", *arguments])
        seconds = time.monotonic() - began
        wavs = sorted(out.glob("*.wav"))
        samples = [torch.from_numpy(soundfile.read(wav, dtype="float32", always_2d=True)[0]) for wav in wavs]
        return load_file(codes)["codes"], samples, seconds


def margins(
    modules: Modules, tokenizer: Tokenizer, prompts: list[str], codes: Tensor, steer: list[Steer]
) -> Tensor:
    """By how much the CPU's guided logits prefer their own choice to each code [B, K, N], given those before;
    as a share of the largest logit."""
    case = prompt_case(modules.manifest, tokenizer, prompts, codes.size(2))
    case.frames, case.steer = codes, steer
    guided = play(modules, case, torch.device("cpu"))["guided"]
    lost = []
    for k, lag in enumerate(modules.manifest["decoder"]["delays"]):
        scores = guided[:, k, lag : lag + codes.size(2)]
        lost.append(scores.amax(-1) - scores.gather(-1, codes[:, k].unsqueeze(-1)).squeeze(-1))
    return torch.stack(lost, 1) / guided.abs().max()


def check_program(
    program: Program, modules: Modules, tokenizer: Tokenizer, frames: int, device: str
) -> list[Line]:
    """Greedy codes and sound of one clip, a steered one and a batch. Where codes differ, the first that does
    has to be a near tie."""
    rate = modules.manifest["codec"]["frame_rate_hz"]
    vector, steer = random_vectors(program, modules)
    batch = [f"{PROMPTS[i % len(PROMPTS)]}, take {i}" for i in range(BATCH)]
    cases = {
        "one clip": (PROMPTS[:1], []),
        "steered at every layer": (PROMPTS[:1], ["--steer", str(vector)]),
        f"a batch of {BATCH}": (batch, ["--batch-size", str(BATCH)]),
    }
    lines = []
    for title, (prompts, flags) in cases.items():
        arguments = [word for prompt in prompts for word in ("--prompt", prompt)]
        arguments += ["--top-k", "1", "--duration", str(frames / rate), *flags]
        expected, sound, _ = program.generate("cpu", *arguments)
        actual, heard, _ = program.generate(device, *arguments)
        equal = (expected == actual).flatten(1).all(1)
        lost = margins(modules, tokenizer, prompts, actual, steer if "--steer" in flags else [])
        wrong = int((lost > 10 * BOUND).sum())
        ties = int(((lost > 0) & (lost <= 10 * BOUND)).sum())
        remark = f"{int(equal.sum())} of {len(equal)} clips equal, {ties} near ties, {wrong} wrong codes"
        lines.append(Line(f"codes, {title}", wrong == 0, remark))
        errors = [difference("", s, h, BOUND) for s, h, same in zip(sound, heard, equal, strict=True) if same]
        if errors:
            worst = max(errors, key=lambda error: error.share)
            remark = f"{worst.share:.1e} of the largest sample, {len(errors)} clips of equal codes"
            lines.append(Line(f"sound, {title}", all(error.ok for error in errors), remark))
    return lines


def random_vectors(program: Program, modules: Modules) -> tuple[Path, list[Steer]]:
    """A vector file with a random direction of length 1 for each layer, and the same for the modules."""
    dims = modules.manifest["decoder"]
    draw = torch.Generator().manual_seed(2)
    vectors = torch.nn.functional.normalize(
        torch.randn(dims["num_layers"], dims["hidden_size"], generator=draw), dim=1
    )
    arrays = {f"decoder.{i}.resid_post": vector.numpy() for i, vector in enumerate(vectors)}
    words = {"concept": "random", "positive": "a", "negative": "b"}
    path = program.folder / "random.safetensors"
    model = dataclasses.replace(
        model_of_bundle(program.bundle), num_layers=len(vectors), hidden_size=vectors.size(1)
    )
    path.write_bytes(encode(arrays, metadata_of(arrays, model, words, {})))
    return path, [Steer(i, "resid_post", vector, (0, 2)) for i, vector in enumerate(vectors)]


def time_steps(program: Program, modules: Modules, device: str) -> list[str]:
    """Milliseconds of a step, from clips of two lengths."""
    rate = modules.manifest["codec"]["frame_rate_hz"]
    lines = []
    for clips in SIZES:
        arguments = ["--prompt", PROMPTS[0], "--seeds", f"0:{clips}", "--batch-size", str(clips)]
        shorter, longer = (
            min(program.generate(device, *arguments, "--duration", str(frames / rate))[2] for _ in range(2))
            for frames in TIMED_FRAMES
        )
        step = (longer - shorter) / (TIMED_FRAMES[1] - TIMED_FRAMES[0])
        lines.append(
            f"  {clips:>3} clips  {1000 * step:8.2f} ms a step, sound included"
            f"  {clips * (1 / rate) / step:8.1f} times real time"
        )
    return lines


def describe(device: torch.device) -> str:
    """The card and what runs it."""
    about = f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}"
    if device.type != "cuda":
        return f"{device}; {about}"
    card = torch.cuda.get_device_properties(device)
    return (
        f"{card.name}, {card.total_memory / 1e9:.0f} GB, compute capability {card.major}.{card.minor}; "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}; {about}"
    )


def check(options: argparse.Namespace, device: torch.device) -> bool:
    """Compare, print the page, and say whether all of it holds."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # as the program
    here, there = Modules.load(options.bundle), Modules.load(options.bundle, device)
    tokenizer = Tokenizer.from_file(str(options.bundle / "tokenizer.json"))
    about = here.manifest["model"]
    print(f"{about['name']}, weights {about['weights_sha256'][:12]}, precision {here.manifest['precision']}")
    print(describe(device))
    print(f"Bound: {BOUND:.0e} of each tensor's largest value. {options.frames} frames.")
    sections = check_modules(
        here, there, prompt_case(here.manifest, tokenizer, PROMPTS, options.frames), device
    )
    with tempfile.TemporaryDirectory() as folder:
        program = Program(options.binary, options.bundle, Path(folder))
        lines = check_program(program, here, tokenizer, options.frames, options.device)
        sections.append((f"the program on {options.device}", lines))
        for title, found in sections:
            print(f"\n{title}\n" + "\n".join(map(str, found)), flush=True)
        if not options.no_timing:
            print("\ntimes\n" + "\n".join(time_steps(program, here, options.device)))
    failed = sum(not line.ok for _, found in sections for line in found)
    verdict = f"{failed} of the comparisons failed" if failed else "the same as on the CPU"
    print(f"\nVerdict: {verdict}.")
    return failed == 0


def parse_device(name: str) -> torch.device:
    """A device that is here.

    Raises:
        BundleError: it is not.
    """
    if name != "cpu" and not name.startswith("cuda"):
        raise BundleError(f"--device: expected cpu, cuda or cuda:N, found '{name}'")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BundleError(f"--device {name}: {one_line(error)}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BundleError(f"--device {name}: not available here; is this torch a CUDA build?")
    return device


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = command_parser(
        "check-device", "Compare a bundle's results on a GPU with the CPU's, and time both."
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="a bundle that musicsteer export wrote")
    parser.add_argument(
        "--device", metavar="NAME", default="cuda", help="cuda, cuda:N or cpu (default: cuda)"
    )
    parser.add_argument(
        "--binary",
        metavar="FILE",
        type=Path,
        default=Path(program_path()),
        help="the program (default: this installation's)",
    )
    parser.add_argument(
        "--frames", metavar="NUM", type=int, default=50, help="frames to compare (default: 50)"
    )
    parser.add_argument("--no-timing", action="store_true", help="only compare")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if options.frames < 1:
        parser.error("--frames must be at least 1")
    try:
        if not (options.bundle / "manifest.json").is_file():
            raise BundleError(f"{options.bundle} is not a bundle: it has no manifest.json")
        check_code(options.bundle, options.binary)
        return 0 if check(options, parse_device(options.device)) else 1
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"error: {options.bundle}: {one_line(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
