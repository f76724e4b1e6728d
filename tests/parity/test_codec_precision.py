"""A bfloat16 codec on a processor without bfloat16 instructions: the program computes in float32."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from checkpoints import SHAPES, save
from job import Engine
from torch import Tensor

from musicsteer import export_model
from musicsteer.torchscript.layer_loop import Modules
from musicsteer.torchscript.parity import BOUND, difference

# Wide enough for a transposed convolution that is a matrix product, as in published codecs.
WIDE = dataclasses.replace(
    SHAPES[0],
    name="wide-codec",
    codec=dict(upsampling_ratios=[8, 4], num_filters=96, hidden_size=24, num_lstm_layers=1),
)


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide")
    out = folder / "bundle"
    assert export_model.main([str(save(WIDE, folder)), str(out), "--codec-precision", "bf16"]) == 0
    return out


def decoded(modules: Modules, codes: Tensor) -> Tensor:
    codec = modules.codec
    latent, _ = codec.run_lstm(codec.lstm_input(codes), codec.initial_state(codes.size(0)))
    return codec.decode_wave(latent)


@torch.inference_mode()
def test_weights_are_widened_without_bfloat16_instructions(
    rounded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = torch.randint(64, [2, 4, 30], generator=torch.Generator().manual_seed(1))
    engine = Engine(rounded, tmp_path)
    as_it_is = engine(decode={"x": codes}).tensors["x"]
    monkeypatch.setenv("MUSICSTEER_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")  # now oneDNN has no product in bfloat16
    widened = engine(decode={"x": codes}).tensors["x"]

    modules = Modules.load(rounded)
    in_bfloat16 = decoded(modules, codes)
    modules.codec.float()
    found = difference("samples", decoded(modules, codes), widened, BOUND)
    assert found.ok, str(found)
    assert (as_it_is - widened).norm() / widened.norm() < 0.05
    assert 0 < (in_bfloat16 - widened).norm() / widened.norm() < 0.05
