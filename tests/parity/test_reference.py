"""The reference's own loop (reference.py) is what `generate` does: delays, guidance, null state, padding."""

from __future__ import annotations

import pytest
import torch
from job import Request, Run
from shared_runs import PROMPTS
from sides import Sides


@pytest.mark.parametrize("guidance", [3.0, 1.0])
def test_greedy_codes_are_those_of_generate(sides: Sides, guidance: float) -> None:
    frames = 30
    reference = sides.reference
    codes = reference.run(Run(tuple(Request(p) for p in PROMPTS), frames, guidance=guidance))["codes"]
    inputs = reference.tokenizer(list(PROMPTS), padding=True, return_tensors="pt")
    samples = reference.model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        do_sample=False,
        guidance_scale=guidance,
        max_new_tokens=frames + max(reference.delays),
    )
    assert torch.allclose(samples, reference.decode(codes), rtol=0, atol=1e-5 * float(samples.abs().max()))


def test_unconditional_is_generates_null_input(sides: Sides) -> None:
    frames = 30
    model = sides.reference.model
    codes = sides.reference.run(Run((Request(unconditional=True),), frames))["codes"]
    null = model.get_unconditional_inputs(num_samples=1)
    samples = model.generate(
        encoder_outputs=null.encoder_outputs,
        attention_mask=null.attention_mask,
        guidance_scale=null.guidance_scale,
        do_sample=False,
        max_new_tokens=frames + max(sides.reference.delays),
    )
    expected = sides.reference.decode(codes)
    assert torch.allclose(samples, expected, rtol=0, atol=1e-5 * float(samples.abs().max()))
