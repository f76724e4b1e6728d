"""score_clips gives the KL divergence and likelihood that transformers' distributions have."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from job import Run
from reference import Reference
from shared_runs import steered_batch, teacher_forced
from sides import Sides
from torch import Tensor

FRAMES = 70  # more than two chunks of columns
TEMPERATURE = 1.3
# Relative; the logits themselves agree within 1e-5 of their maximum, and KL is a small difference of them.
BOUND = 1e-4


def log_probabilities(reference: Reference, run: Run) -> Tensor:
    """Guided distributions where each frame's codes are predicted, [R, K, N, V] float64."""
    guided = reference.run(run)["guided"]
    by_book = [guided[:, k, lag : lag + run.frames] for k, lag in enumerate(reference.delays)]
    return (torch.stack(by_book, dim=1).double() / run.temperature).log_softmax(-1)


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_scores_are_those_of_transformers(sides: Sides, guidance: float) -> None:
    requests = steered_batch(sides.reference)
    run = teacher_forced(sides.reference, requests, FRAMES, guidance=guidance, temperature=TEMPERATURE)
    plain = dataclasses.replace(
        run, requests=tuple(dataclasses.replace(request, injections=()) for request in run.requests)
    )
    steered_log_p, plain_log_p = (log_probabilities(sides.reference, r) for r in (run, plain))
    codes = torch.stack([request.forced_codes for request in run.requests])
    kl = (steered_log_p.exp() * (steered_log_p - plain_log_p)).sum(-1).mean((1, 2))
    nll = -plain_log_p.gather(-1, codes[..., None]).mean((1, 2, 3))

    results = sides.engine.run(dataclasses.replace(run, prefill_chunk=64, score_batch=3).dumping("scores"))
    assert torch.allclose(results["nll"], nll, rtol=BOUND, atol=0)
    assert torch.allclose(results["kl"], kl, rtol=BOUND, atol=1e-6)
    steered = torch.tensor([any(i.strength for i in request.injections) for request in requests])
    assert (results["kl"][steered] > 1e-3).all(), "steering moved nothing: the comparison would prove nothing"
    # Rows of one batch may differ in last bits where head sizes are not multiples of 8.
    assert (results["kl"][~steered].abs() < 1e-8).all()
