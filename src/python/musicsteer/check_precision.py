"""Measure what a precision costs: compare a bundle with the float32 bundle of the same checkpoint.

    musicsteer check-precision out/model-f32 out/model-int8

Clips are drawn from the float32 bundle and given to both (teacher forcing), plainly and with the rows of one
batch steered differently. Prints the KL divergence of the predicted codes in nats a code, how often the
likeliest code agrees, and whether any row depends on its place in the batch or on the other rows. Exits with
1 if the mean KL exceeds the bound anywhere, or a row does.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from musicsteer.bundle_code import check_code
from musicsteer.command_parser import command_parser
from musicsteer.program import program_path
from musicsteer.torchscript.bundle import BundleError
from musicsteer.torchscript.layer_loop import Modules, loop_over_layers
from musicsteer.torchscript.parity_case import Case, Steer, make_case
from musicsteer.torchscript.replay import delay, guided

BOUND = 0.01  # nats a code
ALPHAS = (-2.0, -1.0, 1.0, 2.0)


@dataclass(frozen=True)
class Quality:
    """What one case showed."""

    name: str
    kl: float
    agreement: float  # share of positions with the same likeliest code

    def __str__(self) -> str:
        return f"{self.name}: KL {self.kl:.5f} nats a code, the likeliest code agrees {self.agreement:.1%}"


@torch.inference_mode()
def predictions(modules: Modules, case: Case, states: Tensor) -> Tensor:
    """Logits [B, K, T, V] for the case's codes."""
    dims = modules.manifest["decoder"]
    codes = delay(case.frames, dims["delays"], dims["start_token"])
    loop = loop_over_layers(modules, case, columns=codes.size(2))
    loop.begin(torch.cat([states, torch.zeros_like(states[:1])]))
    codes = torch.cat([codes, codes])
    return torch.cat([loop.step(column) for column in codes.split(1, dim=2)], dim=2)


@torch.inference_mode()
def draw_clips(modules: Modules, case: Case, frames: int) -> Tensor:
    """Codes [R, K, N] sampled with guidance, top-k 250."""
    dims = modules.manifest["decoder"]
    requests, num_codebooks = case.frames.size(0), dims["num_codebooks"]
    states = text_states(modules, case)
    positions = frames + 1 + max(dims["delays"])
    loop = loop_over_layers(modules, case, columns=positions)
    loop.begin(torch.cat([states, torch.zeros_like(states[:1])]))
    sequence = torch.full([requests, num_codebooks, positions], dims["start_token"])
    generator = torch.Generator().manual_seed(0)
    for position in range(positions - 1):
        column = sequence[:, :, position : position + 1]
        logits = guided(loop.step(torch.cat([column, column])), case.guidance)[:, :, 0]
        kept, index = logits.topk(min(250, logits.size(-1)), dim=-1)
        drawn = torch.multinomial(kept.softmax(-1).flatten(0, 1), 1, generator=generator)
        chosen = index.flatten(0, 1).gather(1, drawn).view(requests, num_codebooks)
        for k, lag in enumerate(dims["delays"]):
            if lag <= position < lag + frames:
                sequence[:, k, position + 1] = chosen[:, k]
    lags = enumerate(dims["delays"])
    return torch.stack([sequence[:, k, 1 + lag : 1 + lag + frames] for k, lag in lags], dim=1)


@torch.inference_mode()
def text_states(modules: Modules, case: Case) -> Tensor:
    """States [P - 1, S, Dt] of the case's texts."""
    return modules.text_encoder(case.ids[:-1], case.mask[:-1])


def mean_residual_norms(modules: Modules, case: Case) -> list[float]:
    """Norm of each layer's output: the scale for vectors."""
    loop = loop_over_layers(modules, case, columns=1)
    with torch.inference_mode():
        states = text_states(modules, case)
        loop.begin(torch.cat([states, torch.zeros_like(states[:1])]))
        rows = case.frames.size(0) * 2
        loop.step(torch.full([rows, case.frames.size(1), 1], modules.manifest["decoder"]["start_token"]))
    return [
        float(loop.columns[f"decoder.{i}.resid_post"][0].norm(dim=-1).mean()) for i in range(len(loop.layers))
    ]


def steered_rows(modules: Modules, case: Case) -> list[Steer]:
    """Every request by another alpha in ALPHAS, at all layers, on both its rows.

    A random direction a layer, of a tenth of the residual stream's norm: alpha 2 is a fifth of it.
    """
    draw = torch.Generator().manual_seed(1)
    requests, steers = case.frames.size(0), []
    for layer, norm in enumerate(mean_residual_norms(modules, case)):
        direction = torch.randn(modules.manifest["decoder"]["hidden_size"], generator=draw)
        direction *= 0.1 * norm / direction.norm()
        for request in range(requests):
            vector = ALPHAS[request % len(ALPHAS)] * direction
            for row in (request, request + requests):
                steers.append(Steer(layer, "resid_post", vector, (row, row + 1)))
    return steers


def compare_predictions(name: str, expected: Tensor, actual: Tensor, guidance: float) -> Quality:
    """KL(actual || expected) of the guided predictions."""
    p, q = (guided(logits, guidance).log_softmax(-1) for logits in (actual, expected))
    kl = (p.exp() * (p - q)).sum(-1).mean()
    return Quality(name, float(kl), float((p.argmax(-1) == q.argmax(-1)).float().mean()))


def permuted(case: Case, order: Tensor) -> Case:
    """The case with its requests in another order."""
    requests = case.frames.size(0)
    rows = torch.cat([order, order + requests])
    place = torch.empty_like(rows)
    place[rows] = torch.arange(len(rows))
    moved = [replace(s, rows=(int(place[s.rows[0]]), int(place[s.rows[0]]) + 1)) for s in case.steer]
    return replace(case, prompt_of_row=case.prompt_of_row[rows], frames=case.frames[order], steer=moved)


def rows_are_independent(modules: Modules, case: Case) -> bool:
    """Bit-equal in another order, and beside rows that are steered a hundred times as strongly.

    On one thread: on several, LibTorch's attention depends on a row's place. The program's own does not.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return rows_stay_equal(modules, case)
    finally:
        torch.set_num_threads(threads)


def rows_stay_equal(modules: Modules, case: Case) -> bool:
    """The same, on the threads that there are."""
    states, requests = text_states(modules, case), case.frames.size(0)
    logits = predictions(modules, case, states)
    order = torch.arange(requests).roll(1)
    rows = torch.cat([order, order + requests])
    if not torch.equal(predictions(modules, permuted(case, order), states), logits[rows]):
        return False
    mine = (0, requests)  # the rows of request 0
    loud = [s if s.rows[0] in mine else replace(s, vector=100 * s.vector) for s in case.steer]
    beside = predictions(modules, replace(case, steer=loud), states)
    return all(torch.equal(beside[row], logits[row]) for row in mine)


def check(reference: Modules, lowered: Modules, frames: int, clips: int) -> tuple[list[Quality], bool]:
    """The plain and the steered case, and whether rows are independent."""
    case = make_case(reference.manifest, seed=0, requests=clips, num_frames=1)
    case.frames = draw_clips(reference, case, frames)
    found = []
    for name, steer in (("plain", []), ("steered", steered_rows(reference, case))):
        case.steer = steer
        expected, actual = (predictions(m, case, text_states(m, case)) for m in (reference, lowered))
        found.append(compare_predictions(name, expected, actual, case.guidance))
        found.append(compare_predictions(f"{name}, no guidance", expected, actual, 1.0))
    return found, rows_are_independent(lowered, case)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = command_parser("check-precision", "Measure what a lowered bundle's precision costs.")
    parser.add_argument("reference", metavar="REFERENCE", type=Path, help="the float32 bundle")
    parser.add_argument("lowered", metavar="LOWERED", type=Path, help="the bundle of bf16 or int8 weights")
    parser.add_argument("--frames", metavar="NUM", type=int, default=100, help="of each clip (default: 100)")
    parser.add_argument("--clips", metavar="NUM", type=int, default=8, help="in the batch (default: 8)")
    options = parser.parse_args(arguments)
    for folder in (options.reference, options.lowered):
        if not (folder / "manifest.json").is_file():
            print(f"error: {folder}: no manifest.json, so this is not a model bundle", file=sys.stderr)
            return 1
    hashes = [
        json.loads((folder / "manifest.json").read_text("utf-8"))["model"]["weights_sha256"]
        for folder in (options.reference, options.lowered)
    ]
    if hashes[0] != hashes[1]:
        print("error: the two bundles are of different checkpoints", file=sys.stderr)
        return 1
    try:
        for folder in (options.reference, options.lowered):
            check_code(folder, Path(program_path()))
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    modules = [Modules.load(folder) for folder in (options.reference, options.lowered)]
    found, independent = check(*modules, options.frames, options.clips)
    for line in found:
        print(line)
    print("rows are independent of each other" if independent else "rows DEPEND on each other")
    return 0 if independent and all(quality.kl <= BOUND for quality in found) else 1


if __name__ == "__main__":
    sys.exit(main())
