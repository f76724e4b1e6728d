"""A batch is one decoder call a step, and a clip does not depend on who shares its batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from comparison import same_clip
from job import Injection, Request, Run
from shared_runs import PROMPTS, batch, random_codes, random_vector
from sides import Sides

from musicsteer.torchscript.parity import BOUND, difference

FRAMES = 24
TEXT_LENGTH = 64  # given, as batches of one run share it


def clips(sides: Sides, count: int) -> tuple[Request, ...]:
    """Different prompts, seeds and steering; one with a negative prompt."""
    requests = []
    for i in range(count):
        point = f"decoder.{i % sides.reference.layers}.resid_post"
        steering = (Injection(point, random_vector(sides.reference, i), 0.3 * (i % 3)),)
        negative = PROMPTS[1] if i % 5 == 4 else None
        requests.append(Request(PROMPTS[i % 4], negative_prompt=negative, seed=i, injections=steering))
    return tuple(requests)


def sampled(requests: tuple[Request, ...]) -> Run:
    run = Run(requests, FRAMES, top_k=30, text_length=TEXT_LENGTH)
    return run.dumping("logits", "samples")


def test_sixteen_requests_make_one_call_a_step(tiny: Sides) -> None:
    positions = FRAMES + max(tiny.reference.delays)
    output = tiny.engine.run(sampled(clips(tiny, 16)))
    assert output["codes"].shape[0] == 16
    assert output.forward_calls == output.steps == positions
    unguided = tiny.engine.run(dataclasses.replace(sampled(clips(tiny, 16)), guidance=1.0))
    assert unguided.forward_calls == positions
    assert unguided["logits"].size(0) == 16  # half the rows


def rows_are_aligned(sides: Sides) -> bool:
    """Whether every head and row starts at a multiple of 32 bytes, as in published checkpoints (64 a head).

    Else a row's last bits depend on its place in the batch (head size 15: 2e-7 of the largest value). MKL's
    order of adding depends on addresses (not so under MKL_CBWR=COMPATIBLE), and the numbers of the last row
    that no whole vector takes go through other code of elementwise functions (quick_gelu's sigmoid).
    """
    config = sides.reference.model.config.decoder
    return (config.hidden_size // config.num_attention_heads) % 8 == 0


@pytest.mark.parametrize("threads", [1, 2])
def test_companions_in_another_order(sides: Sides, threads: int) -> None:
    """Bit for bit, wherever the clip stands; to float32's noise where rows are not aligned."""
    requests = clips(sides, 6)
    given = random_codes(sides.reference, 6, FRAMES)
    orders = {"plain": list(range(6)), "turned": [5, 4, 3, 2, 1, 0], "mixed": [3, 0, 5, 1, 4, 2]}
    runs = {name: sampled(tuple(requests[i] for i in order)) for name, order in orders.items()}
    if not rows_are_aligned(sides):
        runs = {name: run.given(given[orders[name]]) for name, run in runs.items()}
    results = sides.engine(runs, threads=threads)
    plain = results.run("plain")
    for name, order in orders.items():
        for place, i in enumerate(order):
            if rows_are_aligned(sides):
                assert same_clip(plain, i, results.run(name), place), (name, i)
            else:
                guided = results.run(name)["guided"][place]
                assert difference("guided", plain["guided"][i], guided, BOUND).ok, (name, i)


def hard(sides: Sides, seed: int) -> tuple[Injection, ...]:
    """Far beyond anything that still is music."""
    layers = range(sides.reference.layers)
    return tuple(
        Injection(f"decoder.{i}.mlp_out", random_vector(sides.reference, seed + i), 1e3) for i in layers
    )


def companions(sides: Sides) -> dict[str, tuple[Request, ...]]:
    """Five others beside clip 0: copies, other seeds, prompts or negatives, steered very hard."""
    first, *others = clips(sides, 6)
    return {
        "plain": (first, *others),
        "copies": (first,) * 6,
        "seeds": (first, *(dataclasses.replace(first, seed=100 + i) for i in range(5))),
        "texts": (
            first,
            *(Request(f"a {word} melody", seed=7) for word in "slow dark warm fast loud".split()),
        ),
        "hard": (first, *(dataclasses.replace(r, injections=hard(sides, i)) for i, r in enumerate(others))),
        "negatives": (first, *(Request(PROMPTS[1], negative_prompt=f"{i}") for i in range(5))),
    }


@pytest.mark.parametrize("threads", [1, 2])
def test_other_companions(sides: Sides, threads: int) -> None:
    """Bit for bit, whatever stands beside it: dummy copies, few or many texts, extreme steering."""
    runs = {name: sampled(requests) for name, requests in companions(sides).items()}
    results = sides.engine(runs, threads=threads)
    plain = results.run("plain")
    for name in companions(sides):
        assert same_clip(plain, 0, results.run(name), 0), name


def test_companions_while_codes_are_given(tiny: Sides) -> None:
    """The same for chunks of given codes."""
    given = random_codes(tiny.reference, 6, 20)
    runs = {
        name: dataclasses.replace(sampled(requests), prefill_chunk=8).given(given)
        for name, requests in companions(tiny).items()
    }
    results = tiny.engine(runs)
    for name in runs:
        assert same_clip(results.run("plain"), 0, results.run(name), 0), name


def test_same_job_same_bits(tiny: Sides) -> None:
    run = sampled(batch())
    one, other = tiny.engine.run(run), tiny.engine.run(run)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.tensors.items())
