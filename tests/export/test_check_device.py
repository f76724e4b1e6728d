"""musicsteer check-device: its page, and what it notices. The CPU stands in for a GPU here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import SHAPES, save  # noqa: E402

from musicsteer import check_device, export_model  # noqa: E402
from musicsteer.torchscript.layer_loop import Modules  # noqa: E402
from musicsteer.torchscript.parity_case import Case  # noqa: E402


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("device")
    return export_model.export(str(save(SHAPES[0], folder)), folder / "bundle", verify=False)


def run(bundle: Path, *arguments: str) -> int:
    return check_device.main([str(bundle), "--device", "cpu", "--frames", "6", "--no-timing", *arguments])


def test_one_device_is_the_same_as_itself(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(bundle) == 0
    page = capsys.readouterr().out
    assert "Verdict: the same as on the CPU." in page and "FAIL" not in page
    for line in (
        "hook point resid_post ",
        "codec.samples",
        "codes, steered at every layer",
        "sound, one clip",
    ):
        assert line in page


def test_another_computation_is_noticed(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time that the modules play, a product is as far off as TF32 makes it."""
    right, calls = check_device.replay, []

    def rough(modules: Modules, case: Case) -> dict[str, Tensor]:
        played = right(modules, case)
        calls.append(case)
        return {**played, "logits": played["logits"] * (1 + 2**-11 if len(calls) % 2 == 0 else 1)}

    monkeypatch.setattr(check_device, "replay", rough)
    assert run(bundle) == 1
    page = capsys.readouterr().out
    assert "FAIL  logits" in page and "of the comparisons failed" in page


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "tpu"])
def test_a_device_that_is_not_here(bundle: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    assert check_device.main([str(bundle), "--device", device]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: --device{':' if device == 'tpu' else ' ' + device + ':'} ")


def test_what_is_no_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_device.main([str(tmp_path)]) == 1
    assert "is not a bundle: it has no manifest.json" in capsys.readouterr().err
