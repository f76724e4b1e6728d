"""Reading MusicGen in audiocraft's own format into transformers' model.

A folder holds state_dict.bin, the language model with its configuration, and compression_state_dict.bin, the
codec or the name of a published one, as audiocraft's audiocraft/utils/export.py writes them. The text encoder
is not in it: it is T5, fetched by its name or given as a folder.
"""

from __future__ import annotations

import math
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import (
    EncodecConfig,
    EncodecModel,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForConditionalGeneration,
    T5EncoderModel,
)

from musicsteer.torchscript.melody import NUM_CHROMA
from musicsteer.torchscript.source import AUDIOCRAFT_CODEC, AUDIOCRAFT_MODEL, CheckpointError

# What the language model has to be for transformers' architecture to be the same.
REQUIRED = {
    "norm_first": True,
    "bias_ff": False,
    "bias_attn": False,
    "bias_proj": False,
    "positional_embedding": "sin",
    "xpos": False,
    "layer_scale": None,
    "qk_layer_norm": False,
    "qk_layer_norm_cross": False,
    "kv_repeat": 1,
    "past_context": None,
}
LAYER, INNER = r"transformer\.layers\.(\d+)", "decoder.model.decoder"
# audiocraft's name of a weight -> transformers', in the whole model.
LM_NAMES = [
    (r"emb\.(\d+)\.", r"decoder.model.decoder.embed_tokens.\1."),
    (r"linears\.(\d+)\.", r"decoder.lm_heads.\1."),
    (r"out_norm\.", r"decoder.model.decoder.layer_norm."),
    (rf"{LAYER}\.self_attn\.", rf"{INNER}.layers.\1.self_attn."),
    (rf"{LAYER}\.cross_attention\.", rf"{INNER}.layers.\1.encoder_attn."),
    (rf"{LAYER}\.norm1\.", rf"{INNER}.layers.\1.self_attn_layer_norm."),
    (
        r"transformer\.layers\.(\d+)\.norm_cross\.",
        rf"{INNER}.layers.\1.encoder_attn_layer_norm.",
    ),
    (rf"{LAYER}\.norm2\.", rf"{INNER}.layers.\1.final_layer_norm."),
    (rf"{LAYER}\.linear([12])\.", rf"{INNER}.layers.\1.fc\2."),
    (r"condition_provider\.conditioners\.description\.output_proj\.", r"enc_to_dec_proj."),
    (r"condition_provider\.conditioners\.self_wav\.output_proj\.", r"audio_enc_to_dec_proj."),
]
CODEC_NAMES = [
    (r"(encoder|decoder)\.model\.(.+?)\.convtr\.convtr\.", r"\1.layers.\2.conv."),
    (r"(encoder|decoder)\.model\.(.+?)\.conv\.conv\.", r"\1.layers.\2.conv."),
    (r"(encoder|decoder)\.model\.(.+?)\.(?:conv|convtr)\.norm\.", r"\1.layers.\2.norm."),
    (r"(encoder|decoder)\.model\.(\d+)\.lstm\.", r"\1.layers.\2.lstm."),
    (r"quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
]
WEIGHT_NORM = {
    ".weight_g": ".parametrizations.weight.original0",
    ".weight_v": ".parametrizations.weight.original1",
}
# Buffers that transformers computes itself.
IGNORED = ("condition_provider.conditioners.self_wav.chroma.",)


@dataclass
class Audiocraft:
    """A folder in memory: both configurations and both states."""

    folder: Path
    config: dict[str, Any]
    state: dict[str, Tensor]
    codec: dict[str, Any]  # as it was saved

    def fail(self, what: str) -> CheckpointError:
        """An error that names the folder."""
        return CheckpointError(f"{self.folder}: {what}")


def load_package(path: Path) -> dict[str, Any]:
    """One of the two files, without running code from it.

    Raises:
        CheckpointError: it is missing, damaged, or holds objects.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: audiocraft's format has both files") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or not exported by audiocraft"
        ) from error


def read_folder(folder: Path) -> Audiocraft:
    """Both files of a folder."""
    model = load_package(folder / AUDIOCRAFT_MODEL)
    if not {"best_state", "xp.cfg"} <= set(model):
        raise CheckpointError(
            f"{folder / AUDIOCRAFT_MODEL} lacks best_state or xp.cfg: export it with audiocraft"
        )
    found = Audiocraft(
        folder,
        yaml.safe_load(model["xp.cfg"]),
        model["best_state"],
        load_package(folder / AUDIOCRAFT_CODEC),
    )
    transformer = found.config["transformer_lm"]
    for key, expected in REQUIRED.items():
        if transformer.get(key, expected) != expected:
            raise found.fail(f"transformer_lm.{key} is {transformer[key]!r}; MusicGen has {expected!r}")
    return found


def hears_melody(found: Audiocraft) -> bool:
    """Whether text and melody are prepended; text alone is attended to.

    Raises:
        CheckpointError: neither.
    """
    fuser = found.config["fuser"]
    told = {way: sorted(fuser.get(way) or []) for way in ("cross", "prepend", "sum", "input_interpolate")}
    given = {way: names for way, names in told.items() if names}
    if given == {"cross": ["description"]}:
        return False
    if given == {"prepend": ["description", "self_wav"]}:
        return True
    raise found.fail(f"fuser is {given}; known are cross-attention to text, and melody and text prepended")


def check_delays(found: Audiocraft, channels: int) -> None:
    """Refuse other patterns than transformers'."""
    pattern = found.config["codebooks_pattern"]
    delays = (pattern.get("delay") or {}).get("delays")
    expected = [k // channels for k in range(found.config["transformer_lm"]["n_q"])]
    if pattern["modeling"] != "delay" or delays != expected:
        raise found.fail(f"codebooks_pattern is {pattern['modeling']} {delays}; expected delay {expected}")


def decoder_settings(found: Audiocraft) -> dict[str, Any]:
    """The decoder's configuration in transformers' words."""
    lm = found.config["transformer_lm"]
    stereo = bool((found.config.get("interleave_stereo_codebooks") or {}).get("use"))
    channels = 2 if stereo else 1
    check_delays(found, channels)
    return {
        "vocab_size": lm["card"],
        "num_hidden_layers": lm["num_layers"],
        "ffn_dim": int(lm["hidden_scale"] * lm["dim"]),
        "num_attention_heads": lm["num_heads"],
        "hidden_size": lm["dim"],
        "activation_function": lm["activation"],
        "num_codebooks": lm["n_q"],
        "audio_channels": channels,
        "pad_token_id": lm["card"],
        "bos_token_id": lm["card"],
    }


def codec_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The codec's configuration in transformers' words."""
    seanet, rvq, encodec = config["seanet"], config["rvq"], config["encodec"]
    frame_rate = math.ceil(encodec["sample_rate"] / math.prod(seanet["ratios"]))
    # A bit more than needed: transformers rounds down to whole codebooks.
    bandwidth = (rvq["n_q"] + 0.25) * frame_rate * math.log2(rvq["bins"]) / 1000
    return {
        "sampling_rate": encodec["sample_rate"],
        "audio_channels": encodec["channels"],
        "normalize": bool(encodec.get("renormalize")),
        "target_bandwidths": [bandwidth],
        "hidden_size": seanet["dimension"],
        "codebook_dim": seanet["dimension"],
        "codebook_size": rvq["bins"],
        "num_filters": seanet["n_filters"],
        "num_residual_layers": seanet["n_residual_layers"],
        "upsampling_ratios": list(seanet["ratios"]),
        "norm_type": seanet["norm"],
        "kernel_size": seanet["kernel_size"],
        "last_kernel_size": seanet["last_kernel_size"],
        "residual_kernel_size": seanet["residual_kernel_size"],
        "dilation_growth_rate": seanet["dilation_base"],
        "use_causal_conv": seanet["causal"],
        "pad_mode": seanet["pad_mode"],
        "compress": seanet["compress"],
        "num_lstm_layers": seanet["lstm"],
        "trim_right_ratio": (seanet.get("decoder") or {}).get("trim_right_ratio", 1.0),
        "use_conv_shortcut": not seanet["true_skip"],
    }


def renamed(name: str, rules: list[tuple[str, str]]) -> str | None:
    """transformers' name of a weight; None if no rule knows it."""
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(f"^{pattern}", replacement, name)
    return None


def lm_weights(found: Audiocraft) -> dict[str, Tensor]:
    """The language model's weights by transformers' names: the joined attention matrices cut in three."""
    weights: dict[str, Tensor] = {}
    for name, tensor in found.state.items():
        if name.startswith(IGNORED):
            continue
        new = renamed(name, LM_NAMES)
        if new is None:
            raise found.fail(f"{AUDIOCRAFT_MODEL} has the weight {name}, which MusicGen does not")
        if new.endswith(".in_proj_weight"):
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                weights[new.replace("in_proj_weight", f"{part}_proj.weight")] = piece
        else:
            weights[new] = tensor
    return weights


def codec_weights(found: Audiocraft) -> dict[str, Tensor]:
    """The codec's weights by transformers' names."""
    weights: dict[str, Tensor] = {}
    for name, tensor in found.codec["best_state"].items():
        new = renamed(name, CODEC_NAMES)
        if new is None:
            raise found.fail(f"{AUDIOCRAFT_CODEC} has the weight {name}, which EnCodec does not")
        for old, norm in WEIGHT_NORM.items():
            if new.endswith(old):
                new = new.removesuffix(old) + norm
        weights[new] = tensor
    return weights


def fill(found: Audiocraft, model: Any, weights: dict[str, Tensor], apart: tuple[str, ...]) -> None:
    """Load `weights` into `model`; what begins with `apart` comes from elsewhere.

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape.
    """
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise found.fail(f"a weight has another shape: {str(error).splitlines()[-1].strip()}") from error
    lacking = [name for name in missing if not name.startswith(apart)]
    if lacking or unexpected:
        problem = f"lacks {lacking[0]}" if lacking else f"has {unexpected[0]} too many"
        raise found.fail(f"does not fit its own configuration: it {problem}")


def load_part(kind: Any, source: str, what: str, flag: str) -> Any:
    """A T5 or EnCodec in transformers' format.

    Raises:
        CheckpointError: it cannot be loaded; with the flag that names another.
    """
    try:
        return kind.from_pretrained(source, dtype=torch.float32)
    except Exception as error:  # transformers, safetensors and the hub each have their own
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:160]
        raise CheckpointError(
            f"the {what} {source} cannot be loaded: {reason}; name one with {flag}"
        ) from error


def read_codec(found: Audiocraft, source: str | None) -> Any:
    """The codec: `source` if given, the one in the folder, or the published one that the folder names."""
    if source is None and "best_state" in found.codec:
        config = yaml.safe_load(found.codec["xp.cfg"])
        codec = EncodecModel(EncodecConfig(**codec_settings(config)))
        fill(found, codec, codec_weights(found), ())
        return codec
    name = source or found.codec.get("pretrained")
    if name is None:
        raise found.fail(f"{AUDIOCRAFT_CODEC} holds no codec and names none; name one with --codec")
    return load_part(EncodecModel, str(name).removeprefix("//pretrained/"), "codec", "--codec")


def text_encoder_of(found: Audiocraft) -> str:
    """The T5 that the checkpoint names."""
    description = found.config["conditioners"]["description"]
    if description["model"] != "t5":
        raise found.fail(f"conditioners.description is {description['model']}; known: t5")
    return description["t5"]["name"]


def chroma_settings(found: Audiocraft) -> dict[str, Any]:
    """How the checkpoint hears a melody, as in a manifest."""
    stem = found.config["conditioners"]["self_wav"]["chroma_stem"]
    if stem["n_chroma"] != NUM_CHROMA or not stem.get("argmax", True):
        raise found.fail("conditioners.self_wav.chroma_stem: expected 12 chroma and argmax")
    size = 2 ** stem["radix2_exp"]
    return {
        "sample_rate_hz": stem["sample_rate"],
        "fft_size": size,
        "hop_length": size // 4,
        "longest_s": int(found.config["dataset"]["segment_duration"]),
    }


@torch.no_grad()
def build_model(found: Audiocraft, text_encoder: str, codec: str | None) -> Any:
    """transformers' model of a folder, in float32."""
    parts = {
        "text_encoder": load_part(T5EncoderModel, text_encoder, "text encoder", "--text-encoder"),
        "audio_encoder": read_codec(found, codec),
    }
    sections = {name: part.config.to_dict() for name, part in parts.items()}
    settings = decoder_settings(found)
    if hears_melody(found):
        chroma = chroma_settings(found)
        length = chroma["longest_s"] * chroma["sample_rate_hz"] // chroma["hop_length"] + 1
        config = MusicgenMelodyConfig(
            **sections, decoder=MusicgenMelodyDecoderConfig(**settings).to_dict(), chroma_length=length
        )
        model: Any = MusicgenMelodyForConditionalGeneration(config, **parts)
    else:
        config = MusicgenConfig(**sections, decoder=MusicgenDecoderConfig(**settings).to_dict())
        model = MusicgenForConditionalGeneration(config, **parts)
    apart = ("text_encoder.", "audio_encoder.", "decoder.model.decoder.embed_positions.")
    fill(found, model, lm_weights(found), apart)
    model.generation_config.decoder_start_token_id = settings["vocab_size"]
    return model.float().eval().requires_grad_(False)
