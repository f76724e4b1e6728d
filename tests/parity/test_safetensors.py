"""Our safetensors reader and writer against the `safetensors` package."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

REPO = Path(__file__).resolve().parents[2]
METADATA = {"concept": "tempo", "größe": 'a "quoted"\nline', "emoji": "🎵", "empty": ""}


@pytest.fixture(scope="module")
def probe() -> Path:
    build = Path(os.environ.get("MUSICSTEER_BUILD_DIR", REPO / "build"))
    path = build / "tests" / "safetensors_probe"
    if not path.exists():
        pytest.fail(
            f"{path} is not built; build the project (target safetensors_probe), or set MUSICSTEER_BUILD_DIR"
        )
    return path


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    integers = torch.randint(-1000, 1000, (3, 5), generator=generator)
    floats = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    return {
        "decoder.0.resid_post": floats.to(torch.float32),
        "f64": floats,
        "f16": floats.to(torch.float16),
        "bf16": floats.to(torch.bfloat16),
        "i64": integers * 10**15,
        "i32": integers.to(torch.int32),
        "u8": torch.arange(255, dtype=torch.uint8),
        "bool": integers > 0,
        "scalar": torch.tensor(2.5),
        "none": torch.empty(0, 4),
        "名": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
    }


def copy(probe: Path, source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([probe, source, target], capture_output=True, text=True)


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert torch.equal(bits_of(found[name]), bits_of(tensor)), name


def bits_of(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def test_reads_what_the_package_writes_and_the_other_way_round(probe: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs.safetensors", tmp_path / "ours.safetensors"
    save_file(tensors(), theirs, METADATA)
    done = copy(probe, theirs, ours)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same(load_file(ours), tensors())
    with safe_open(ours, framework="pt") as file:
        assert file.metadata() == METADATA


def test_an_empty_file_and_one_without_metadata(probe: Path, tmp_path: Path) -> None:
    for name, content in {"empty": {}, "one": {"a": torch.ones(2)}}.items():
        save_file(content, tmp_path / name)
        assert copy(probe, tmp_path / name, tmp_path / f"{name}-copy").returncode == 0
        assert_same(load_file(tmp_path / f"{name}-copy"), content)
        with safe_open(tmp_path / f"{name}-copy", framework="pt") as file:
            assert not file.metadata()


def test_the_package_accepts_our_layout_of_mixed_types(probe: Path, tmp_path: Path) -> None:
    """Three bytes before a wider type: the data of each starts at a multiple of its element size."""
    source, target = tmp_path / "a", tmp_path / "b"
    save_file({"a": torch.ones(3, dtype=torch.uint8), "b": torch.ones(1, dtype=torch.float64)}, source)
    assert copy(probe, source, target).returncode == 0
    raw = target.read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    assert length % 8 == 0
    for entry in json.loads(raw[8 : 8 + length]).values():
        size = {"U8": 1, "F64": 8}[entry["dtype"]]
        assert entry["data_offsets"][0] % size == 0


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}},
        {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 8]}},
        {"a": {"shape": [2], "data_offsets": [0, 8]}},
        {"__metadata__": {"k": 1}, "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
    ],
)
def test_both_refuse(probe: Path, tmp_path: Path, header: dict[str, object]) -> None:
    text = json.dumps(header).encode()
    source = tmp_path / "bad"
    source.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(Exception, match=r"(?i)safetensor|header|metadata|invalid|shape|offset"):
        load_file(source)
    done = copy(probe, source, tmp_path / "copy")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {source}: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "copy").exists()
