"""IDs and records of a grid with every kind of steering are what they were: IDs are to stay for good.

golden_ids.jsonl holds them, a record a line, but for what follows the processor (hashes of audio, measures,
KL). Where the grid of steering_grid.py grows, the test prints the lines to add; those that are there never
change.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from program import ROOT, Runner

sys.path.insert(0, str(ROOT / "scripts" / "bench"))

from steering_grid import commands, sweep_plans, write_inputs

GOLDEN = Path(__file__).with_name("golden_ids.jsonl")
BY_PROCESSOR = {"audio_sha256", "clipped_samples", "kl_nats", "measures", "unsteered_nll_nats"}
# Names and places, which change no byte of a clip.
NOT_IN_ID = {"id", "file", "duration_s", "model", "steering"}
NOT_IN_STEERING = {"file", "gate_file", "concept", "labels"}


def documented_id(record: dict[str, Any]) -> str:
    """A sweep record's ID, as docs/formats.md defines it."""
    identity = {key: value for key, value in record.items() if key not in NOT_IN_ID | BY_PROCESSOR}
    identity["model"] = record["model"]["weights_sha256"]
    identity["steering"] = [
        {key: value for key, value in entry.items() if key not in NOT_IN_STEERING}
        for entry in record["steering"]
    ]
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def golden_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small bundle under a name and a hash of its own: random weights may follow the processor too."""
    folder = tmp_path_factory.mktemp("golden")
    for path in bundle.iterdir():
        (folder / path.name).symlink_to(path)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    manifest["model"] |= {"name": "golden", "weights_sha256": "5" * 64}
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_ids_and_records_are_what_they_were(musicsteer: Runner, golden_bundle: Path, tmp_path: Path) -> None:
    model = write_inputs(tmp_path, golden_bundle)
    made: list[dict[str, Any]] = []
    for arguments in commands(model):
        done = musicsteer(*arguments)
        assert (done.code, done.errors) == (0, []), (arguments, done.err)
        out = tmp_path / arguments[arguments.index("--out") + 1]
        if arguments[0] == "sweep":
            files = [out / "runs.jsonl"]
        else:
            files = [out / "clips.jsonl"] if out.is_dir() else [out.with_suffix(".json")]
        for path in files:
            for record in read_lines(path):
                stable = {key: value for key, value in record.items() if key not in BY_PROCESSOR}
                made.append({"run": out.name, **stable})

    golden = read_lines(GOLDEN)
    version = golden[0]["musicsteer"]
    for record in made:
        if "id" in record:  # of a sweep; a release changes the version, and by it the ID, but nothing else
            record_only = {key: value for key, value in record.items() if key != "run"}
            assert record["id"] == documented_id(record_only)
            record["id"] = documented_id(record_only | {"musicsteer": version})
            if record["file"]:
                record["file"] = f"clips/{record['id']}.wav"
        record["musicsteer"] = version
    lost = [line for line in golden if line not in made]
    new = [json.dumps(line, sort_keys=True, ensure_ascii=False) for line in made if line not in golden]
    assert not lost, f"no longer made: {lost[:3]}; made instead: {new[:3]}"
    assert not new, "not in golden_ids.jsonl:\n" + "\n".join(new)
    assert made == golden, "the same records in another order"
    assert {line["run"] for line in golden} >= sweep_plans(model).keys()
