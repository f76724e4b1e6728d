"""musicsteer check: its report, its verdict, and what it does about a wrong program or bundle."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("MUSICSTEER", str(ROOT / "build" / "musicsteer"))
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import SHAPES, save  # noqa: E402
from mutations import MUTATIONS, injected  # noqa: E402

from musicsteer import check_checkpoint, export_model  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(SHAPES[0], tmp_path_factory.mktemp("checkpoints"))


def run(*arguments: str, binary: str = "nowhere") -> int:
    return check_checkpoint.main([*arguments, "--frames", "6", "--binary", binary])


def test_a_good_checkpoint(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(checkpoint)) == 0
    report = capsys.readouterr().out
    assert "Verdict: the same as transformers." in report
    assert "FAIL" not in report
    assert "Not checked: the program (nowhere is not there)." in report
    for site in ("resid_pre", "self_attn_heads", "resid_post"):
        assert f"hook point {site} " in report


def test_a_wrong_bundle(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == "gelu_by_tanh")
    with injected(mutation, {}):
        assert export_model.main([str(checkpoint), str(tmp_path / "wrong"), "--no-verify"]) == 0
    assert run(str(checkpoint), "--bundle", str(tmp_path / "wrong"), binary=PROGRAM) == 1
    report = capsys.readouterr().out
    assert "FAIL  hook point mlp_out" in report
    assert "FAIL  text.states" not in report
    assert "of the comparisons failed." in report


def test_a_bundle_of_other_weights(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = save(SHAPES[1], tmp_path)
    assert export_model.main([str(other), str(tmp_path / "bundle"), "--no-verify"]) == 0
    assert run(str(checkpoint), "--bundle", str(tmp_path / "bundle"), binary=PROGRAM) == 1
    assert "was made from other weights" in capsys.readouterr().err


def test_a_program_with_other_codes(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "program"
    program.write_text(
        f"#!{sys.executable}\n"
        "import sys, torch\n"
        "from safetensors.torch import save_file\n"
        "out = sys.argv[sys.argv.index('--save-codes') + 1]\n"
        "save_file({'codes': torch.zeros(1, 4, 6, dtype=torch.int64)}, out)\n"
    )
    program.chmod(0o755)
    assert run(str(checkpoint), binary=str(program)) == 1
    assert "greedy codes of program\n  FAIL" in capsys.readouterr().out


def test_bad_input(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path(shutil.copytree(checkpoint, tmp_path / "broken"))
    (broken / "config.json").unlink()
    for arguments in ([str(broken)], [str(checkpoint), "--bundle", str(tmp_path)]):
        assert run(*arguments) == 1
        message = capsys.readouterr().err
        assert message.startswith("error: ")
        assert message.count("\n") == 1
