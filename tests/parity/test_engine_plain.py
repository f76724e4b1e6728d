"""Unsteered, the engine computes what transformers does: texts, every hook point, logits, greedy codes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from comparison import compare_greedy, compare_tensors, worst
from job import Output, Request, Run
from parity_report import ParityReport
from shared_runs import PROMPTS, alone, batch, teacher_forced
from sides import Sides

from musicsteer.torchscript.parity import BOUND, difference

FRAMES = 200
BATCHES = {"batch 1": alone, "batch": batch}


def kind_of(name: str) -> str:
    """decoder.3.mlp_out -> mlp_out"""
    return name.rsplit(".", 1)[-1]


def test_text_states(sides: Sides, report: ParityReport) -> None:
    states, mask = sides.reference.text_states(list(PROMPTS))
    ours = sides.engine(texts={str(i): text for i, text in enumerate(PROMPTS)}).tensors
    found = [
        difference("text states", states[i][mask[i].bool()], ours[str(i)], BOUND) for i in range(len(PROMPTS))
    ]
    report.add("text states", sides.name, found)
    assert not worst(found)


@pytest.mark.parametrize("requests", BATCHES.values(), ids=BATCHES)
def test_hook_points_and_logits(sides: Sides, report: ParityReport, requests) -> None:
    run = teacher_forced(sides.reference, requests(), frames=12).dumping("activations", "logits")
    expected = sides.reference.run(run)
    assert {*sides.reference.points(), "logits", "guided"} <= expected.keys()
    found = compare_tensors(expected, sides.engine.run(run))
    for d in found:
        report.add(kind_of(d.name), sides.name, [d])
    assert not worst(found)


def test_given_codes_in_chunks(sides: Sides, report: ParityReport) -> None:
    """Columns taken together are what single steps are: the causal mask and the cache agree."""
    single = teacher_forced(sides.reference, batch(), frames=21).dumping("activations", "logits")
    expected = sides.engine.run(single)
    for chunk in (5, 64):
        chunked = sides.engine.run(dataclasses.replace(single, prefill_chunk=chunk))
        assert chunked.forward_calls == -(-21 // chunk) + max(sides.reference.delays)
        found = compare_tensors(expected.tensors, chunked)
        report.add("chunks of given codes", sides.name, found)
        assert not worst(found)
        assert torch.equal(chunked["codes"], expected["codes"])


GREEDY_RUNS = {
    "batch 1": Run(alone(), FRAMES),
    "batch": Run(batch(), FRAMES),
    "guidance 1": Run(batch(), FRAMES, guidance=1.0),
    "guidance 4.5": Run((*alone(), Request(unconditional=True)), FRAMES, guidance=4.5),
}


@pytest.mark.parametrize("run", GREEDY_RUNS.values(), ids=GREEDY_RUNS)
def test_greedy_codes(sides: Sides, report: ParityReport, run: Run) -> None:
    result = compare_greedy(sides.engine, sides.reference, run)
    report.add_greedy("greedy runs, guided logits", sides.name, result)
    assert result.ok, result.failure or worst(result.differences)


def test_continuation(sides: Sides, report: ParityReport) -> None:
    """Generation continues given codes, with their delays."""
    given = sides.reference.run(Run(batch(), 40, guidance=2.0))["codes"]
    run = Run(batch(), 60).given(given[:, :, :33])
    result = compare_greedy(sides.engine, sides.reference, run)
    report.add_greedy("greedy runs, guided logits", sides.name, result)
    assert result.ok, result.failure or worst(result.differences)


def changed(one: Output, other: Output) -> float:
    return float((one["codes"] != other["codes"]).float().mean())


def test_checkpoints_are_lively(sides: Sides) -> None:
    """Another prompt, negative prompt or guidance changes many greedy codes: parity proves something."""
    plain = sides.engine.run(Run(alone(), 60))
    for other in (
        Run((Request(PROMPTS[1]),), 60),
        Run((Request(PROMPTS[0], negative_prompt=PROMPTS[1]),), 60),
        Run(alone(), 60, guidance=1.0),
    ):
        assert changed(plain, sides.engine.run(other)) >= 0.2
