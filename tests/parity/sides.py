"""Both sides of a comparison for one checkpoint; checkpoints and bundles are made once, in .cache/parity."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import checkpoints
import torch
import transformers
from job import REPOSITORY, Engine
from melody_reference import MelodyReference
from reference import Reference

from musicsteer import export_model

CACHE = Path(os.environ.get("MUSICSTEER_PARITY_CACHE", REPOSITORY / ".cache" / "parity"))


@dataclass
class Sides:
    """One shape: its checkpoint in transformers, and its bundle in the engine."""

    name: str
    checkpoint: Path
    bundle: Path
    reference: Reference
    engine: Engine


def scripts_hash() -> str:
    """Changes with everything that decides a checkpoint or its bundle."""
    digest = hashlib.sha256(f"{torch.__version__} {transformers.__version__}".encode())
    package = Path(export_model.__file__).parent
    for path in [*sorted((package / "torchscript").glob("*.py")), package / "export_model.py"]:
        digest.update(path.read_bytes())
    digest.update(Path(checkpoints.__file__).read_bytes())
    return digest.hexdigest()[:16]


def prepare(shape: checkpoints.Shape, cache: Path) -> tuple[Path, Path]:
    """Checkpoint and bundle of a shape, from the cache if they are there; whole or not at all."""
    home = cache / shape.name
    if not home.exists():
        partial = cache / f"{shape.name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        checkpoint = checkpoints.save(shape, partial)
        checkpoint.rename(partial / "checkpoint")
        export_model.export(str(partial / "checkpoint"), partial / "bundle", name=shape.name)
        partial.rename(home)
    return home / "checkpoint", home / "bundle"


def make_sides(shape: checkpoints.Shape, folder: Path) -> Sides:
    """`folder` is for the engine's jobs."""
    checkpoint, bundle = prepare(shape, CACHE / scripts_hash())
    kind = Reference if shape.chroma_length is None else MelodyReference
    return Sides(shape.name, checkpoint, bundle, kind(checkpoint), Engine(bundle, folder))
