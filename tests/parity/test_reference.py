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


@pytest.mark.parametrize("guidance", [3.0, 1.0])
@pytest.mark.parametrize("melody", [True, False])
def test_greedy_codes_of_a_melody_are_those_of_generate(
    melody_sides: Sides, guidance: float, melody: bool
) -> None:
    frames, reference = 30, melody_sides.reference
    chroma = torch.eye(12)[torch.randint(12, [9], generator=torch.Generator().manual_seed(1))]
    request = Request(PROMPTS[0], melody=chroma if melody else None)
    codes = reference.run(Run((request,), frames, guidance=guidance))["codes"]
    inputs = reference.tokenizer([PROMPTS[0]], return_tensors="pt")
    samples = reference.model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        input_features=chroma.unsqueeze(0) if melody else None,
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
