"""Reading MusicGen in audiocraft's own format into transformers' model.

A folder holds state_dict.bin, the language model with its configuration, and compression_state_dict.bin, the
codec or the name of a published one, as audiocraft's audiocraft/utils/export.py writes them. The text encoder
is not in it: it is T5, fetched by its name or given as a folder.
"""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
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

from musicsteer.torchscript.audiocraft_settings import (
    chroma_length,
    codec_settings,
    decoder_settings,
    hears_melody,
)
from musicsteer.torchscript.source import AUDIOCRAFT_CODEC, AUDIOCRAFT_MODEL, CheckpointError
from musicsteer.torchscript.xp_config import Config, read_config

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
    """A folder in memory: the language model's configuration and state, and the codec's file."""

    folder: Path
    config: Config
    state: dict[str, Tensor]
    codec: dict[str, Any]  # as it was saved; empty if there is none

    def fail(self, what: str) -> CheckpointError:
        """An error that names the folder."""
        return CheckpointError(f"{self.folder}: {what}")


def load_package(path: Path) -> dict[str, Any]:
    """One of the two files, without running code from it.

    Raises:
        CheckpointError: it is missing, damaged, or holds objects.
    """
    try:
        package = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing: audiocraft's format has both files") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: it is damaged, or not exported by audiocraft"
        ) from error
    if not isinstance(package, dict):
        raise CheckpointError(f"{path} holds no model: export it with audiocraft")
    return package


def read_folder(folder: Path) -> Audiocraft:
    """Both files of a folder; the codec's may be missing."""
    path = folder / AUDIOCRAFT_MODEL
    model = load_package(path)
    if not {"best_state", "xp.cfg"} <= set(model):
        raise CheckpointError(f"{path} lacks best_state or xp.cfg: export it with audiocraft")
    codec = folder / AUDIOCRAFT_CODEC
    return Audiocraft(
        folder,
        read_config(model["xp.cfg"], str(path)),
        tensors_of(model, path),
        load_package(codec) if codec.exists() else {},
    )


def tensors_of(package: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """A file's weights.

    Raises:
        CheckpointError: it holds something else, as a checkpoint of a training does.
    """
    state = package["best_state"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: best_state holds no weights by name: export it with audiocraft")
    return state


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
    for name, tensor in tensors_of(found.codec, found.folder / AUDIOCRAFT_CODEC).items():
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
        config = read_config(found.codec.get("xp.cfg"), str(found.folder / AUDIOCRAFT_CODEC))
        codec = EncodecModel(EncodecConfig(**codec_settings(config)))
        fill(found, codec, codec_weights(found), ())
        return codec
    name = source or found.codec.get("pretrained")
    if name is None:
        lack = "holds no codec and names none" if found.codec else "is missing"
        raise found.fail(f"{AUDIOCRAFT_CODEC} {lack}; name a codec with --codec")
    return load_part(EncodecModel, str(name).removeprefix("//pretrained/"), "codec", "--codec")


@torch.no_grad()
def build_model(found: Audiocraft, text_encoder: str, codec: str | None) -> Any:
    """transformers' model of a folder, in float32."""
    settings = decoder_settings(found.config)  # first: it is quick to refuse
    parts = {
        "text_encoder": load_part(T5EncoderModel, text_encoder, "text encoder", "--text-encoder"),
        "audio_encoder": read_codec(found, codec),
    }
    sections = {name: part.config.to_dict() for name, part in parts.items()}
    if hears_melody(found.config):
        config = MusicgenMelodyConfig(
            **sections,
            decoder=MusicgenMelodyDecoderConfig(**settings).to_dict(),
            chroma_length=chroma_length(found.config),
        )
        model: Any = MusicgenMelodyForConditionalGeneration(config, **parts)
    else:
        config = MusicgenConfig(**sections, decoder=MusicgenDecoderConfig(**settings).to_dict())
        model = MusicgenForConditionalGeneration(config, **parts)
    apart = ("text_encoder.", "audio_encoder.", "decoder.model.decoder.embed_positions.")
    fill(found, model, lm_weights(found), apart)
    model.generation_config.decoder_start_token_id = settings["vocab_size"]
    return model.float().eval().requires_grad_(False)
