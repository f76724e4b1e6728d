"""scripts/listen.py: the page, excerpts and picture that can be had before installing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "report")]

import listen  # noqa: E402
from example_sweeps import grid, steering, write_audio, write_sweep  # noqa: E402


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(listen, "ROOT", tmp_path)
    monkeypatch.setattr(listen, "LISTEN", tmp_path / "docs" / "listen")
    monkeypatch.setattr(listen, "PICTURE", tmp_path / "docs" / "images" / "page.png")
    bright = {key: value for key, value in steering(0.0, "brightness").items() if key != "alpha"}
    records = {entry["id"]: entry for entry in [*grid(), *grid(alphas=(-1.0, 1.0), variants=[bright])]}
    write_audio(write_sweep(tmp_path / "sweep", records.values()), records.values())
    return tmp_path / "sweep"


def test_page_and_excerpts_are_made_and_made_again(sweep, monkeypatch, capsys):
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", ["listen.py", str(sweep), "--no-picture"])
        assert listen.main() == 0
    page = listen.LISTEN / "index.html"
    assert page.stat().st_size <= 3_000_000 and "docs/listen/index.html: " in capsys.readouterr().out
    for concept in ("tempo", "brightness"):
        info = soundfile.info(listen.LISTEN / f"{concept}.mp3")
        assert info.format == "MP3" and info.duration == pytest.approx(3 * 2.0 + 2 * 0.5, abs=0.1)
    assert not listen.PICTURE.exists()


def test_the_picture_is_the_page_at_the_highest_strength(sweep, monkeypatch):
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("no Chromium with chromedriver here")
    monkeypatch.setattr(sys, "argv", ["listen.py", str(sweep)])
    assert listen.main() == 0
    head = listen.PICTURE.read_bytes()[:24]
    size = (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
    scaled = [(round(listen.WIDTH * scale), round(listen.HEIGHT * scale)) for scale in listen.SCALES]
    assert head.startswith(b"\x89PNG") and size in scaled
    assert listen.PICTURE.stat().st_size < listen.PICTURE_BYTES


def test_what_is_no_sweep_is_one_sentence(sweep, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["listen.py", str(sweep.parent / "none"), "--no-picture"])
    assert listen.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
