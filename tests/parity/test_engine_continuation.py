"""A clip that continues a recording is what transformers' `generate` makes of an audio prompt."""

from __future__ import annotations

import torch
from job import Request, Run
from shared_runs import PROMPTS
from sides import Sides


def test_an_audio_prompt(sides: Sides) -> None:
    """Codes of the engine's own encoder are given; mono and stereo, with guidance."""
    reference, given, new = sides.reference, 21, 25
    hop = reference.model.config.audio_encoder.hop_length
    width = reference.model.config.audio_encoder.audio_channels
    channels = reference.channels * width
    draw = torch.Generator().manual_seed(6)
    samples = 0.5 * torch.rand([2, channels, given * hop], generator=draw) - 0.25
    codes = sides.engine(encode={"codes": samples}).tensors["codes"]
    assert codes.size(2) == given

    prompts = PROMPTS[:2]
    ours = sides.engine.run(Run(tuple(Request(p) for p in prompts), given + new).given(codes))["codes"]
    inputs = reference.tokenizer(list(prompts), padding=True, return_tensors="pt")
    theirs = reference.model.generate(
        input_ids=inputs.input_ids,
        attention_mask=inputs.attention_mask,
        input_values=samples,
        do_sample=False,
        guidance_scale=3.0,
        max_new_tokens=new + max(reference.delays),
    )
    expected = reference.decode(ours)
    assert theirs.shape == expected.shape
    assert torch.allclose(theirs, expected, rtol=0, atol=1e-5 * float(theirs.abs().max()))
