"""Writing a model bundle: TorchScript files that depend on the weights alone, a manifest, and one rename."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.jit import _recursive as recursive
from torch.jit import _state as state

MANIFEST = "manifest.json"
HASH_CHUNK = 1 << 22

# Records of a TorchScript archive that PyTorchFileWriter adds by itself.
VERSION_RECORDS = {"version", ".data/version"}  # the second from format 6 on
OWN_RECORDS = VERSION_RECORDS | {
    "byteorder",
    ".data/serialization_id",
    ".format_version",
    ".storage_alignment",
}


class BundleError(Exception):
    """The bundle cannot be written there; the message says why and what to do."""


@contextmanager
def fresh_types() -> Iterator[None]:
    """Let TorchScript forget, for a while, what this process has compiled.

    It numbers the types of a class from the second on (`___torch_mangle_3`), and the names are in the files:
    the bytes of a bundle would depend on what was exported before it.
    """
    anew = [
        (state, "_python_cu", torch._C.CompilationUnit()),
        (state, "_jit_function_overload_caching", WeakKeyDictionary()),
        (recursive, "concrete_type_store", recursive.ConcreteTypeStore()),
    ]
    before = [getattr(module, name) for module, name, _ in anew]
    for module, name, value in anew:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(anew, before, strict=True):
            setattr(module, name, value)


def save_script(module: nn.Module, path: Path) -> None:
    """Script `module` and save it without debug records.

    Those hold paths and sources of the machine that exported, so that the same weights would give other bytes
    elsewhere; nothing but the line numbers of an error's trace needs them.
    """
    whole = path.with_name(path.name + ".whole")
    # The archive's inner folder is named after the file, so the first copy gets a folder of its own.
    whole.mkdir()
    try:
        torch.jit.script(module).save(str(whole / path.name))
        copy_records(whole / path.name, path)
    finally:
        shutil.rmtree(whole, ignore_errors=True)


def check_space(folder: Path, modules: Iterable[nn.Module]) -> None:
    """Refuse before writing what won't fit on the disk: torch aborts the process when a write fails.

    Raises:
        BundleError: with what is needed and what is free.
    """
    sizes = [sum(tensor.nbytes for tensor in module.state_dict().values()) for module in modules]
    # While a module is saved there are two copies of it; the rest is code, padding and the tokenizer.
    needed, free = sum(sizes) + max(sizes) + 8_000_000, shutil.disk_usage(folder).free
    if free < needed:
        raise BundleError(
            f"{folder.parent} has {free / 1e6:.0f} MB free; the bundle needs {needed / 1e6:.0f}"
        )


def copy_records(source: Path, target: Path) -> None:
    """Copy a TorchScript archive without its debug records, constants sorted."""
    reader = torch._C.PyTorchFileReader(str(source))
    writer = torch._C.PyTorchFileWriter(str(target))
    names = reader.get_all_records()
    writer.set_min_version(max(int(reader.get_record(name)) for name in VERSION_RECORDS.intersection(names)))
    for name in names:
        if name not in OWN_RECORDS and not name.endswith(".debug_pkl"):
            record = reader.get_record(name)
            if name.endswith(".py"):
                record = sort_constants(record)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()


def sort_constants(code: bytes) -> bytes:
    """Archived code with each run of `name : Final[...]` lines sorted: torch writes them in a set's order."""
    runs = groupby(code.splitlines(keepends=True), key=lambda line: b" : Final[" in line)
    return b"".join(b"".join(sorted(run) if constant else run) for constant, run in runs)


def file_record(path: Path) -> dict[str, Any]:
    """A file's sha256 and size, as in the manifest."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def sync(path: Path) -> None:
    """Have the system put a file or a folder on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Add the record of every file in `folder` to the manifest and write it there."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    manifest = manifest | {"files": {path.name: file_record(path) for path in files}}
    manifest["versions"] = manifest.pop("versions")
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def check_target(out: Path, force: bool) -> None:
    """Refuse a target that exists, unless it is a bundle and `force` says so.

    Raises:
        BundleError: with what to do.
    """
    if not os.path.lexists(out):
        return
    if not force:
        raise BundleError(f"{out} exists already; give another name, or --force to replace it")
    if out.is_symlink() or not out.is_dir():
        raise BundleError(f"{out} is not a folder; only a bundle is replaced")
    if not (out / MANIFEST).is_file() and any(out.iterdir()):
        raise BundleError(f"{out} is a folder without {MANIFEST}; only a bundle is replaced")


def make_parents(folder: Path) -> list[Path]:
    """Create `folder` and what leads to it; returns what was created, deepest first."""
    missing: list[Path] = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir()
    return missing


@contextmanager
def new_bundle(out: Path, force: bool) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` when the block ends well, and vanishes otherwise.

    An old bundle is moved aside once the new one is complete and synced, and put back if the rename fails.

    Raises:
        BundleError: `out` exists without `force`, or is nothing to replace.
    """
    out = Path(os.path.abspath(out))
    check_target(out, force)
    created = make_parents(out.parent)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        yield folder
        mask = os.umask(0)
        os.umask(mask)
        folder.chmod(0o777 & ~mask)
        for path in folder.iterdir():
            path.chmod(0o666 & ~mask)
            sync(path)
        sync(folder)
        check_target(out, force)
        replace_folder(folder, out)
        sync(out.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        for path in created:
            if path.exists() and not any(path.iterdir()):
                path.rmdir()
        raise


def replace_folder(new: Path, out: Path) -> None:
    """Rename `new` to `out`, over an older folder if there is one."""
    old = new.with_suffix(".old")
    existed = out.exists()
    if existed:
        out.rename(old)
    try:
        new.rename(out)
    except BaseException:
        if existed:
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)
