"""Clips longer than a window, continued clips and sections are what transformers makes of them."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
import torch
from job import Gate, Injection, Request, Run, Section
from reference import Reference
from shared_runs import PROMPTS, random_codes, random_vector
from sides import Sides
from torch import Tensor
from windows_reference import Piece, windowed

from musicsteer.torchscript.parity import BOUND, difference

FRAMES, WINDOW = 58, (24, 14)  # four windows: 0-24, 14-38, 28-52, 42-58


def steering(reference: Reference) -> tuple[Injection, ...]:
    """What counts in the clip's frames: schedules, random frames, and a gate that acts in the same frame."""
    seconds = [frame / reference.frame_rate for frame in (20, 45)]
    gate = Gate("decoder.0.resid_post", random_vector(reference, 9), below=True, threshold=0.031)
    return (
        Injection("decoder.0.resid_post", random_vector(reference, 1), 0.9, schedule="linear,0.2,1.5"),
        Injection(
            "decoder.1.resid_post",
            random_vector(reference, 2),
            -0.8,
            schedule=f"window,{seconds[0]},{seconds[1]}",
        ),
        Injection("decoder.1.mlp_out", random_vector(reference, 3), 0.7, "conditional", probability=0.5),
        Injection("decoder.1.resid_post_cross", random_vector(reference, 4), 0.6, gate=gate),
    )


def requests_of(reference: Reference) -> tuple[Request, ...]:
    return (
        Request(PROMPTS[3]),
        Request(PROMPTS[0], injections=steering(reference), negative_prompt="sad quiet music"),
    )


def test_greedy_codes_in_windows(sides: Sides) -> None:
    run = Run(requests_of(sides.reference), FRAMES, window=WINDOW)
    expected, _ = windowed(sides.reference, run)
    ours = sides.engine({"all": run.dumping("sink"), "single": replace(run, prefill_chunk=1)})
    assert torch.equal(ours.run("all")["codes"], expected)
    assert torch.equal(ours.run("all")["sink"], expected), "frames are handed on once, in order"
    assert torch.equal(ours.run("single")["codes"], expected)
    whole = sides.engine.run(replace(run, window=None))["codes"]
    same = WINDOW[0] - max(sides.reference.delays)  # its last columns read padding where codes would be
    assert torch.equal(whole[:, :, :same], expected[:, :, :same]), "the first window is another"
    assert not torch.equal(whole, expected), "windows change nothing: the comparison would prove nothing"


def test_a_window_of_the_clips_length_is_none(tiny: Sides) -> None:
    run = Run(requests_of(tiny.reference), 24, window=WINDOW, top_k=250)
    ours = tiny.engine({"a": run, "b": replace(run, window=None)})
    assert torch.equal(ours.run("a")["codes"], ours.run("b")["codes"])


def test_given_codes_are_continued_in_windows(sides: Sides) -> None:
    """17 frames are given; the others follow, with the steering of their own time."""
    codes = random_codes(sides.reference, 2, 17, seed=3)
    run = Run(requests_of(sides.reference), FRAMES, window=WINDOW).given(codes)
    expected, _ = windowed(sides.reference, run)
    ours = sides.engine.run(run)["codes"]
    assert torch.equal(ours, expected)
    assert torch.equal(ours[:, :, :17], codes)


def test_more_codes_than_a_window_are_continued(tiny: Sides) -> None:
    """What a clip's first windows gave, given to it again, is gone on with to the same codes."""
    run = Run(requests_of(tiny.reference), FRAMES, window=WINDOW, top_k=250)
    whole = tiny.engine.run(run)["codes"]
    for given in (24, 30, 57):
        assert torch.equal(tiny.engine.run(run.given(whole[:, :, :given]))["codes"], whole), given


def test_a_longer_clip_begins_alike(tiny: Sides) -> None:
    """Noise is keyed by the clip's frame: the same seed, sampled, whatever the length. Only the last frames
    differ, whose columns read padding where a longer clip has codes."""
    plain = (Request(PROMPTS[0], seed=4), Request(PROMPTS[1], seed=5))
    runs = {f"{n}": Run(plain, n, window=WINDOW, top_k=250) for n in (20, 24, 30, FRAMES)}
    ours = tiny.engine(runs)
    whole = ours.run(f"{FRAMES}")["codes"]
    for n in (20, 24, 30):
        same = n - max(tiny.reference.delays)
        assert torch.equal(ours.run(f"{n}")["codes"][:, :, :same], whole[:, :, :same]), n


def own_columns(piece: Piece, is_last: bool) -> slice:
    """Where a window's positions count: none counts twice."""
    frames = piece.result["codes"].size(2)
    return slice(piece.given, frames if not is_last else None)


def test_means_count_each_frame_once(sides: Sides) -> None:
    run = Run(requests_of(sides.reference), FRAMES, window=WINDOW)
    _, pieces = windowed(sides.reference, run.dumping("activations"))
    ours = sides.engine.run(run.dumping("means"))
    for point in sides.reference.points():
        own = [piece.result[point][:2, own_columns(piece, is_last=False)].flatten(2) for piece in pieces]
        columns = torch.cat(own, dim=1)
        assert columns.size(1) == FRAMES
        assert difference(point, columns.mean(1), ours[f"means.{point}"], 2 * BOUND).ok, point


def negative_log_likelihood(reference: Reference, pieces: list[Piece]) -> Tensor:
    """Of the codes that each window decided, [R]."""
    parts = []
    for piece in pieces:
        codes, guided = piece.result["codes"], piece.result["guided"].double()
        frames = codes.size(2)
        log_p = torch.stack(
            [guided[:, k, lag : lag + frames] for k, lag in enumerate(reference.delays)], dim=1
        ).log_softmax(-1)
        parts.append(-log_p.gather(-1, codes[..., None])[:, :, piece.given :, 0])
    return torch.cat(parts, dim=2).mean((1, 2))


def test_scores_in_windows(sides: Sides) -> None:
    """Each code is judged by the window that decided it."""
    run = Run(tuple(replace(r, injections=()) for r in requests_of(sides.reference)), FRAMES, window=WINDOW)
    _, pieces = windowed(sides.reference, run)
    ours = sides.engine.run(run.dumping("scores"))
    assert torch.allclose(ours["nll"], negative_log_likelihood(sides.reference, pieces), rtol=1e-4)
    assert (ours["kl"].abs() < 1e-8).all()


@pytest.mark.parametrize("window", [None, WINDOW])
def test_sections(sides: Sides, window: tuple[int, int] | None) -> None:
    """Prompt and steering change at their frame: within a window, and where a later one hears it again."""
    reference = sides.reference
    injections = steering(reference)
    sections = (
        Section(19, prompt=PROMPTS[3]),
        Section(33, injections=injections[:2]),
        Section(40, prompt=PROMPTS[1], injections=()),
    )
    requests = (
        Request(PROMPTS[0], sections=sections),
        Request(PROMPTS[1], injections=injections[1:], sections=sections[:1]),
    )
    run = Run(requests, FRAMES, window=window)
    expected = windowed(reference, run)[0] if window else reference.run(run)["codes"]
    ours = sides.engine.run(run)["codes"]
    assert torch.equal(ours, expected)
    plain = tuple(dataclasses.replace(request, sections=()) for request in requests)
    without = sides.engine.run(replace(run, requests=plain))["codes"]
    same = 19 - max(reference.delays)
    assert torch.equal(without[:, :, :same], ours[:, :, :same]) and not torch.equal(without, ours)
