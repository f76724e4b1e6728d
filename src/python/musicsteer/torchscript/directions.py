"""A checkpoint's directions/: vector files and how each was evaluated; export copies it into the bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from musicsteer.torchscript.bundle import DIRECTIONS, BundleError


def vector_name(path: Path, content: Any) -> str:
    """The name of the vector file beside a direction's steering file.

    Raises:
        BundleError: it is not a steering file with one vector, in the same folder, and a default strength.
    """
    entries = content.get("steering") if isinstance(content, dict) else None
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        raise BundleError(f"{path}: a direction is a steering file with one vector (docs/formats.md)")
    name = entries[0].get("file")
    if not isinstance(name, str) or name != Path(name).name or not (path.parent / name).is_file():
        raise BundleError(f"{path}: expected its vector file beside it, found no {name} there")
    if "alpha" not in entries[0] and entries[0].get("mode") != "clamp":
        raise BundleError(f"{path}: has no alpha; give the default strength")
    return name


def copy_directions(checkpoint: Path | None, bundle: Path) -> None:
    """Copy every NAME.json of the checkpoint's directions/ and its vector file, if it has that folder.

    Raises:
        BundleError: naming the file that is not a direction.
    """
    if checkpoint is None or not (checkpoint / DIRECTIONS).is_dir():
        return
    target = bundle / DIRECTIONS
    target.mkdir()
    for path in sorted((checkpoint / DIRECTIONS).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BundleError(f"{path}: is not JSON: {error}") from None
        for name in (path.name, vector_name(path, content)):
            shutil.copyfile(path.parent / name, target / name)
