"""Where a checkpoint is: a folder, a folder of the Hugging Face cache, or a hub id; and what is none."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from musicsteer.program import shipped_checkpoint

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
CACHED = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")
AUDIOCRAFT_MODEL, AUDIOCRAFT_CODEC = "state_dict.bin", "compression_state_dict.bin"
LFS = b"version https://git-lfs.github.com/spec"
WEIGHTS = ("*.safetensors", "*.bin", "*.model", "*.json")


class CheckpointError(Exception):
    """The checkpoint cannot be read; one sentence with what is wrong."""


@dataclass(frozen=True)
class Source:
    """What transformers is given, and what the checkpoint is called in the manifest."""

    place: str  # a folder, or a hub id
    name: str

    @property
    def folder(self) -> Path | None:
        """The folder, if it is one."""
        return Path(self.place) if Path(self.place).is_dir() else None


def hub_name(folder: Path) -> str:
    """ "owner/name" of a folder of the Hugging Face cache, at any depth there; else the folder's name."""
    for part in (folder, *folder.parents[:2]):
        if found := CACHED.fullmatch(part.name):
            return f"{found['owner']}/{found['name']}"
    return folder.name


def snapshot_of(cached: Path) -> Path:
    """The snapshot that refs/main of a cached model names, or the only one.

    Raises:
        CheckpointError: there is none, or no telling which.
    """
    reference = cached / "refs" / "main"
    if reference.is_file() and (main := cached / "snapshots" / reference.read_text().strip()).is_dir():
        return main
    found = sorted(path for path in (cached / "snapshots").iterdir() if path.is_dir())
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(f"{cached} holds no snapshot; download the model again")
    raise CheckpointError(
        f"{cached} holds {len(found)} snapshots and no refs/main; pass one of them, such as {found[-1]}"
    )


def resolve_source(source: str) -> Source:
    """A folder, hub id or name of a shipped checkpoint as transformers takes it.

    Raises:
        CheckpointError: neither, or a folder whose kind is known and is not a checkpoint.
    """
    path = Path(source)
    if path.is_file():
        raise CheckpointError(f"{source} is a file; a checkpoint is a folder or a hub id")
    if not path.is_dir() and (shipped := shipped_checkpoint(source)):
        path = Path(shipped)
    if not path.is_dir():
        if not HUB_ID.fullmatch(source):
            raise CheckpointError(f"{source} does not exist, and is not a hub id (owner/name)")
        return Source(source, source)
    if (path / "snapshots").is_dir():
        path = snapshot_of(path)
    refuse_other_kinds(path)
    refuse_pointers(path)
    return Source(str(path), hub_name(path.resolve()))


def is_audiocraft(folder: Path) -> bool:
    """Whether a folder is in audiocraft's own format."""
    return not (folder / "config.json").is_file() and any(
        (folder / name).is_file() for name in (AUDIOCRAFT_MODEL, AUDIOCRAFT_CODEC)
    )


def refuse_other_kinds(folder: Path) -> None:
    """Name what people have instead of a checkpoint, and the next step.

    Raises:
        CheckpointError: it is such a folder.
    """
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        try:
            base = json.loads(adapter.read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError):
            base = None
        if (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} holds a LoRA adapter beside the model: move adapter_config.json and the adapter's "
                "weights to a folder of their own, and name that with --lora to merge it"
            )
        raise CheckpointError(
            f"{folder} is a LoRA adapter{f' of {base}' if base else ''}, not a whole model: export its base "
            f"model with --lora {folder}"
        )
    if (folder / "config.json").is_file():
        return
    if is_audiocraft(folder):
        return
    if cached := sorted(path for path in folder.glob("models--*") if CACHED.fullmatch(path.name)):
        raise CheckpointError(
            f"{folder} is a cache of several models: pass one of its folders, such as {cached[0]}, "
            f"or a hub id, such as {hub_name(cached[0])}"
        )
    inner = sorted(path.parent for path in folder.glob("*/config.json"))
    if inner:
        raise CheckpointError(
            f"{folder} has no config.json; pass the folder that has one, such as {inner[0]}"
        )


def refuse_pointers(folder: Path) -> None:
    """A clone without Git LFS holds text files that say where the weights would be.

    Raises:
        CheckpointError: one of the files is such a pointer.
    """
    for pattern in WEIGHTS:
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and path.open("rb").read(len(LFS)) == LFS:
                raise CheckpointError(
                    f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in {folder}"
                )
