"""The demo model's language model: transformers' own MusicGen, small, and how codes are laid out for it."""

from __future__ import annotations

import torch
from music import FRAMES
from torch import Tensor, nn
from transformers import (
    EncodecModel,
    MusicgenDecoderConfig,
    MusicgenForCausalLM,
    MusicgenForConditionalGeneration,
    PreTrainedTokenizerBase,
    T5Config,
    T5EncoderModel,
)

# How the model is meant to be sampled; generation_config.json says so, and the exported bundle repeats it.
GUIDANCE_SCALE, TOP_K, TEMPERATURE = 3.0, 50, 0.8
# The default of 0.02 would drown beside the sinusoidal positions, whose RMS is 0.7.
EMBEDDING_STD = 0.35


def build_model(
    codec: EncodecModel,
    text_vocabulary: int,
    width: int = 192,
    layers: int = 5,
    heads: int = 4,
    text_width: int = 128,
    text_layers: int = 2,
) -> MusicgenForConditionalGeneration:
    """An untrained MusicGen around a trained codec, with dropout off.

    `text_width` and `width` must differ: where they agree, transformers has no projection between them.
    """
    if text_width == width:
        raise ValueError(f"text_width and width must differ, both are {width}")
    text = T5EncoderModel(
        T5Config(
            vocab_size=text_vocabulary,
            d_model=text_width,
            d_kv=text_width // 4,
            d_ff=3 * text_width,
            num_layers=text_layers,
            num_heads=4,
            feed_forward_proj="relu",
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )
    start = codec.config.codebook_size
    decoder = MusicgenForCausalLM(
        MusicgenDecoderConfig(
            vocab_size=start,
            max_position_embeddings=1024,
            num_hidden_layers=layers,
            ffn_dim=4 * width,
            num_attention_heads=heads,
            hidden_size=width,
            dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            num_codebooks=len(codec.quantizer.layers),
            pad_token_id=start,
            bos_token_id=start,
            audio_channels=1,
        )
    )
    model = MusicgenForConditionalGeneration(text_encoder=text, audio_encoder=codec, decoder=decoder)
    use_sdpa(model)
    settings = model.generation_config
    settings.decoder_start_token_id = settings.pad_token_id = settings.bos_token_id = start
    settings.guidance_scale = GUIDANCE_SCALE
    settings.do_sample = True
    settings.top_k, settings.temperature = TOP_K, TEMPERATURE
    settings.max_length = FRAMES + len(codec.quantizer.layers)
    with torch.no_grad():
        for table in model.decoder.model.decoder.embed_tokens:
            table.weight.normal_(0, EMBEDDING_STD)
    model.audio_encoder.requires_grad_(False)
    return model


def use_sdpa(model: MusicgenForConditionalGeneration) -> None:
    """Fused attention in all parts; models made from a bare config do not choose it themselves."""
    model.decoder.set_attn_implementation("sdpa")
    model.text_encoder.set_attn_implementation("sdpa")


def load_model(folder: str) -> MusicgenForConditionalGeneration:
    """A saved model in float32, ready to generate."""
    model = MusicgenForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    use_sdpa(model)
    return model


def matrices(model: nn.Module) -> dict[str, bool]:
    """Name of each trainable parameter -> whether Muon takes it (linear weights, no embeddings or heads)."""
    skipped = ("embed", "shared", "lm_heads", "relative_attention_bias")
    return {
        name: parameter.dim() == 2 and not any(word in name for word in skipped)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def delay(codes: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Lays codes out in MusicGen's delay pattern: codebook k is k steps late.

        input   S a0 a1 a2 a3       target  a0 a1 a2 a3 .
                S S  b0 b1 b2               .  b0 b1 b2 b3

    codes: [B, K, T] -> inputs, targets: [B, K, T + K - 1]; targets are -100 where there is nothing to
    predict.
    """
    batch, codebooks, frames = codes.shape
    steps = frames + codebooks - 1
    inputs = torch.full((batch, codebooks, steps + 1), start, dtype=torch.long)
    targets = torch.full((batch, codebooks, steps), -100, dtype=torch.long)
    for k in range(codebooks):
        inputs[:, k, 1 + k : 1 + k + frames] = codes[:, k]
        targets[:, k, k : k + frames] = codes[:, k]
    return inputs[:, :, :steps], targets


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Ids and mask, both [B, S] int64, padded to the longest."""
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    return encoded.input_ids, encoded.attention_mask


def text_states(model: MusicgenForConditionalGeneration, ids: Tensor, mask: Tensor) -> Tensor:
    """What the decoder attends to: projected T5 states, zero on padding, [B, S, D]."""
    states = model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    return model.enc_to_dec_proj(states) * mask[..., None]


def logits_of(
    model: MusicgenForConditionalGeneration, inputs: Tensor, states: Tensor, mask: Tensor
) -> Tensor:
    """Teacher-forced logits: inputs [B, K, L], states [B, S, D] -> [B, K, L, V]."""
    batch, codebooks, steps = inputs.shape
    out = model.decoder(
        input_ids=inputs.reshape(batch * codebooks, steps),
        encoder_hidden_states=states,
        encoder_attention_mask=mask,
        use_cache=False,
    ).logits
    return out.view(batch, codebooks, steps, -1)
