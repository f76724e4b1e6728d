"""`musicsteer patch` finds what transformers with Python forward hooks finds."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from job import BUILD
from reference import SITES, Reference, delay
from safetensors.torch import load_file
from sides import Sides
from torch import Tensor

SOURCE, TARGET = "a fast and bright piano with drums", "slow organ"
SECONDS = 0.1
# Of log p, summed over all codes, against its size: each term is a float32 log-softmax.
BOUND = 1e-5


def patch(sides: Sides, folder: Path, *arguments: str) -> tuple[dict[str, object], Tensor]:
    """What the program wrote, and the codes [R, K, N] that it scored."""
    command = [BUILD / "musicsteer", "patch", "--model", sides.bundle, "--duration", str(SECONDS)]
    outputs = ["--threads", "1", "--out", "p.json", "--save-codes", "codes.safetensors"]
    subprocess.run(
        [*command, *arguments, *outputs],
        check=True,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder)},
        capture_output=True,
    )
    return json.loads((folder / "p.json").read_text()), load_file(folder / "codes.safetensors")["codes"]


@torch.inference_mode()
def log_likelihood(reference: Reference, prompt: str, codes: Tensor) -> float:
    """log p of codes [K, N] with the prompt, all positions in one call, without guidance."""
    states, mask = reference.text_states([prompt])
    frames = codes.size(1)
    sequence = delay(codes[None], reference.delays, reference.start, frames)
    logits = reference.model(
        encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=sequence[0, :, :-1]
    ).logits.view(codes.size(0), -1, reference.vocabulary)
    log_p = logits.double().log_softmax(-1)
    by_book = [log_p[k, lag : lag + frames] for k, lag in enumerate(reference.delays)]
    return float(torch.stack(by_book).gather(-1, codes[..., None]).sum())


def recorded(reference: Reference, prompt: str, codes: Tensor) -> dict[str, Tensor]:
    """The activation [1, T, D] at every hook point of a layer."""
    kept: dict[str, Tensor] = {}
    points = [f"decoder.{i}.{site}" for i in range(reference.layers) for site in SITES]
    handles = [
        reference.hook(point, lambda x, point=point: kept.setdefault(point, x.clone())) for point in points
    ]
    log_likelihood(reference, prompt, codes)
    for handle in handles:
        handle.remove()
    return kept


def replaced(
    reference: Reference, prompt: str, codes: Tensor, values: dict[str, Tensor], columns: slice
) -> float:
    """log p with these activations instead of the run's own."""

    def edit(value: Tensor) -> object:
        def put(x: Tensor) -> Tensor:
            x = x.clone()
            x[:, columns] = value[:, columns] if value.dim() == 3 else value
            return x

        return put

    handles = [reference.hook(point, edit(value)) for point, value in values.items()]
    found = log_likelihood(reference, prompt, codes)
    for handle in handles:
        handle.remove()
    return found


def points_of(result: dict[str, object]) -> list[str]:
    return [f"decoder.{layer}.{result['site']}" for layer in result["layers"]]


@pytest.mark.parametrize("window", ["", "0.02-0.06"])
def test_patches_are_those_of_forward_hooks(sides: Sides, tmp_path: Path, window: str) -> None:
    reference = sides.reference
    limits = ["--window", window] if window else []
    found, codes = patch(sides, tmp_path, "--source", SOURCE, "--target", TARGET, *limits)
    columns = slice(None)
    if window:
        # Halves go up, as in the program; Python's round sends them to the even number.
        columns = slice(*(int(float(second) * reference.frame_rate + 0.5) for second in window.split("-")))
    source = recorded(reference, SOURCE, codes[0])
    log_p_source = log_likelihood(reference, SOURCE, codes[0])
    log_p_target = log_likelihood(reference, TARGET, codes[0])
    atol = BOUND * abs(log_p_target)
    (pair,) = found["pairs"]
    assert abs(pair["log_p_source"] - log_p_source) < atol
    assert abs(pair["log_p_target"] - log_p_target) < atol
    assert log_p_source - log_p_target > 1, "both prompts play alike: the comparison would prove nothing"
    moved = 0
    for result in found["results"]:
        values = {point: source[point] for point in points_of(result)}
        expected = replaced(reference, TARGET, codes[0], values, columns)
        assert abs(result["log_p"][0] - expected) < atol, result
        moved += abs(expected - log_p_target) > 100 * atol
    assert moved > len(found["results"]) // 3


@pytest.mark.parametrize("kind", ["zero", "mean"])
def test_ablations_are_those_of_forward_hooks(sides: Sides, tmp_path: Path, kind: str) -> None:
    reference = sides.reference
    prompts = [SOURCE, TARGET]
    found, codes = patch(sides, tmp_path, "--ablate", kind, "--prompt", SOURCE, "--prompt", TARGET)
    frames = codes.size(2)
    runs = [recorded(reference, prompt, clip) for prompt, clip in zip(prompts, codes, strict=True)]
    scale = 1.0 if kind == "mean" else 0.0
    means = {
        point: scale * torch.stack([run[point][0, :frames].double().mean(0) for run in runs]).mean(0).float()
        for point in runs[0]
    }
    for result in found["results"]:
        values = {point: means[point] for point in points_of(result)}
        for i, prompt in enumerate(prompts):
            expected = replaced(reference, prompt, codes[i], values, slice(None))
            assert abs(result["log_p"][i] - expected) < BOUND * abs(expected), result
