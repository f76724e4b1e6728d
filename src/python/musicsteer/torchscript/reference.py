"""What transformers computes on a case, by tensor name."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from transformers import ClassifierFreeGuidanceLogitsProcessor, DynamicCache, EncoderDecoderCache

from musicsteer.torchscript.parity_case import Case
from musicsteer.torchscript.reference_hooks import Recorder


def delayed_by_transformers(model: Any, frames: Tensor) -> Tensor:
    """Codes [R, K, N] -> the decoder's input [R, K, N + largest delay], by transformers' own pattern."""
    requests, num_codebooks, count = frames.shape
    start = model.generation_config.decoder_start_token_id
    given = torch.cat([torch.full([requests, num_codebooks, 1], start), frames], dim=2)
    lag = num_codebooks // model.config.decoder.audio_channels
    _, pattern = model.decoder.build_delay_pattern_mask(given.flatten(0, 1), start, max_length=count + lag)
    return pattern.view(requests, num_codebooks, -1)


@torch.inference_mode()
def reference(model: Any, case: Case) -> dict[str, Tensor]:
    """Everything that transformers computes on the case; the decoder in cached single steps."""
    decoded = decode_by_prefix if model.config.model_type == "musicgen_melody" else decode_by_cross_attention
    result = decoded(model, case)
    guide = ClassifierFreeGuidanceLogitsProcessor(case.guidance)
    half = result["logits"].size(0) // 2
    result["guided"] = guide(torch.zeros([half, 1]), result["logits"])
    encoded = model.audio_encoder.encode(case.samples).audio_codes
    result["codec.codes"] = encoded[0]
    result["codec.samples"] = model.audio_encoder.decode(encoded, [None] * encoded.size(1)).audio_values
    return result


def decode_by_prefix(model: Any, case: Case) -> dict[str, Tensor]:
    """The decoder on a prefix, request by request: transformers would attend to the padding of a batch."""
    codes = delayed_by_transformers(model, case.frames)
    requests = codes.size(0)
    found: list[dict[str, Tensor]] = []
    for request in range(requests):
        text = case.prompt_of_row[request]
        ids = case.ids[text : text + 1, : int(case.mask[text].sum())]
        recorder = Recorder(
            model, [own for steer in case.steer for own in steer.of_request(request, requests)]
        )
        told = told_by_transformers(model, ids, case.melody)
        found.append(decode_told(model, told, codes[request : request + 1].repeat(2, 1, 1)))
        found[-1] |= recorder.finish() | {f"prefix.{request}": recorder.prefix}
    result = {name: tensor for one in found for name, tensor in one.items() if name.startswith("prefix.")}
    for name in found[0]:
        if not name.startswith("prefix."):  # conditional rows, then null rows
            result[name] = torch.cat([one[name][row : row + 1] for row in (0, 1) for one in found])
    states = model.text_encoder(case.ids[:-1], attention_mask=case.mask[:-1]).last_hidden_state
    return {"text.states": states, "decoder.codes": codes} | result


def told_by_transformers(model: Any, ids: Tensor, melody: Tensor | None, guided: bool = True) -> Tensor:
    """What `generate` puts in front of the codes of a text [1, S]: [1, length, D], with guidance [2, ...]."""
    settings = copy.deepcopy(model.generation_config)
    settings.guidance_scale = 3.0 if guided else None
    told = {"attention_mask": torch.ones_like(ids)}
    if melody is not None:
        told["input_features"] = melody.unsqueeze(0)
    return model._prepare_encoder_hidden_states_kwargs_for_generation(ids, told, "input_ids", settings)[
        "encoder_hidden_states"
    ]


def decode_told(model: Any, told: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """The logits of codes [B, K, T] in cached single steps; the conditioning enters with the first one."""
    cache, logits = EncoderDecoderCache(DynamicCache(), DynamicCache()), []
    for t in range(codes.size(2)):
        step = model(
            encoder_hidden_states=told if t == 0 else None,
            decoder_input_ids=codes[:, :, t : t + 1].flatten(0, 1),
            past_key_values=cache,
            use_cache=True,
        )
        logits.append(step.logits.view(codes.size(0), codes.size(1), -1, step.logits.size(-1))[:, :, -1:])
    return {"logits": torch.cat(logits, dim=2)}


def decode_by_cross_attention(model: Any, case: Case) -> dict[str, Tensor]:
    """The decoder with cross-attention to the text, in one batch."""
    states = model.text_encoder(case.ids[:-1], attention_mask=case.mask[:-1]).last_hidden_state
    result = {"text.states": states}
    codes = delayed_by_transformers(model, case.frames)
    result["decoder.codes"] = codes
    codes = torch.cat([codes, codes])
    rows = case.prompt_of_row
    row_states = torch.cat([states, torch.zeros_like(states[:1])])[rows]
    row_mask = case.mask[rows]
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    recorder = Recorder(model, case.steer)
    projected: list[Tensor] = []
    handle = model.decoder.register_forward_pre_hook(
        lambda _, __, named: projected.append(named["encoder_hidden_states"]), with_kwargs=True
    )
    logits = []
    for t in range(codes.size(2)):
        step = model(
            encoder_outputs=(row_states,),
            attention_mask=row_mask,
            decoder_input_ids=codes[:, :, t : t + 1].flatten(0, 1),
            past_key_values=cache,
            use_cache=True,
        )
        logits.append(step.logits.view(codes.size(0), codes.size(1), 1, -1))
    handle.remove()
    result |= recorder.finish()
    result["text.projected"] = projected[0]
    result["logits"] = torch.cat(logits, dim=2)
    return result
