"""audiocraft's configuration in transformers' words; what MusicGen there cannot express is refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musicsteer.torchscript.melody import NUM_CHROMA
from musicsteer.torchscript.xp_config import Config


@dataclass(frozen=True)
class Rules:
    """What a section may hold: every other setting has to be empty."""

    only: Mapping[str, tuple[Any, ...]]  # settings with the values that they may have
    free: frozenset[str]  # settings that are read below, or concern training alone


def words(text: str) -> frozenset[str]:
    """A set of names."""
    return frozenset(text.split())


# Defaults are those of audiocraft's code; in its configurations, every setting is there.
LM_SECTIONS = {
    "transformer_lm": Rules(
        {
            "activation": ("gelu", "relu"),
            "norm": ("layer_norm",),
            "norm_first": (True,),
            "causal": (True,),
            "positional_embedding": ("sin",),
            "positional_scale": (1,),
            "max_period": (10000,),
            "kv_repeat": (1,),
        },
        words(
            "dim num_heads num_layers hidden_scale n_q card cross_attention dropout attention_dropout emb_lr "
            "lr weight_decay custom memory_efficient attention_as_float32 checkpointing weight_init "
            "depthwise_init zero_bias_init two_step_cfg"
        ),
    ),
    "codebooks_pattern.delay": Rules({}, words("delays")),
    "fuser": Rules({}, words("cross prepend sum input_interpolate ignore cross_attention_pos_emb_scale")),
    "interleave_stereo_codebooks": Rules({}, words("use")),
    "conditioners.description": Rules({"model": ("t5",)}, words("t5")),
    "conditioners.description.t5": Rules({}, words("name word_dropout autocast_dtype")),
}
MELODY_SECTIONS = {
    "conditioners.self_wav": Rules({"model": ("chroma_stem",)}, words("chroma_stem")),
    # audiocraft's MusicGen repeats a melody to the full length whatever match_len_on_eval says.
    "conditioners.self_wav.chroma_stem": Rules(
        {"n_chroma": (NUM_CHROMA,), "argmax": (True,)},
        words("sample_rate radix2_exp norm match_len_on_eval eval_wavs n_eval_wavs cache_path"),
    ),
}
CODEC_SECTIONS = {
    "encodec": Rules(
        {"autoencoder": ("seanet",), "quantizer": ("rvq",)},
        words("sample_rate channels causal renormalize renorm"),
    ),
    "seanet": Rules(
        {"activation": ("ELU",), "activation_params": ({"alpha": 1.0}, {})},
        words(
            "dimension channels causal n_filters n_residual_layers ratios norm kernel_size last_kernel_size "
            "residual_kernel_size dilation_base pad_mode true_skip compress lstm decoder encoder"
        ),
    ),
    "seanet.encoder": Rules({}, frozenset()),
    "seanet.decoder": Rules({}, words("trim_right_ratio")),
}


def check_sections(config: Config, sections: Mapping[str, Rules]) -> None:
    """Refuse settings against the rules.

    Raises:
        CheckpointError: naming the setting and its value.
    """
    for path, rules in sections.items():
        for key, value in config.section(path).items():
            if key in rules.only and value not in rules.only[key]:
                expected = " or ".join(repr(one) for one in rules.only[key])
                raise config.fail(f"{path}.{key} is {value!r}; MusicGen has {expected}")
            if key not in rules.only and key not in rules.free and value not in (None, False, 0, "", [], {}):
                raise config.fail(f"{path}.{key} is {value!r}, which MusicGen in transformers does not have")


def check(config: Config) -> None:
    """Refuse a language model that transformers' MusicGen cannot express.

    Raises:
        CheckpointError: naming the setting and its value.
    """
    if (kind := config.get("lm_model", "transformer_lm")) != "transformer_lm":
        raise config.fail(f"lm_model is {kind!r}; MusicGen has 'transformer_lm'")
    check_sections(config, LM_SECTIONS)
    if hears_melody(config):
        check_sections(config, MELODY_SECTIONS)
        if not config.get("conditioners.self_wav.chroma_stem.argmax"):
            raise config.fail("conditioners.self_wav.chroma_stem.argmax is off; MusicGen has one-hot chroma")


def hears_melody(config: Config) -> bool:
    """Whether text and melody are prepended; text alone is attended to.

    Raises:
        CheckpointError: neither.
    """
    fuser = config.section("fuser")
    ways = ("cross", "prepend", "sum", "input_interpolate", "ignore")
    given = {way: fuser[way] for way in ways if fuser.get(way)}
    if given == {"cross": ["description"]}:
        return False
    if given in ({"prepend": ["self_wav", "description"]}, {"prepend": ["description", "self_wav"]}):
        return True
    raise config.fail(f"fuser is {given}; known are cross-attention to text, and melody and text prepended")


def decoder_settings(config: Config) -> dict[str, Any]:
    """The decoder's configuration."""
    channels = 2 if config.get("interleave_stereo_codebooks.use") else 1
    num_codebooks = config.count("transformer_lm.n_q")
    check_delays(config, [k // channels for k in range(num_codebooks)])
    width, card = config.count("transformer_lm.dim"), config.count("transformer_lm.card")
    return {
        "vocab_size": card,
        "num_hidden_layers": config.count("transformer_lm.num_layers"),
        "ffn_dim": int(config.number("transformer_lm.hidden_scale") * width),
        "num_attention_heads": config.count("transformer_lm.num_heads"),
        "hidden_size": width,
        "activation_function": config.require("transformer_lm.activation"),
        "num_codebooks": num_codebooks,
        "audio_channels": channels,
        "pad_token_id": card,
        "bos_token_id": card,
    }


def check_delays(config: Config, expected: list[int]) -> None:
    """Refuse other patterns than transformers'."""
    modeling = config.require("codebooks_pattern.modeling")
    delays = config.get("codebooks_pattern.delay.delays", list(range(len(expected))))
    if modeling != "delay" or delays != expected:
        raise config.fail(f"codebooks_pattern is {modeling} {delays}; expected delay {expected}")


def text_encoder(config: Config) -> str:
    """The T5 that the checkpoint names."""
    return str(config.require("conditioners.description.t5.name"))


def chroma(config: Config) -> dict[str, Any]:
    """How the checkpoint hears a melody, as in a manifest."""
    size = 2 ** config.count("conditioners.self_wav.chroma_stem.radix2_exp")
    return {
        "sample_rate_hz": config.count("conditioners.self_wav.chroma_stem.sample_rate"),
        "fft_size": size,
        "hop_length": size // 4,
        "longest_s": math.ceil(config.number("dataset.segment_duration")),
    }


def chroma_length(config: Config) -> int:
    """Frames of melody in the prefix: those of a clip of the training."""
    framing = chroma(config)
    samples = int(config.number("dataset.segment_duration") * framing["sample_rate_hz"])
    return samples // framing["hop_length"] + 1


def codec_settings(config: Config) -> dict[str, Any]:
    """The codec's configuration.

    Raises:
        CheckpointError: EnCodec in transformers cannot express it.
    """
    if (kind := config.get("compression_model", "encodec")) != "encodec":
        raise config.fail(f"compression_model is {kind!r}; MusicGen has 'encodec'")
    check_sections(config, CODEC_SECTIONS)
    rate, bins = config.count("encodec.sample_rate"), config.count("rvq.bins")
    ratios = config.require("seanet.ratios")
    if not isinstance(ratios, list) or not all(type(ratio) is int and ratio > 0 for ratio in ratios):
        raise config.fail(f"seanet.ratios is {ratios!r}; expected a list of whole numbers")
    # A bit more than needed: transformers rounds down to whole codebooks.
    frame_rate = math.ceil(rate / math.prod(ratios))
    bandwidth = (config.count("rvq.n_q") + 0.25) * frame_rate * math.log2(bins) / 1000
    return {
        "sampling_rate": rate,
        "audio_channels": config.count("encodec.channels"),
        "normalize": bool(config.get("encodec.renormalize")),
        "target_bandwidths": [bandwidth],
        "hidden_size": config.count("seanet.dimension"),
        "codebook_dim": config.count("seanet.dimension"),
        "codebook_size": bins,
        "num_filters": config.count("seanet.n_filters"),
        "num_residual_layers": config.count("seanet.n_residual_layers"),
        "upsampling_ratios": ratios,
        "norm_type": config.require("seanet.norm"),
        "kernel_size": config.count("seanet.kernel_size"),
        "last_kernel_size": config.count("seanet.last_kernel_size"),
        "residual_kernel_size": config.count("seanet.residual_kernel_size"),
        "dilation_growth_rate": config.count("seanet.dilation_base"),
        "use_causal_conv": bool(config.require("seanet.causal")),
        "pad_mode": config.require("seanet.pad_mode"),
        "compress": config.count("seanet.compress"),
        "num_lstm_layers": config.require("seanet.lstm"),
        "trim_right_ratio": config.get("seanet.decoder.trim_right_ratio", 1.0),
        "use_conv_shortcut": not config.require("seanet.true_skip"),
    }
