"""Sampled codes follow softmax of the filtered logits, and a clip's draws are its own."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from job import Output, Request, Run
from reference import Reference
from shared_runs import PROMPTS, batch
from sides import Sides
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

BINS = 20
# The chance that an honest sampler fails a test; seeds are fixed, so that it fails always or never.
SIGNIFICANCE = 1e-4


def chi_square_p(observed: Tensor, expected: Tensor) -> float:
    """The chance of counts at least this far from the expected ones."""
    statistic = float(((observed - expected) ** 2 / expected).sum())
    degrees = torch.tensor((len(expected) - 1) / 2.0, dtype=torch.float64)
    return float(torch.special.gammaincc(degrees, torch.tensor(statistic / 2.0, dtype=torch.float64)))


def filtered_by_transformers(logits: Tensor, run: Run) -> Tensor:
    """[M, V] -> the probabilities that transformers samples from, in its order of warpers."""
    scores = logits.double()
    if run.temperature != 1.0:
        scores = TemperatureLogitsWarper(run.temperature)(None, scores)
    if run.top_k:
        scores = TopKLogitsWarper(run.top_k)(None, scores)
    if 0.0 < run.top_p < 1.0:
        scores = TopPLogitsWarper(run.top_p)(None, scores)
    return scores.softmax(-1)


def draws(reference: Reference, output: Output) -> tuple[Tensor, Tensor]:
    """Guided logits [M, V] and drawn tokens [M] of every draw of a run."""
    logits, tokens = [], []
    frames = output["codes"].size(2)
    for k, lag in enumerate(reference.delays):
        logits.append(output["guided"][:, k, lag : lag + frames].flatten(0, 1))
        tokens.append(output["codes"][:, k].flatten())
    return torch.cat(logits), torch.cat(tokens)


def uniforms(probabilities: Tensor, tokens: Tensor) -> Tensor:
    """Draws of any distribution as draws from [0, 1): a random place within the token's share of the sum.

    Shares are laid out from the likeliest token down, so that a distribution too flat or too sharp shows.
    """
    shares, order = probabilities.sort(-1, descending=True)
    rank = (order == tokens[:, None]).int().argmax(-1, keepdim=True)
    own = shares.gather(1, rank)[:, 0]
    below = shares.cumsum(1).gather(1, rank)[:, 0] - own
    generator = torch.Generator().manual_seed(0)
    return below + own * torch.rand(len(tokens), generator=generator, dtype=torch.float64)


def uniformity_p(probabilities: Tensor, tokens: Tensor) -> float:
    values = uniforms(probabilities, tokens).clamp(0.0, 1.0 - 1e-12)
    observed = torch.histc(values, BINS, 0.0, 1.0)
    return chi_square_p(observed, torch.full_like(observed, len(values) / BINS))


RUNS = {
    "plain": dict(top_k=0),
    "temperature": dict(top_k=0, temperature=0.8),
    "top-k": dict(top_k=12),
    "top-p": dict(top_k=0, top_p=0.8),
    "all": dict(top_k=20, top_p=0.9, temperature=1.3),
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_draws_follow_softmax(tiny: Sides, options: dict[str, float]) -> None:
    """Over all draws of 64 clips; every token lies in what transformers' warpers leave."""
    requests = tuple(Request(PROMPTS[i % 4], seed=1000 + i) for i in range(64))
    run = Run(requests, 30, **options).dumping("logits")  # type: ignore[arg-type]
    logits, tokens = draws(tiny.reference, tiny.engine.run(run))
    probabilities = filtered_by_transformers(logits, run)
    assert len(tokens) == 64 * 30 * tiny.reference.num_codebooks
    assert float(probabilities.gather(1, tokens[:, None]).min()) > 0
    assert uniformity_p(probabilities, tokens) > SIGNIFICANCE
    # The test would notice a temperature off by a tenth.
    warmer = dataclasses.replace(run, temperature=1.1 * run.temperature)
    assert uniformity_p(filtered_by_transformers(logits, warmer), tokens) < SIGNIFICANCE


def test_first_draw_of_many_seeds(tiny: Sides) -> None:
    """The first draw has the same logits for every seed: token counts against softmax itself."""
    count = 3000
    run = Run(tuple(Request(PROMPTS[0], seed=i) for i in range(count)), 1, top_k=0).dumping("logits")
    output = tiny.engine.run(run)
    logits = output["guided"][:, 0, 0]
    assert torch.equal(logits, logits[:1].expand_as(logits))
    expected = count * logits[0].double().softmax(-1)
    observed = torch.bincount(output["codes"][:, 0, 0], minlength=len(expected)).double()
    often = expected >= 5
    rest = (~often).any()
    counts = [torch.cat([c[often], c[~often].sum()[None]] if rest else [c]) for c in (observed, expected)]
    assert chi_square_p(*counts) > SIGNIFICANCE


def test_neighbouring_draws_are_independent(tiny: Sides) -> None:
    """Of neighbouring frames, codebooks and seeds."""
    run = Run(tuple(Request(PROMPTS[0], seed=i) for i in range(48)), 40, top_k=0).dumping("logits")
    output = tiny.engine.run(run)
    logits, tokens = draws(tiny.reference, output)
    values = uniforms(filtered_by_transformers(logits, run), tokens)
    grid = values.view(tiny.reference.num_codebooks, 48, 40) - 0.5
    for axis in range(3):
        size = grid.size(axis)
        products = 12 * grid.narrow(axis, 0, size - 1) * grid.narrow(axis, 1, size - 1)
        assert abs(float(products.mean())) < 4 / math.sqrt(products.numel())


def test_a_clips_draws_are_its_own(tiny: Sides) -> None:
    """Same seed, same codes: in another place, beside others, twice in a batch; another seed, other codes."""
    requests = batch()
    turned = requests[::-1]
    clip = requests[0]
    results = tiny.engine(
        {
            "plain": Run(requests, 40, top_k=0),
            "turned": Run(turned, 40, top_k=0),
            "again": Run(requests, 40, top_k=0),
            "twice": Run((clip, clip, dataclasses.replace(clip, seed=99)), 40, top_k=0),
        }
    )
    codes = {name: results.run(name)["codes"] for name in ("plain", "turned", "again", "twice")}
    assert torch.equal(codes["plain"], codes["again"])
    assert torch.equal(codes["plain"], codes["turned"].flip(0))
    first, second, other = codes["twice"]
    assert torch.equal(first, second)
    assert float((first != other).float().mean()) > 0.5


def test_clips_share_noise_token_by_token(tiny: Sides) -> None:
    """The paired comparison that sweeps rely on: a tiny change of logits changes hardly any code."""
    plain = Run((Request(PROMPTS[0], seed=5),), 12, top_k=0)
    warmer = dataclasses.replace(plain, temperature=1.0 + 1e-6)
    results = tiny.engine({"plain": plain, "warmer": warmer})
    assert torch.equal(results.run("plain")["codes"], results.run("warmer")["codes"])
