"""A vector file as the program reads it (docs/formats.md), with what is known of imported vectors."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .placing import layer_of
from .tensors import ImportFailure

HASH_CHUNK = 1 << 22
LONGEST_MANIFEST = 1 << 24
# What a file must say and nobody knows here: the program's own defaults.
UNKNOWN: dict[str, str] = {
    "method": "import",
    "prompts_sha256": "",
    "positions": "unknown",
    "rows": "unknown",
    "duration_s": "0.0",
    "guidance_scale": "3.0",
    "top_k": "250",
    "top_p": "0.0",
    "temperature": "1.0",
    "seed": "0",
    "counts": '{"negative":0,"positive":0}',
}


@dataclass(frozen=True)
class Model:
    """The model that the vectors are for, as far as it is known."""

    name: str = ""
    weights_sha256: str = ""
    num_layers: int | None = None
    hidden_size: int | None = None


def model_of_bundle(folder: Path) -> Model:
    """The model in a bundle.

    Raises:
        ImportFailure: the folder is not a bundle.
    """
    path = folder / "manifest.json"
    try:
        if path.stat().st_size > LONGEST_MANIFEST:
            raise ValueError
        manifest = json.loads(path.read_bytes())
        model, decoder = manifest["model"], manifest["decoder"]
        return Model(
            str(model["name"]),
            str(model["weights_sha256"]),
            int(decoder["num_layers"]),
            int(decoder["hidden_size"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise ImportFailure(
            f"{folder}: not a model bundle; 'musicsteer export' makes one from a checkpoint"
        ) from None


def model_of_metadata(metadata: dict[str, str]) -> Model:
    """The model that a file names that musicsteer once exported."""
    layers, width = (metadata.get(key, "") for key in ("num_layers", "hidden_size"))
    return Model(
        metadata.get("model", ""),
        metadata.get("weights_sha256", ""),
        int(layers) if layers.isdecimal() else None,
        int(width) if width.isdecimal() else None,
    )


def check_model(vectors: dict[str, np.ndarray], model: Model, path: object) -> Model:
    """The model with the sizes that the vectors show where nothing else tells them.

    Raises:
        ImportFailure: the vectors are wider than the model, or for a layer that it lacks.
    """
    width = next(iter(vectors.values())).size
    if model.hidden_size not in (None, width):
        raise ImportFailure(f"{path}: vectors are {width} wide, the model {model.hidden_size}")
    highest = max((layer for point in vectors if (layer := layer_of(point)) is not None), default=0)
    layers = highest + 1 if model.num_layers is None else model.num_layers
    if highest >= layers:
        raise ImportFailure(
            f"{path}: has a vector for layer {highest}; the model has layers 0 to {layers - 1}"
        )
    return Model(model.name, model.weights_sha256, layers, width)


def compact(value: Any) -> str:
    """JSON, as the program writes it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256_of(path: Path) -> str:
    """The hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def metadata_of(
    vectors: dict[str, np.ndarray], model: Model, words: dict[str, str], made_from: dict[str, Any]
) -> dict[str, str]:
    """A vector file's metadata; `words` are `concept`, `positive` and `negative`.

    Effect sizes and mean residual norms are 0, which is unknown: the program refuses to choose by them.
    """
    layers = {
        point: {
            "effect_size": 0.0,
            "mean_residual_norm": 0.0,
            "norm": float(np.linalg.norm(vector.astype(float))),
        }
        for point, vector in vectors.items()
    }
    stamp = {"format": "musicsteer-vectors", "format_version": 1, "oldest_reader": 1}
    return UNKNOWN | {
        "musicsteer": compact(stamp),
        "concept": words["concept"],
        "labels": compact({"positive": words["positive"], "negative": words["negative"]}),
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "num_layers": str(model.num_layers),
        "hidden_size": str(model.hidden_size),
        "made_from": compact(made_from),
        "layers": compact(layers),
    }


def encode(vectors: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """A safetensors file; the same content gives the same bytes, unlike by the safetensors package."""
    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    for name in sorted(vectors):
        end = offset + vectors[name].nbytes
        header[name] = {"dtype": "F32", "shape": list(vectors[name].shape), "data_offsets": [offset, end]}
        offset = end
    text = compact(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(vectors[name].astype("<f4").tobytes() for name in sorted(vectors))
    return struct.pack("<Q", len(text)) + text + data


def write(path: Path, content: bytes, force: bool) -> None:
    """Write the whole file or none.

    Raises:
        ImportFailure: it is there already, or cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(name, 0o666 & ~mask)
            if force:
                os.replace(name, path)
            else:
                os.link(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except FileExistsError:
        raise ImportFailure(f"{path}: exists; give --force to replace it") from None
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be written: {error.strerror}") from None
