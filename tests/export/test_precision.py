"""--precision: the lowered linears row by row, the bundle, and what they cost on the demo model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from musicsteer import check_precision, export_model
from musicsteer.torchscript import precision
from musicsteer.torchscript.decoder import StepLinear

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(192, 768), (45, 77), (64, 40), (1024, 256)]


def lowered(kind: str, inputs: int, outputs: int) -> tuple[nn.Module, StepLinear]:
    """A scripted linear of lowered weights, and the float32 one it stands for."""
    torch.manual_seed(0)
    linear = StepLinear(inputs, outputs)
    made = {
        "bf16": precision.Bf16Linear,
        "int8": precision.Int8Linear,
        "f32": lambda linear: linear,
    }[kind](linear)
    return torch.jit.script(made), linear


@pytest.mark.parametrize("kind", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@torch.inference_mode()
def test_rows_of_a_linear_are_independent(kind: str, sizes: tuple[int, int]) -> None:
    torch.set_num_threads(1)
    made, linear = lowered(kind, *sizes)
    bound = {"f32": 1e-5, "bf16": 0.01, "int8": 0.01}[kind]
    for count in (1, 2, 3, 5, 7, 10, 16, 33):
        x = torch.randn(count, 1, sizes[0])
        x[count // 2] *= 1000.0  # each row has a scale of its own
        y = made(x)
        exact = nn.functional.linear(x, linear.weight)
        assert ((y - exact).flatten(1).norm(dim=1) <= bound * exact.flatten(1).norm(dim=1)).all()
        order = torch.randperm(count)
        assert torch.equal(made(x[order]), y[order])
        loud = x.clone()
        loud[1:] *= 100.0
        assert torch.equal(made(loud)[0], y[0])
        loud[0] = 0.0
        assert torch.equal(made(loud)[0], torch.zeros_like(y[0]))
        loud[1:] = torch.nan
        assert torch.equal(made(loud)[0], torch.zeros_like(y[0]))
        assert made(loud)[1:].isnan().all()  # nothing hides what is not finite


@torch.inference_mode()
def test_inputs_are_nearly_exact() -> None:
    made, linear = lowered("int8", 256, 64)
    weight = precision.Int8WeightLinear(linear)
    x = torch.randn(4, 256)
    x[:, 0] = 50.0  # an outlier, which coarse steps would cost the others
    error = (made(x) - weight(x)).norm() / weight(x).norm()
    assert error < 5e-4


@torch.inference_mode()
def test_sums_are_exact() -> None:
    """Inputs and weights as large as they can be, and more of them than 32 bits hold."""
    linear = StepLinear(8192, 8)
    linear.weight.fill_(1.0)
    made = torch.jit.script(precision.Int8Linear(linear))
    assert torch.allclose(made(torch.ones(2, 8192)), torch.full([2, 8], 8192.0), rtol=1e-6)
    assert torch.allclose(made(-torch.ones(2, 8192)), torch.full([2, 8], -8192.0), rtol=1e-6)


def test_unknown_precision() -> None:
    with pytest.raises(ValueError, match="int3"):
        precision.lower(nn.Linear(1, 1), "int3")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo model in every precision."""
    folder = tmp_path_factory.mktemp("precisions")
    demo = str(ROOT / "models" / "demo")
    return {name: export_model.export(demo, folder / name, name) for name in precision.PRECISIONS}


def test_manifest_and_sizes(bundles: dict[str, Path]) -> None:
    sizes = {}
    for name, folder in bundles.items():
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        assert manifest["precision"] == {"decoder": name, "text_encoder": name, "codec": "f32"}
        sizes[name] = manifest["files"]["decoder.pt"]["bytes"]
    assert sizes["bf16"] < 0.65 * sizes["f32"]
    assert sizes["int8"] < 0.45 * sizes["f32"]


@pytest.mark.parametrize("name", ["bf16", "int8"])
def test_demo_model_keeps_its_predictions(bundles: dict[str, Path], name: str) -> None:
    modules = [check_precision.Modules.load(bundles[part]) for part in ("f32", name)]
    found, independent = check_precision.check(*modules, frames=24, clips=4)
    assert independent
    assert [str(quality) for quality in found if quality.kl > check_precision.BOUND] == []


def test_other_checkpoints_are_refused(
    bundles: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = json.loads((bundles["f32"] / "manifest.json").read_text("utf-8"))
    manifest["model"]["weights_sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    assert check_precision.main([str(bundles["f32"]), str(tmp_path)]) == 1
    assert "different checkpoints" in capsys.readouterr().err
