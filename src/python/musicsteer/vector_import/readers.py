"""Readers of the file formats: they find out names, shapes and types, and copy no values yet."""

from __future__ import annotations

import json
import math
import pickle
import re
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from .tensors import HOOK_NAME, ForeignFile, ForeignTensor, ImportFailure, SaeConfig, quoted

SAE_FILES = ("sae_weights.safetensors", "sae.safetensors")  # of SAELens and of sparsify
SAE_CONFIG = "cfg.json"
LONGEST_CONFIG = 1 << 20
LONGEST_SAFETENSORS_HEADER = 100_000_000
LONGEST_ARRAY = 1 << 28  # bytes of one array in an .npz, which is copied to be read
SPARE_MEMORY = 1 << 30  # what reading may take beyond the file's own size
ACCEPTED = (
    "expected .pt of torch.save, .safetensors, .npz or .npy of NumPy, .gguf, or a sparse autoencoder's folder"
)


@contextmanager
def limited_memory(path: Path) -> Iterator[None]:
    """Turn a file that would expand to all memory into an error, if the system supports limits.

    Raises:
        ImportFailure: reading took more than the file's size and 1 GiB.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        before = resource.getrlimit(resource.RLIMIT_AS)
        most = pages * resource.getpagesize() + 2 * path.stat().st_size + SPARE_MEMORY
        if before[1] != resource.RLIM_INFINITY:
            most = min(most, before[1])
        resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    except (ImportError, OSError, ValueError):
        yield
        return
    try:
        yield
    except MemoryError:
        raise ImportFailure(
            f"{path}: would take far more memory than vectors of its size; damaged or hostile"
        ) from None
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def of_torch(name: str, tensor: Any) -> ForeignTensor:
    """A tensor of PyTorch, strided and on the CPU."""
    return ForeignTensor(
        name,
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        tensor.is_floating_point(),
        lambda index: tensor.detach()[index].float().contiguous().numpy(),
    )


def of_array(name: str, array: np.ndarray) -> ForeignTensor:
    """An array of NumPy."""
    return ForeignTensor(
        name,
        array.shape,
        str(array.dtype),
        np.issubdtype(array.dtype, np.floating),
        lambda index: np.array(array[index], np.float32),
    )


def zip_entries(path: Path) -> list[zipfile.ZipInfo]:
    """The entries of a zip archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, struct.error, ValueError, NotImplementedError):
        raise ImportFailure(f"{path}: a damaged zip archive; is it truncated?") from None


def read_torch(path: Path, entries: list[zipfile.ZipInfo]) -> ForeignFile:
    """A tensor, a list of tensors or a dict of tensors, by the pickle reader that calls nothing unknown."""
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ImportFailure(f"{path}: compressed, which torch.save never does; load it and save it again")
    try:
        # Mapped, so that no storage is copied, and none reaches beyond the file.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except MemoryError:
        raise
    except pickle.UnpicklingError as error:
        raise ImportFailure(f"{path}: {unpickling_reason(str(error))}") from None
    except Exception as error:  # torch.load has no error type of its own
        if "allocate memory" in str(error):
            raise MemoryError from None
        raise ImportFailure(f"{path}: a damaged file of torch.save ({first_line(error)})") from None
    sizes = {entry.file_size for entry in entries}
    tensors = []
    for name, value in named_values(loaded, path):
        where = f"{path}: {quoted(name)}" if name else str(path)
        if not isinstance(value, torch.Tensor):
            raise ImportFailure(
                f"{where}: expected a tensor, found {type(value).__name__}; save a dict {{layer: tensor}}"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise ImportFailure(f"{where}: expected a dense tensor; save it as tensor.float().cpu()")
        if value.untyped_storage().nbytes() not in sizes:
            raise ImportFailure(f"{where}: its data are not as long as the file says; damaged")
        tensors.append(of_torch(name, value))
    return ForeignFile(tensors)


def named_values(loaded: Any, path: Path) -> list[tuple[str, Any]]:
    """What torch.load gave, by name; a tensor alone has none."""
    if isinstance(loaded, dict):
        for key in loaded:
            if not isinstance(key, (str, int)):
                raise ImportFailure(
                    f"{path}: expected layers or names as the dict's keys, found {type(key).__name__}"
                )
        return [(str(key), value) for key, value in loaded.items()]
    if isinstance(loaded, (list, tuple)):
        return [(str(layer), value) for layer, value in enumerate(loaded)]
    if hasattr(loaded, "untyped_storage"):
        return [("", loaded)]
    raise ImportFailure(
        f"{path}: expected a dict {{layer: tensor}}, a list of tensors or a tensor, found "
        f"{type(loaded).__name__}"
    )


def unpickling_reason(message: str) -> str:
    """What weights_only refused, without its advice to switch it off."""
    if found := re.search(r"(?:GLOBAL|class) ([\w.]+)", message.split("\n\n\n")[-1]):
        return (
            f"holds {quoted(found[1])}, which is code and is not run; where you trust the file, load it with "
            "the tool that made it and torch.save a dict {layer: tensor}"
        )
    return "a pickle of more than tensors, which is not read; torch.save a dict {layer: tensor}"


def first_line(error: Exception) -> str:
    """The gist of an error of another library."""
    lines = str(error).strip().splitlines()
    return quoted(lines[0] if lines else type(error).__name__)


def read_arrays(path: Path, entries: list[zipfile.ZipInfo]) -> ForeignFile:
    """An .npz, as numpy.savez writes it or as musicsteer once exported it."""
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for entry in entries:
            name = entry.filename.removesuffix(".npy")
            try:
                with archive.open(entry) as file:
                    arrays[name] = read_array(file, entry.file_size, f"{path}: {quoted(name)}")
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
                raise ImportFailure(f"{path}: {quoted(name)}: damaged ({first_line(error)})") from None
    metadata = our_metadata(arrays)
    if metadata:
        del arrays["metadata"]
    return ForeignFile([of_array(name, array) for name, array in arrays.items()], metadata)


def read_array(file: Any, size: int, where: str) -> np.ndarray:
    """One array in NumPy's format, `size` bytes with its header. Nothing is allocated before sizes agree."""
    if size > LONGEST_ARRAY:
        raise ImportFailure(f"{where}: {size} bytes, more than vectors need")
    content = file.read(size)
    try:
        reader = BytesIO(content)
        version = np.lib.format.read_magic(reader)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise ValueError(f"version {version}")
        shape, _, dtype = read_header(reader)
        if dtype.hasobject:
            raise ImportFailure(f"{where}: holds Python objects, which are code and are not read")
        if math.prod(shape) * dtype.itemsize != len(content) - reader.tell():
            raise ValueError("the data are not as long as the header says")
        return np.lib.format.read_array(BytesIO(content), allow_pickle=False)
    except ValueError as error:
        raise ImportFailure(f"{where}: not a NumPy array, or damaged ({first_line(error)})") from None


def our_metadata(arrays: dict[str, np.ndarray]) -> dict[str, str]:
    """The metadata in an .npz that `musicsteer vector export` wrote, else nothing."""
    array = arrays.get("metadata")
    if array is None or array.dtype.kind != "S" or array.shape != ():
        return {}
    try:
        metadata = json.loads(array.item())
    except ValueError:
        return {}
    if not isinstance(metadata, dict) or "musicsteer" not in metadata:
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def read_safetensors(path: Path) -> ForeignFile:
    """A safetensors file; rows of its matrices are read one by one."""
    try:
        file = safe_open(path, "pt")
        metadata = file.metadata() or {}
        slices = {name: file.get_slice(name) for name in file.keys()}
        dtypes = {name: view.get_dtype() for name, view in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ImportFailure(f"{path}: a damaged safetensors file ({first_line(error)})") from None
    if "musicsteer" in metadata:
        raise ImportFailure(f"{path}: already a file of musicsteer, which needs no import")
    return ForeignFile(
        [
            ForeignTensor(
                name,
                tuple(view.get_shape()),
                dtypes[name],
                "F" in dtypes[name],
                lambda index, view=view: view[index].float().contiguous().numpy(),
            )
            for name, view in slices.items()
        ]
    )


def read_gguf(path: Path) -> ForeignFile:
    """Control vectors of llama.cpp and repeng: tensors `direction.N` are added to the output of layer N."""
    try:
        import gguf
    except ImportError:
        raise ImportFailure(
            f"{path}: GGUF files are read by the Python package gguf: pip install gguf"
        ) from None
    try:
        tensors = gguf.GGUFReader(path).tensors
    except MemoryError:
        raise
    except Exception as error:  # GGUFReader trusts the file, and fails wherever that leads
        raise ImportFailure(f"{path}: a damaged GGUF file ({first_line(error)})") from None
    directions = [tensor for tensor in tensors if tensor.name.startswith("direction.")]
    if not directions:
        raise ImportFailure(
            f"{path}: a GGUF file without control vectors, which are tensors direction.N; is it a model?"
        )
    return ForeignFile([of_array(tensor.name, tensor.data) for tensor in directions])


def read_folder(path: Path) -> ForeignFile:
    """The sparse autoencoder in a folder of SAELens or sparsify."""
    for name in SAE_FILES:
        if (path / name).is_file():
            return read(path / name)
    raise ImportFailure(f"{path}: a folder without {' or '.join(SAE_FILES)}; name a file in it")


def read_sae_config(path: Path) -> SaeConfig:
    """What the cfg.json says beside the weights of a sparse autoencoder in `path`."""
    file = path.parent / SAE_CONFIG
    if path.name not in SAE_FILES or not file.is_file() or file.stat().st_size > LONGEST_CONFIG:
        return SaeConfig()
    try:
        config = json.loads(file.read_bytes())
    except ValueError:
        return SaeConfig()
    if not isinstance(config, dict):
        return SaeConfig()
    if isinstance(config.get("metadata"), dict):  # of SAELens from version 6 on
        config = config["metadata"] | config
    width = config.get("d_in")
    hook = HOOK_NAME.fullmatch(str(config.get("hook_name") or config.get("hook_point")))
    layer = config.get("hook_layer", config.get("hook_point_layer", int(hook[1][:9]) if hook else None))
    return SaeConfig(
        width if type(width) is int else None,
        layer if type(layer) is int and layer >= 0 else None,
        hook[2] if hook else None,
    )


def source_file(path: Path) -> Path:
    """The file that is read: of a folder, the weights in it."""
    return next((path / name for name in SAE_FILES if (path / name).is_file()), path)


def read(path: Path) -> ForeignFile:
    """The tensors of a file or a sparse autoencoder's folder. What it is, its first bytes say, not its name.

    Raises:
        ImportFailure: with what it is instead, and what to do.
    """
    if path.is_dir():
        return read_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be read: {error.strerror}") from None
    if is_safetensors(start):  # first: the length of its header may begin like anything else
        return ForeignFile(read_safetensors(path).tensors, sae=read_sae_config(path))
    refuse_other(start, path)
    if start.startswith(b"PK\x03\x04"):
        return read_zip(path)
    if start.startswith(b"\x93NUMPY"):
        with path.open("rb") as file:
            return ForeignFile([of_array("", read_array(file, path.stat().st_size, str(path)))])
    if start.startswith(b"GGUF"):
        return read_gguf(path)
    raise ImportFailure(f"{path}: unknown format; {ACCEPTED}")


def is_safetensors(start: bytes) -> bool:
    """Whether a file that starts so has the length of a header and then JSON."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= LONGEST_SAFETENSORS_HEADER


def refuse_other(start: bytes, path: Path) -> None:
    """Name what people have in place of the file.

    Raises:
        ImportFailure: it is that.
    """
    if not start:
        raise ImportFailure(f"{path}: empty; {ACCEPTED}")
    if start.startswith(b"version https://git-lfs"):
        raise ImportFailure(f"{path}: a Git LFS pointer; fetch the file with git lfs pull")
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        raise ImportFailure(f"{path}: a web page; download the file itself")
    if start.startswith(b"\x80"):
        raise ImportFailure(
            f"{path}: a pickle, or PyTorch's format from before 1.6; where you trust it, load it and "
            "torch.save a dict {layer: tensor}"
        )


def read_zip(path: Path) -> ForeignFile:
    """A file of torch.save or of numpy.savez."""
    entries = zip_entries(path)
    names = [entry.filename for entry in entries]
    if any(name.endswith("/data.pkl") for name in names):
        return read_torch(path, entries)
    if names and all(name.endswith(".npy") for name in names):
        return read_arrays(path, entries)
    raise ImportFailure(f"{path}: a zip archive of neither torch.save nor numpy.savez; unpack it")
