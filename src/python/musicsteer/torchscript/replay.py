"""What a bundle computes on a case, by tensor name."""

from __future__ import annotations

import torch
from torch import Tensor

from musicsteer.torchscript.layer_loop import Modules, loop_over_layers
from musicsteer.torchscript.parity_case import Case


def delay(frames: Tensor, delays: list[int], start: int) -> Tensor:
    """Codes [R, K, N] -> the decoder's input: position p holds frame p - 1 - delay, or the start token."""
    requests, num_codebooks, count = frames.shape
    codes = torch.full([requests, num_codebooks, count + 1 + max(delays)], start)
    for k, lag in enumerate(delays):
        codes[:, k, 1 + lag : 1 + lag + count] = frames[:, k]
    return codes


def guided(logits: Tensor, scale: float) -> Tensor:
    """[2 R, K, T, V], conditional rows first -> [R, K, T, V]."""
    conditional, null = logits.chunk(2)
    return null + scale * (conditional - null)


@torch.inference_mode()
def replay(modules: Modules, case: Case, chunks: list[int] | int = 1) -> dict[str, Tensor]:
    """What the bundle computes on the case; `chunks`: positions a call."""
    dims = modules.manifest["decoder"]
    states = modules.text_encoder(case.ids[:-1], case.mask[:-1])
    codes = delay(case.frames, dims["delays"], dims["start_token"])
    result = {"text.states": states, "decoder.codes": codes}
    codes = torch.cat([codes, codes])
    loop = loop_over_layers(modules, case, columns=codes.size(2) + 3)
    result |= loop.begin(torch.cat([states, torch.zeros_like(states[:1])]))
    logits = [loop.step(part) for part in codes.split(chunks, dim=2)]
    result |= {name: torch.cat(parts, dim=1) for name, parts in loop.columns.items()}
    result["logits"] = torch.cat(logits, dim=2)
    result["guided"] = guided(result["logits"], case.guidance)
    codec = modules.codec
    result["codec.codes"] = codec.encode(case.samples)
    state = codec.initial_state(case.samples.size(0))
    latent, _ = codec.run_lstm(codec.lstm_input(result["codec.codes"]), state)
    result["codec.samples"] = codec.decode_wave(latent)
    return result
