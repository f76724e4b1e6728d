"""Check that an exported checkpoint computes the same as transformers.

    musicsteer check facebook/musicgen-small
    musicsteer check demo --bundle out/demo

Compares token ids, text states, every hook point of every layer, logits, codes and samples, plain and steered
by vectors that forward hooks add in transformers; then, if the program is built, its own greedy codes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import T5Tokenizer

from musicsteer.bundle_code import check_code
from musicsteer.command_parser import command_parser
from musicsteer.export_model import add_extras, export, extras_of
from musicsteer.program import program_path
from musicsteer.torchscript.bundle import BundleError
from musicsteer.torchscript.checkpoint import (
    CheckpointError,
    one_line,
    read_checkpoint,
    weights_sha256,
)
from musicsteer.torchscript.common import UnsupportedCheckpoint
from musicsteer.torchscript.layer_loop import Modules
from musicsteer.torchscript.melody import extract_chroma, write_tune
from musicsteer.torchscript.parity import BOUND, Difference, compare
from musicsteer.torchscript.parity_case import Case, Steer, make_case
from musicsteer.torchscript.reference import reference
from musicsteer.torchscript.reference_hooks import steered_through
from musicsteer.torchscript.replay import replay

PROMPTS = [
    "a calm piano melody with soft strings",
    "fast energetic drum and bass with bright synthesisers and a driving beat",
    "slow dark ambient",
]
BINARY_TIMEOUT_S = 1800


@dataclass
class Line:
    """One line of the report."""

    title: str
    ok: bool
    remark: str

    def __str__(self) -> str:
        return f"  {'ok  ' if self.ok else 'FAIL'}  {self.title:<38} {self.remark}"


def prompt_case(manifest: dict[str, Any], tokenizer: Tokenizer, prompts: list[str], num_frames: int) -> Case:
    """The prompts as one padded batch with a null text at its end, random codes and samples."""
    ids = [tokenizer.encode(prompt).ids for prompt in prompts]
    length = max(map(len, ids))
    pad = manifest["text_encoder"]["pad_token_id"]
    case = make_case(manifest, seed=0, requests=len(prompts), num_frames=num_frames)
    rows = range(len(prompts))
    return Case(
        ids=torch.tensor([row + [pad] * (length - len(row)) for row in [*ids, []]]),
        mask=torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in [*ids, []]]),
        prompt_of_row=torch.tensor([*rows, *[len(prompts) for _ in rows]]),
        frames=case.frames,
        samples=case.samples,
        guidance=case.guidance,
        melody=case.melody,
    )


def check_tokens(place: str, tokenizer: Tokenizer) -> Line:
    """The bundle's tokenizer against the one transformers loads."""
    texts = [*PROMPTS, "", "  two  spaces ", "Straße, café №5 ﬁn 東京 🎵"]
    theirs = T5Tokenizer.from_pretrained(place)
    wrong = [text for text in texts if tokenizer.encode(text).ids != theirs(text).input_ids]
    return Line("token ids", not wrong, f"differ for {wrong[0]!r}" if wrong else f"{len(texts)} texts equal")


def kind_of(name: str) -> str:
    """What a tensor is reported under: the hook point without its layer."""
    parts = name.split(".")
    if parts[0] == "prefix":
        return "prefix of melody and text"
    return f"hook point {parts[2]}" if len(parts) == 3 else name


def summarise(differences: list[Difference]) -> list[Line]:
    """One line for each kind of tensor, with the worst of its kind."""
    worst: dict[str, Difference] = {}
    for line in differences:
        kind = kind_of(line.name)
        if kind not in worst or not line.share <= worst[kind].share:
            worst[kind] = line
    return [
        Line(kind, line.ok, line.remark or f"{line.share:.1e} of the largest value ({line.name})")
        for kind, line in worst.items()
    ]


def greedy_line(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> Line:
    """How many greedy choices agree; a near tie may fall either way."""
    chosen = actual["guided"].argmax(-1, keepdim=True)
    best, error = expected["guided"].amax(-1), (expected["guided"] - actual["guided"]).abs().max()
    lost = best - expected["guided"].gather(-1, chosen).squeeze(-1)
    wrong, ties = int((lost > 10 * error).sum()), int(((lost > 0) & (lost <= 10 * error)).sum())
    remark = f"{lost.numel() - wrong - ties} of {lost.numel()} equal, {ties} near ties, {wrong} wrong"
    return Line("greedy choices, guided", wrong == 0, remark)


def steering(expected: dict[str, Tensor], manifest: dict[str, Any], rows: int) -> list[Steer]:
    """A vector as long as the residual stream, at three places, on conditional rows and on both."""
    layers, hidden = manifest["decoder"]["num_layers"], manifest["decoder"]["hidden_size"]
    draw = torch.Generator().manual_seed(1)
    places = [(0, "resid_post"), (layers // 2, "self_attn_out"), (layers - 1, "resid_post_cross")]
    chosen = []
    for index, (layer, site) in enumerate(places):
        norm = expected[f"decoder.{layer}.resid_post"].norm(dim=-1).mean()
        vector = torch.randn(hidden, generator=draw)
        chosen.append(Steer(layer, site, norm * vector / vector.norm(), (0, rows // 2 if index else rows)))
    return chosen


def check_modules(model: Any, modules: Modules, case: Case) -> list[tuple[str, list[Line]]]:
    """The plain comparison and the steered one."""
    plain, played = reference(model, case), replay(modules, case)
    sections = [("plain", [*summarise(compare(plain, played)), greedy_line(plain, played)])]
    case.steer = steering(plain, modules.manifest, len(case.prompt_of_row))
    expected, played = reference(model, case), replay(modules, case)
    for steer in case.steer:  # transformers is steered through a summand, which then differs by the vector
        has_cross = "decoder.0.cross_attn_out" in plain
        through = [steered_through(steer.site, has_cross)]
        if steer.site == "resid_post_cross" and not has_cross:
            through.append("resid_post_self")
        for site in through:
            if site != steer.site:
                expected.pop(f"decoder.{steer.layer}.{site}", None)
    lines = [*summarise(compare(expected, played)), greedy_line(expected, played)]
    moved = float((expected["logits"] - plain["logits"]).abs().max() / plain["logits"].abs().max())
    lines.append(Line("the vectors move the logits", moved > 0.01, f"by {moved:.2f} of the largest"))
    return [*sections, ("steered", lines)]


def run_generate(binary: Path, arguments: list[str]) -> None:
    """Run `musicsteer generate`.

    Raises:
        BundleError: it failed; with its message.
    """
    try:
        done = subprocess.run(
            [str(binary), "generate", *arguments],
            capture_output=True,
            text=True,
            timeout=BINARY_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"{binary} cannot be run: {one_line(error)}") from error
    if done.returncode != 0:
        raise BundleError(f"{binary} generate: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")


def program_codes(
    binary: Path, bundle: Path, prompt: str, duration_s: float, melody: Path | None = None
) -> Tensor:
    """The program's greedy codes [1, K, N] for one prompt, and a melody if there is one.

    Raises:
        BundleError: the program failed; with its message.
    """
    with tempfile.TemporaryDirectory() as folder:
        codes = Path(folder) / "codes.safetensors"
        arguments = ["--model", str(bundle), "--prompt", prompt, "--top-k", "1"]
        arguments += [
            "--duration",
            str(duration_s),
            "--out",
            f"{folder}/clip.wav",
            "--save-codes",
            str(codes),
        ]
        run_generate(binary, arguments + (["--melody", str(melody)] if melody else []))
        return load_file(codes)["codes"]


def check_binary(
    binary: Path, bundle: Path, model: Any, modules: Modules, tokenizer: Tokenizer, num_frames: int
) -> list[Line]:
    """The program's greedy codes, each judged by transformers given the codes before it."""
    dims = modules.manifest["decoder"]
    duration_s = num_frames / modules.manifest["codec"]["frame_rate_hz"]
    lines = []
    hears_melody = modules.manifest["conditioning"]["type"] == "prefix"
    runs = [(prompt, False) for prompt in PROMPTS] + [(PROMPTS[0], True)] * hears_melody
    for prompt, with_melody in runs:
        with tempfile.TemporaryDirectory() as folder:
            tune, chroma = Path(folder) / "tune.wav" if with_melody else None, None
            if tune:
                framing = modules.manifest["conditioning"]["chroma"]
                chroma = extract_chroma(write_tune(tune, framing["sample_rate_hz"]), framing)
            codes = program_codes(binary, bundle, prompt, duration_s, tune)
        case = prompt_case(modules.manifest, tokenizer, [prompt], codes.size(2))
        case.frames, case.melody = codes, chroma
        guided = reference(model, case)["guided"][0]
        lost = []
        for k, lag in enumerate(dims["delays"]):
            scores = guided[k, lag : lag + codes.size(2)]
            lost.append(scores.amax(-1) - scores.gather(-1, codes[0, k].unsqueeze(-1)).squeeze(-1))
        margin = torch.stack(lost)
        wrong = int((margin > 10 * BOUND * guided.abs().max()).sum())
        equal = int((margin == 0).sum())
        title = f"'{prompt[:16]}' and a melody" if with_melody else f"'{prompt[:30]}'"
        lines.append(Line(title, wrong == 0, f"{equal} of {margin.numel()} codes are the best"))
    return lines


def check(options: argparse.Namespace, bundle: Path) -> bool:
    """Compare, print the report, and say whether all of it holds."""
    checkpoint = read_checkpoint(options.checkpoint, extras_of(options))
    modules = Modules.load(bundle)
    tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
    about = modules.manifest["model"]
    if about["weights_sha256"] != weights_sha256(checkpoint.model):
        raise BundleError(f"{bundle} was made from other weights than {options.checkpoint}")
    first = [Line("weights", True, "those of the bundle")]
    sections = [("files", [*first, check_tokens(checkpoint.tokenizer_source, tokenizer)])]
    case = prompt_case(modules.manifest, tokenizer, PROMPTS, options.frames)
    sections += check_modules(checkpoint.model, modules, case)
    if options.binary.is_file():
        lines = check_binary(options.binary, bundle, checkpoint.model, modules, tokenizer, options.frames)
        sections.append((f"greedy codes of {options.binary.name}", lines))
    print(f"{about['name']}: {about['licence']}. {about['licence_note']}".rstrip())
    print(f"Bound: {BOUND:.0e} of each tensor's largest value; integers are equal. {options.frames} frames.")
    for title, lines in sections:
        print(f"\n{title}")
        print("\n".join(map(str, lines)))
    if not options.binary.is_file():
        print(f"\nNot checked: the program ({options.binary} is not there).")
    failed = sum(not line.ok for _, lines in sections for line in lines)
    print(f"\nVerdict: {f'{failed} of the comparisons failed' if failed else 'the same as transformers'}.")
    return failed == 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = command_parser("check", "Compare a checkpoint's bundle with transformers.")
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a folder, or a hub id such as facebook/musicgen-small"
    )
    parser.add_argument(
        "--bundle", metavar="DIR", type=Path, help="a bundle of it (default: export to a temporary folder)"
    )
    parser.add_argument(
        "--binary",
        metavar="FILE",
        type=Path,
        default=Path(program_path()),
        help="the program (default: this installation's)",
    )
    add_extras(parser)
    parser.add_argument(
        "--frames", metavar="NUM", type=int, default=24, help="frames to compare (default: 24)"
    )
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if options.frames < 1:
        parser.error("--frames must be at least 1")
    try:
        if options.bundle is not None and not (options.bundle / "manifest.json").is_file():
            raise BundleError(f"{options.bundle} is not a bundle: it has no manifest.json")
        if options.bundle is not None:
            check_code(options.bundle, options.binary)
        with tempfile.TemporaryDirectory() as folder:
            bundle = options.bundle or export(
                options.checkpoint, Path(folder) / "bundle", extras=extras_of(options), verify=False
            )
            return 0 if check(options, bundle) else 1
    except (CheckpointError, UnsupportedCheckpoint, BundleError) as error:
        print(f"error: {error}", file=sys.stderr)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        print(f"error: {options.bundle or 'the temporary bundle'}: {one_line(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main())
