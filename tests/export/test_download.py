"""What is said before a checkpoint is downloaded. No network: the hub's answers are made up."""

from __future__ import annotations

from types import SimpleNamespace

import huggingface_hub
import pytest

from musicsteer import download

FILES = {
    "model.safetensors": 2_364_000_000,
    "pytorch_model.bin": 2_365_000_000,
    "state_dict.bin": 840_000_000,
    "compression_state_dict.bin": 236_000_000,
    "config.json": 8_000,
    "spiece.model": 800_000,
    "README.md": 9_000,
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Answers for facebook/musicgen-small; files that are in the cache go into what is returned."""
    cached: dict[str, str] = {}

    def model_info(self: object, hub_id: str, **_: object) -> SimpleNamespace:
        if hub_id != "facebook/musicgen-small":
            raise OSError("no network")
        files = [SimpleNamespace(rfilename=name, size=size) for name, size in FILES.items()]
        return SimpleNamespace(siblings=files)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", model_info)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda _, name: cached.get(name))
    return cached


def test_what_is_read_is_counted_once() -> None:
    assert set(download.files_to_load(FILES)) == {"model.safetensors", "config.json", "spiece.model"}
    theirs = {"state_dict.bin": 3, "compression_state_dict.bin": 2, "README.md": 1}
    assert set(download.files_to_load(theirs)) == {"state_dict.bin", "compression_state_dict.bin"}
    shards = {
        "config.json": 0,
        "pytorch_model-00001-of-00002.bin": 1,
        "pytorch_model-00002-of-00002.bin": 2,
        "other.bin": 4,
    }
    assert sum(download.files_to_load(shards).values()) == 3


def test_size_and_place_are_said(hub: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    download.announce_download("facebook/musicgen-small")
    said = capsys.readouterr().err
    assert (
        said == f"downloading facebook/musicgen-small: 2.4 GB into {huggingface_hub.constants.HF_HUB_CACHE}\n"
    )
    hub["model.safetensors"] = "/cache/model.safetensors"
    download.announce_download("facebook/musicgen-small")
    assert "facebook/musicgen-small: 1 MB into" in capsys.readouterr().err


def test_nothing_is_said_of_what_is_there_or_cannot_be_asked(
    hub: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    download.announce_download("nobody/nothing")
    hub.update(dict.fromkeys(FILES, "/cache"))
    download.announce_download("facebook/musicgen-small")
    assert capsys.readouterr().err == ""
