"""Steered, the engine computes what transformers does with the same vectors added by forward hooks."""

from __future__ import annotations

import dataclasses

import torch
from comparison import compare_greedy, compare_tensors, worst
from job import Injection, Request, Run
from parity_report import ParityReport
from reference import SITES
from shared_runs import PROMPTS, alone, random_vector, steered_batch, teacher_forced
from sides import Sides

FRAMES = 9
STRENGTHS = (1.5, -0.7, 4.0)


def points(sides: Sides) -> list[str]:
    """Every site, each at another layer (in turn), and the two that belong to no layer."""
    layers = sides.reference.layers
    return ["decoder.embed", "decoder.final_norm"] + [
        f"decoder.{(i + shift) % layers}.{site}" for shift in (0, layers - 1) for i, site in enumerate(SITES)
    ]


def single_point_runs(sides: Sides) -> dict[str, Run]:
    """One vector at one point, on both rows and on the conditional row, at several strengths."""
    runs = {}
    for i, point in enumerate(points(sides)):
        for j, rows in enumerate(("both", "conditional")):
            strength = STRENGTHS[(i + j) % len(STRENGTHS)]
            injection = Injection(point, random_vector(sides.reference, i), strength, rows)
            requests = (Request(PROMPTS[0], injections=(injection,)), Request(PROMPTS[1]))
            run = teacher_forced(sides.reference, requests, FRAMES).dumping("logits")
            runs[f"{point} {rows}"] = run
    return runs


def test_every_site(sides: Sides, report: ParityReport) -> None:
    runs = single_point_runs(sides)
    plain = teacher_forced(sides.reference, (Request(PROMPTS[0]), Request(PROMPTS[1])), FRAMES)
    results = sides.engine({**runs, "plain": plain.dumping("logits")})
    unsteered = results.run("plain")["guided"]
    for name, run in runs.items():
        ours = results.run(name)
        found = compare_tensors(sides.reference.run(run), ours)
        report.add("steered, logits", sides.name, found)
        assert not worst(found), name
        moved = (ours["guided"] - unsteered).abs().amax(dim=(1, 2, 3)) / unsteered.abs().max()
        assert moved[0] > 1e-3, f"{name}: steering did nothing"
        assert moved[1] == 0, f"{name}: steering reached the other request"


def test_rows_steered_differently(sides: Sides, report: ParityReport) -> None:
    """Several vectors at once, at one point and at several; hook points show the edited values."""
    run = teacher_forced(sides.reference, steered_batch(sides.reference), 12).dumping("logits", "activations")
    found = compare_tensors(sides.reference.run(run), sides.engine.run(run))
    report.add("steered, hook points", sides.name, found)
    assert not worst(found)


def test_greedy_codes(sides: Sides, report: ParityReport) -> None:
    for guidance in (3.0, 1.0):
        run = Run(steered_batch(sides.reference), 200, guidance=guidance)
        result = compare_greedy(sides.engine, sides.reference, run)
        report.add_greedy("steered, greedy runs", sides.name, result)
        assert result.ok, result.failure or worst(result.differences)


def test_strength_zero_is_no_steering(sides: Sides) -> None:
    """To the last bit, in logits, codes and samples."""
    vector = random_vector(sides.reference, 3)
    zero = tuple(Injection(point, vector, 0.0) for point in points(sides))
    plain = Run(alone(), 40, top_k=50).dumping("logits", "samples")
    steered = dataclasses.replace(plain, requests=(dataclasses.replace(alone()[0], injections=zero),))
    results = sides.engine({"plain": plain, "steered": steered})
    expected, actual = results.run("plain"), results.run("steered")
    assert expected.tensors.keys() == actual.tensors.keys()
    assert all(torch.equal(tensor, actual[name]) for name, tensor in expected.tensors.items())


def test_means_are_those_of_the_activations(sides: Sides, report: ParityReport) -> None:
    """What extraction reads: means over the clip's frames, conditional rows, steering included."""
    run = teacher_forced(sides.reference, steered_batch(sides.reference), 12)
    expected = sides.reference.run(run.dumping("activations"))
    requests = len(run.requests)
    means = {
        f"means.{point}": expected[point][:requests, : run.frames].mean(dim=1)
        for point in sides.reference.points()
    }
    for chunk in (1, 5):
        chunked = dataclasses.replace(run, given_chunk=chunk)
        found = compare_tensors(means, sides.engine.run(chunked.dumping("means")))
        report.add("means", sides.name, found)
        assert not worst(found)


def test_non_finite_activation_names_frame_and_place(tiny: Sides) -> None:
    vector = random_vector(tiny.reference, 0)
    vector[5] = torch.inf
    for point in ("decoder.1.resid_post", "decoder.0.self_attn_heads", "decoder.2.mlp_out"):
        steered = Request(PROMPTS[1], injections=(Injection(point, vector, 1.0, "conditional"),))
        output = tiny.engine.run(Run((*alone(), steered), 5))
        assert output.error is not None and output.error.startswith("ModelError: ")
        for part in ("frame 0", point, PROMPTS[1]):
            assert part in output.error
