"""Reading a Hugging Face MusicGen checkpoint: model, tokenizer, licence, and a hash of the weights."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyForConditionalGeneration,
    T5Tokenizer,
)
from transformers.utils import cached_file

from musicsteer.torchscript import audiocraft, audiocraft_settings
from musicsteer.torchscript.lora import merge
from musicsteer.torchscript.source import (
    AUDIOCRAFT_CODEC,
    AUDIOCRAFT_MODEL,
    CheckpointError,
    Source,
    hub_name,
    is_audiocraft,
    resolve_source,
)
from musicsteer.torchscript.tokenizer_file import TokenizerError, canonical

# model_type in config.json -> the class of transformers
ARCHITECTURES = {
    "musicgen": MusicgenForConditionalGeneration,
    "musicgen_melody": MusicgenMelodyForConditionalGeneration,
}
NON_COMMERCIAL = "Weights of published MusicGen checkpoints are for non-commercial use only (CC-BY-NC-4.0)."


@dataclass
class Checkpoint:
    """A checkpoint in memory: `model` in float32 and evaluation mode."""

    source: str  # hub id, or the folder's base name
    model: Any
    tokenizer_json: bytes
    licence: str
    licence_note: str
    generation: dict[str, Any]  # how it samples, as generation_config.json says
    max_length: int | None = None  # columns of the longest clip it is meant for; as said there
    chroma: dict[str, Any] = field(default_factory=dict)  # how a melody checkpoint hears a melody
    tokenizer_source: str = ""  # where transformers finds its tokenizer


def one_line(error: BaseException) -> str:
    """The first sentence-like line of an exception of a library; a heading goes with what follows it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:200]


def find_file(source: str, name: str) -> Path | None:
    """A file of the checkpoint, fetched from the hub where the source is a hub id; None if it has none."""
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    try:
        found = cached_file(
            source,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except (OSError, ValueError):
        return None
    return Path(found) if found else None


def check_source(source: str) -> None:
    """Refuse early, and by name, what is not a MusicGen checkpoint.

    Raises:
        CheckpointError: no config.json, another architecture.
    """
    config_path = find_file(source, "config.json")
    if config_path is None:
        reason = (
            "has no config.json"
            if Path(source).is_dir()
            else "is no folder here, and the hub did not give it"
        )
        raise CheckpointError(f"{source} {reason}; a checkpoint is a folder or a hub id")
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{config_path} is not JSON: {one_line(error)}") from error
    if not isinstance(config, dict) or config.get("model_type") not in ARCHITECTURES:
        kind = (
            (config.get("architectures") or [config.get("model_type")])
            if isinstance(config, dict)
            else [None]
        )
        raise CheckpointError(f"{source} is a {kind[0] or 'config.json of another kind'}, not a MusicGen")


def load_model(source: str) -> Any:
    """The model in float32, every weight of it from the checkpoint.

    Raises:
        CheckpointError: transformers refuses it, or a weight is missing or has another shape.
    """
    try:
        config = AutoConfig.from_pretrained(source)
        model, report = ARCHITECTURES[config.model_type].from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # transformers, safetensors and pickle each have their own
        raise CheckpointError(f"{source} cannot be loaded: {one_line(error)}") from error
    for problem in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in report.get(problem, []))
        if names:
            kind = problem.removesuffix("_keys")
            raise CheckpointError(f"{source} has {len(names)} {kind} weights, the first of them {names[0]}")
    generation = model.generation_config
    if getattr(generation, "decoder_start_token_id", None) is None:  # as `generate` falls back
        generation.decoder_start_token_id = model.config.decoder.bos_token_id
    return model.eval().requires_grad_(False)


def read_tokenizer(source: str) -> bytes:
    """The bundle's tokenizer.json, from the checkpoint's own or made from spiece.model.

    Raises:
        CheckpointError: there is neither, or it is not T5's tokenizer.
    """
    path = find_file(source, "tokenizer.json")
    if path is not None:
        content = path.read_bytes()
    elif find_file(source, "spiece.model") is not None:
        try:
            content = T5Tokenizer.from_pretrained(source).backend_tokenizer.to_str().encode()
        except Exception as error:
            raise CheckpointError(f"{source}: spiece.model cannot be read: {one_line(error)}") from error
    else:
        raise CheckpointError(f"{source} has neither tokenizer.json nor spiece.model")
    try:
        return canonical(content.decode()).encode()
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{source}: tokenizer.json is not a tokenizer: {error}") from error
    except TokenizerError as error:
        raise CheckpointError(f"{source}: tokenizer.json {one_line(error)}") from error


def weights_sha256(model: Any) -> str:
    """Hash over the names, shapes, types and bytes of the state dict, in the order of the names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        kind = str(tensor.dtype).removeprefix("torch.")
        digest.update(f"{name}\0{list(tensor.shape)}\0{kind}\0".encode())
        digest.update(memoryview(tensor.detach().contiguous().numpy().reshape(-1)).cast("B"))
    return digest.hexdigest()


def published_name(source: str, config: dict[str, Any]) -> str | None:
    """facebook/musicgen-... if the checkpoint is one of those or says it was made from one."""
    nested = config.get("decoder") or {}
    candidates = [source, config.get("_name_or_path"), nested.get("_name_or_path")]
    return next((str(name) for name in candidates if str(name).startswith("facebook/musicgen-")), None)


def card_licence(card: str) -> str | None:
    """The `license:` of a model card's front matter."""
    front = re.match(r"\A---\s*\n(.*?)\n---", card, flags=re.DOTALL)
    found = (
        re.search(r"^license:[ \t]*[\"']?([\w.+-]+)", front.group(1), flags=re.MULTILINE) if front else None
    )
    return found.group(1) if found else None


def read_licence(source: str) -> tuple[str, str]:
    """(licence, note) of the weights: the model card's, and that of the published weights they come from."""
    config_path = find_file(source, "config.json")
    config = json.loads(config_path.read_text(encoding="utf-8")) if config_path else {}
    card = find_file(source, "README.md")
    stated = card_licence(card.read_text(encoding="utf-8", errors="replace")) if card else None
    published = published_name(hub_name(Path(source).resolve()) if Path(source).is_dir() else source, config)
    if stated:
        licence = stated.upper() if stated.lower().startswith(("cc", "mit")) else stated
    else:
        licence = "CC-BY-NC-4.0" if published else "unknown, see the checkpoint's model card"
    note = f"Made from {published}. {NON_COMMERCIAL}" if published else ""
    if not published and "-NC" in licence.upper():
        note = f"{licence}: non-commercial use only."
    return licence, note


def read_generation(source: str) -> dict[str, Any]:
    """The numbers of generation_config.json that a bundle keeps, without any library's defaults.

    Raises:
        CheckpointError: it is not JSON, or one of them is not a number that sampling can use.
    """
    path = find_file(source, "generation_config.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        return {}
    given = {}
    for key, (expected, convert) in GENERATION.items():
        if (value := content.get(key)) is None:
            continue
        try:
            if isinstance(value, bool):
                raise ValueError
            given[key] = convert(float(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{path}: {key} is {value!r}; expected {expected}") from error
    return given


def read_chroma(source: str) -> dict[str, Any]:
    """How preprocessor_config.json says that chroma is computed; without it, as transformers does.

    Raises:
        CheckpointError: it is not JSON.
    """
    path = find_file(source, "preprocessor_config.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no settings")
    return {ours: content.get(theirs, default) for ours, (theirs, default) in CHROMA.items()}


# Ours -> the name in transformers' MusicgenMelodyFeatureExtractor, and its default there.
CHROMA = {
    "sample_rate_hz": ("sampling_rate", 32000),
    "fft_size": ("n_fft", 16384),
    "hop_length": ("hop_length", 4096),
    "longest_s": ("chunk_length", 30),
}


def guidance_scale(value: float) -> float:
    """transformers takes up to 1 for no guidance."""
    if not math.isfinite(value) or value < 0:
        raise ValueError
    return max(value, 1.0)


def count(value: float) -> int:
    """A whole number; 0 is off."""
    if value < 0 or value != int(value):
        raise ValueError
    return int(value)


def temperature(value: float) -> float:
    """Above 0."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError
    return value


GENERATION = {
    "guidance_scale": ("a number of at least 0", guidance_scale),
    "top_k": ("a whole number of at least 0", count),
    "max_length": ("a whole number of at least 0", count),
    "temperature": ("a number above 0", temperature),
}


@dataclass(frozen=True)
class Extras:
    """What is combined with a checkpoint."""

    lora: Path | None = None  # an adapter to merge
    text_encoder: str | None = None  # of a folder in audiocraft's format; none: the one that it names
    codec: str | None = None  # likewise; none: its own, or the one that it names


NO_EXTRAS = Extras()


def read_audiocraft(name: str, source: str, folder: Path, extras: Extras) -> Checkpoint:
    """Load a folder in audiocraft's format, of `source`; tokenizer and text encoder are T5's."""
    found = audiocraft.read_folder(folder)
    config = found.config
    audiocraft_settings.check(config)
    text_encoder = extras.text_encoder or audiocraft_settings.text_encoder(config)
    seconds = config.number("dataset.segment_duration")
    guidance = config.get("classifier_free_guidance.inference_coef")
    if guidance is not None:
        guidance = guidance_scale(config.number("classifier_free_guidance.inference_coef"))
    model = audiocraft.build_model(found, text_encoder, extras.codec)
    licence, note = read_licence(source)
    return Checkpoint(
        source=name,
        model=model,
        tokenizer_json=read_tokenizer(text_encoder),
        tokenizer_source=text_encoder,
        licence=licence,
        licence_note=note,
        generation={} if guidance is None else {"guidance_scale": guidance},
        max_length=math.ceil(seconds * model.config.audio_encoder.frame_rate),
        chroma=audiocraft_settings.chroma(config) if audiocraft_settings.hears_melody(config) else {},
    )


def audiocraft_folder(source: Source) -> Path | None:
    """The folder in audiocraft's format, for a hub id in the cache; None: another format."""
    if source.folder:
        return source.folder if is_audiocraft(source.folder) else None
    if find_file(source.place, "config.json") or not (model := find_file(source.place, AUDIOCRAFT_MODEL)):
        return None
    find_file(source.place, AUDIOCRAFT_CODEC)  # to the same folder
    return model.parent


def read_checkpoint(source: str, extras: Extras = NO_EXTRAS) -> Checkpoint:
    """Load a checkpoint from a folder, the Hugging Face cache, or the hub; with a LoRA folder merged.

    Raises:
        CheckpointError: one sentence with what is wrong.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    found = resolve_source(source)
    lora = extras.lora
    name = f"{found.name} with LoRA {lora.name}" if lora else found.name
    if folder := audiocraft_folder(found):
        checkpoint = read_audiocraft(name, found.place, folder, extras)
        if lora:
            merge(checkpoint.model, lora)
        return checkpoint
    for flag, given in (("--text-encoder", extras.text_encoder), ("--codec", extras.codec)):
        if given:
            raise CheckpointError(f"{flag} is for folders in audiocraft's format, which {source} is not")
    place = found.place
    check_source(place)
    generation = read_generation(place)
    tokenizer_json = read_tokenizer(place)
    licence, note = read_licence(place)
    model = load_model(place)
    if lora:
        merge(model, lora)
    return Checkpoint(
        source=name,
        model=model,
        tokenizer_json=tokenizer_json,
        tokenizer_source=place,
        licence=licence,
        licence_note=note,
        chroma=read_chroma(place),
        max_length=generation.pop("max_length", None),
        generation=generation,
    )
