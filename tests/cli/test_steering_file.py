"""`generate --steer FILE.json`, what generate writes beside its clips; heads, weights, gates, orthogonalized
vectors, end to end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from program import ROOT, Runner
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

SHORT = ["--duration", "0.1", "--threads", "1"]
SCHEMA = json.loads((ROOT / "docs" / "steering.schema.json").read_text())
GATE = "v/other.safetensors@decoder.0.resid_post<0.9"


@pytest.fixture
def files(vectors: Path, tmp_path: Path) -> Path:
    """v/tempo.safetensors, v/other.safetensors (random vectors) and v/heads.safetensors (at the heads)."""
    folder = tmp_path / "v"
    folder.mkdir()
    shutil.copy(vectors, folder / "tempo.safetensors")
    with safe_open(vectors, "np") as opened:
        metadata = opened.metadata()
    draw = np.random.default_rng(5)
    tensors = {name: draw.normal(size=v.shape).astype(np.float32) for name, v in load_file(vectors).items()}
    save_file(tensors, folder / "other.safetensors", metadata | {"concept": "other"})
    heads = {name.replace("resid_post", "self_attn_heads"): v for name, v in tensors.items()}
    layers = metadata["layers"].replace("resid_post", "self_attn_heads")
    save_file(heads, folder / "heads.safetensors", metadata | {"layers": layers})
    return folder


def generate(bundle: Path, *arguments: str) -> list[str | Path]:
    return ["generate", "--model", bundle, "--prompt", "piano", *SHORT, *arguments]


EVERYTHING = [
    "--steer", f"v/tempo.safetensors:alpha=2:weights=exponential,0.5:rows=conditional:gate={GATE}",
    "--steer", "v/other.safetensors:alpha=-0.7:source-layer=1:unit=residual:mode=add-renorm"
    ":schedule=linear,0,1",
    "--steer", "v/heads.safetensors:heads=0,2-3:weights=top-2:mode=clamp:value=1.5:probability=0.5"
    ":frame-seed=9",
    "--orthogonalize",
]  # fmt: skip


def test_what_lies_beside_a_clip_makes_it_again(
    musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    done = musicsteer(*generate(bundle, *EVERYTHING, "--out", "sub/a.wav"))
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "sub" / "a.steering.json").read_text())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(written, SCHEMA)
    assert [entry["file"] for entry in written["steering"]] == [
        "../v/tempo.safetensors",
        "../v/other.safetensors",
        "../v/heads.safetensors",
    ]
    again = musicsteer(*generate(bundle, "--steer", "sub/a.steering.json", "--out", "b.wav"))
    assert again.code == 0, again.err
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "sub" / "a.wav").read_bytes()
    record, of_again = (json.loads((tmp_path / name).read_text()) for name in ("sub/a.json", "b.json"))
    assert of_again == {**record, "file": "b.wav"}
    steering = record["steering"]
    assert steering[0]["weights"] == "exponential,0.5" and steering[0]["layers"] == [0, 1, 2]
    assert steering[0]["gate"] == "decoder.0.resid_post<0.9"
    assert steering[2]["heads"] == [0, 2, 3] and len(steering[2]["layers"]) == 2
    assert [entry.get("orthogonalize", False) for entry in steering] == [False, True, True]
    shown = musicsteer("inspect", "sub/a.steering.json")
    assert shown.code == 0 and re.search(r"^gate +\S+@decoder\.0\.resid_post<0\.9$", shown.out, re.MULTILINE)
    as_json = json.loads(musicsteer("inspect", "sub/a.steering.json", "--json").out)
    assert as_json["kind"] == "steering" and as_json["steering"] == written["steering"]
    confused = musicsteer(*generate(bundle, "--steer", "sub/a.json", "--out", "c.wav"))
    assert confused.code == 1 and "sub/a.json: this is a clip's record" in confused.errors[0]
    # The third time round it is the same file.
    third = json.loads((tmp_path / "b.steering.json").read_text())
    assert [entry["sha256"] for entry in third["steering"]] == [e["sha256"] for e in written["steering"]]
    assert third["steering"][0]["gate_file"] == "v/other.safetensors"


def test_a_folder_has_one_and_unsteered_clips_none(
    musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path
) -> None:
    steered = musicsteer(*generate(bundle, "--seeds", "0:2", "--steer", "v/tempo.safetensors", "--out", "c"))
    assert steered.code == 0, steered.err
    assert sorted(p.suffix for p in (tmp_path / "c").iterdir()) == [".json", ".jsonl", ".wav", ".wav"]
    jsonschema.validate(json.loads((tmp_path / "c" / "steering.json").read_text()), SCHEMA)
    kept = musicsteer(*generate(bundle, "--seeds", "0:2", "--out", "c"))
    assert kept.code == 1 and "exists" in kept.errors[0]
    plain = musicsteer(*generate(bundle, "--seeds", "0:2", "--out", "c", "--force"))
    assert plain.code == 0, plain.err
    assert not (tmp_path / "c" / "steering.json").exists()


def test_each_setting_does_something_and_says_so(
    musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path
) -> None:
    ways = [
        ["--steer", "v/tempo.safetensors:alpha=3"],
        ["--steer", "v/tempo.safetensors:alpha=3", "--weights", "top-1"],
        ["--steer", "v/tempo.safetensors:alpha=3", "--gate", "v/other.safetensors@decoder.1.resid_post>0"],
        ["--steer", "v/heads.safetensors:alpha=3"],
        ["--steer", "v/heads.safetensors:alpha=3", "--heads", "1"],
    ]
    clips = set()
    for i, way in enumerate(ways):
        done = musicsteer(*generate(bundle, *way, "--out", f"{i}.wav"))
        assert done.code == 0, done.err
        clips.add((tmp_path / f"{i}.wav").read_bytes())
    assert len(clips) == len(ways)
    plain = musicsteer(*generate(bundle, "--out", "plain.wav"))
    never = ["--steer", "v/tempo.safetensors:alpha=3:gate=v/other.safetensors@decoder.1.resid_post<-1"]
    shut = musicsteer(*generate(bundle, *never, "--out", "shut.wav"))
    assert plain.code == shut.code == 0
    assert (tmp_path / "plain.wav").read_bytes() == (tmp_path / "shut.wav").read_bytes()


def test_vectors_that_nearly_coincide(musicsteer: Runner, bundle: Path, files: Path) -> None:
    twice = ["--steer", "v/tempo.safetensors:alpha=1", "--steer", "v/tempo.safetensors:alpha=-1:layers=0-1"]
    warned = musicsteer(*generate(bundle, *twice, "--out", "a.wav"))
    assert warned.code == 0
    assert re.search(
        r"nearly coincide at 2 hook points, such as decoder\.[01]\.resid_post \(cosine 1\)",
        warned.err,
    )
    refused = musicsteer(*generate(bundle, *twice, "--orthogonalize", "--out", "b.wav"))
    assert refused.code == 2 and len(refused.err.splitlines()) == 1
    assert "hardly anything is left of it at decoder.0.resid_post" in refused.errors[0]
    apart = ["--steer", "v/tempo.safetensors:layers=0", "--steer", "v/tempo.safetensors:layers=1"]
    done = musicsteer(*generate(bundle, *apart, "--orthogonalize", "--out", "c.wav"))
    assert done.code == 0 and "nearly" not in done.err


BAD_FLAGS = {
    "--steer v/tempo.safetensors --orthogonalize": "--orthogonalize needs two vectors",
    "--steer v/tempo.safetensors --heads 0": "heads are chosen at site self_attn_heads",
    "--steer v/heads.safetensors:heads=9": "heads '9': the model has heads 0 to",
    "--steer v/heads.safetensors:heads=x": "heads 'x': expected numbers and ranges",
    "--steer v/tempo.safetensors --weights top-9": "weights top-9: K is larger than the number",
    "--steer v/tempo.safetensors:weights=best": "weights 'best': expected uniform, top-K",
    "--steer v/tempo.safetensors:strategy=single:weights=top-1": "no meaning with strategy single",
    "--steer v/tempo.safetensors:gate=v/other.safetensors": "gate 'v/other.safetensors': expected FILE@HOOK",
    "--steer v/tempo.safetensors --gate v/other.safetensors@decoder.1.mlp_out<0": "has no direction there",
    "--steer v/tempo.safetensors --gate v/other.safetensors@decoder.1.resid_pots<0": "did you mean",
    "--steer v/tempo.safetensors --gate v/other.safetensors@decoder.7.resid_post<0": "layers 0 to 2",
    "--steer v/tempo.safetensors:gatt=x": "unknown key 'gatt', did you mean 'gate'?",
    "--steer v/tempo.safetensors:gate=x@decoder.0.resid_post<0 --gate y@decoder.embed<0": "given twice",
    "--heads 1": "need a --steer FILE",
}


def test_bad_flags(musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path) -> None:
    for flags, message in BAD_FLAGS.items():
        done = musicsteer(*generate(bundle, *flags.split(), "--out", "a.wav"))
        assert done.code == 2 and len(done.err.splitlines()) == 1 and done.out == "", (flags, done.err)
        assert message in done.errors[0], (flags, done.err)
    missing = musicsteer(
        *generate(
            bundle,
            "--steer",
            "v/tempo.safetensors:gate=no.safetensors@decoder.0.resid_post<0",
            "--out",
            "a.wav",
        )
    )
    assert missing.code == 1 and "no.safetensors" in missing.errors[0]
    assert not (tmp_path / "a.wav").exists()


TEMPO = {"file": "v/tempo.safetensors"}
BAD_FILES = [
    (
        {"steering": [TEMPO | {"apha": 1}]},
        r"s\.json: steering\[0\]: unknown key 'apha', did you mean 'alpha'\?",
    ),
    ({"steering": [TEMPO], "seed": 1}, r"s\.json: unknown key 'seed'"),
    ({"steering": []}, r"s\.json: steering: expected at least one vector"),
    ({"steering": [TEMPO | {"rows": "all"}]}, r"s\.json: steering\[0\]\.rows: unknown rows 'all'"),
    ({"steering": [TEMPO | {"gate": "decoder.0.resid_post<0"}]}, r"steering\[0\]\.gate_file: missing"),
    ({"steering": [TEMPO | {"orthogonalize": 1}]}, r"orthogonalize: expected true or false"),
    ({"steering": [TEMPO | {"sha256": "abc"}]}, r"sha256: expected a SHA-256"),
]
UNFIT_FILES = [
    ({"steering": [TEMPO | {"sha256": "0" * 64}]}, r"s\.json: v/tempo\.safetensors is not the vector file"),
    ({"steering": [TEMPO | {"layers": [1, 9]}]}, r"s\.json: layers '1,9': the model has layers 0 to 2"),
    ({"steering": [{"file": "no.safetensors"}]}, r"s\.json: no\.safetensors"),
    (
        {"steering": [TEMPO | {"gate": "decoder.1.mlp_out<0", "gate_file": "v/other.safetensors"}]},
        r"s\.json: gate decoder\.1\.mlp_out<0: v/other\.safetensors has no direction there",
    ),
]  # fmt: skip


def test_bad_steering_files(musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path) -> None:
    for content, pattern in BAD_FILES + UNFIT_FILES:
        (tmp_path / "s.json").write_text(json.dumps(content))
        done = musicsteer(*generate(bundle, "--steer", "s.json", "--out", "a.wav"))
        assert done.code == 1 and len(done.err.splitlines()) == 1 and done.out == "", (content, done.err)
        assert re.search(pattern, done.errors[0]), (content, done.err)
        assert not (tmp_path / "a.wav").exists()
    for content, _ in BAD_FILES:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(content, SCHEMA)
    for content, _ in UNFIT_FILES:
        jsonschema.validate(content, SCHEMA)


def test_a_file_beside_flags(musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path) -> None:
    by_hand = {"$schema": "x", "steering": [TEMPO | {"alpha": 1.5, "layers": "0-1"}]}
    jsonschema.validate(by_hand, SCHEMA)
    (tmp_path / "s.json").write_text(json.dumps(by_hand))
    other = ["--steer", "v/other.safetensors:alpha=0.4"]
    both = musicsteer(*generate(bundle, "--steer", "s.json", *other, "--out", "a.wav"))
    assert both.code == 0, both.err
    typed = ["--steer", "v/tempo.safetensors:alpha=1.5:layers=0-1"]
    assert musicsteer(*generate(bundle, *typed, *other, "--out", "b.wav")).code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    stronger = musicsteer(*generate(bundle, "--steer", "s.json", "--alpha", "2", "--out", "c.wav"))
    assert stronger.code == 0, stronger.err
    assert json.loads((tmp_path / "c.json").read_text())["steering"][0]["alpha"] == 2.0
    weights = {"name": "somebody's", "weights_sha256": "0" * 64}
    (tmp_path / "s.json").write_text(json.dumps(by_hand | {"model": weights}))
    warned = musicsteer(*generate(bundle, "--steer", "s.json", "--out", "d.wav"))
    assert warned.code == 0 and "s.json was found on other weights (somebody's)" in warned.err


def test_a_sweep_keeps_them_apart_by_id(
    musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path
) -> None:
    gate = f"v/tempo.safetensors:gate={GATE}"
    steers = ["v/tempo.safetensors", "v/tempo.safetensors:weights=top-1", gate, "v/heads.safetensors:heads=1"]
    arguments = [word for steer in steers for word in ("--steer", steer)]
    sweep = ["sweep", "--model", bundle, "--prompt", "piano", *SHORT, "--alphas", "0,2", "--batch-size", "2"]
    done = musicsteer(*sweep, *arguments, "--kl", "--out", "s")
    assert done.code == 0, done.err
    lines = (tmp_path / "s" / "runs.jsonl").read_text().splitlines()
    records = {line["id"]: line for line in map(json.loads, lines)}
    assert len(records) == 5 and all("kl_nats" in record for record in records.values())
    said = [set(e) & {"weights", "heads", "gate"} for r in records.values() for e in r["steering"]]
    assert sorted(map(sorted, said)) == [[], ["gate"], ["heads"], ["weights"]]
    again = musicsteer("sweep", "--out", "s")
    assert again.code == 0, again.err
    # A gate's file may lie elsewhere, what is in it counts.
    plan = json.loads((tmp_path / "s" / "plan.json").read_text())
    assert any(entry.get("gate_file") == "v/other.safetensors" for entry in plan["steering"])
    # The clip that generate makes with the same settings is the same.
    of_gate = next(r for r in records.values() if r["steering"] and "gate" in r["steering"][0])
    alone = ["--steer", f"{gate}:alpha=2", "--batch-size", "2"]
    assert musicsteer(*generate(bundle, *alone, "--out", "a.wav")).code == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "s" / of_gate["file"]).read_bytes()


def test_a_plan_file_says_them_too(musicsteer: Runner, bundle: Path, files: Path, tmp_path: Path) -> None:
    gate = {"gate": "decoder.0.resid_post<0.9", "gate_file": "v/other.safetensors"}
    plan = {
        "model": str(bundle),
        "prompts": ["piano"],
        "vectors": [TEMPO | {"weights": "top-1"} | gate, {"file": "v/heads.safetensors", "heads": [1]}],
        "alphas": [2],
        "duration_s": 0.1,
        "threads": 1,
    }
    jsonschema.validate(plan, json.loads((ROOT / "docs" / "sweep-plan.schema.json").read_text()))
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = musicsteer("sweep", "--plan", "plan.json", "--out", "s")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in (tmp_path / "s" / "runs.jsonl").read_text().splitlines()]
    assert [r["steering"][0].get("heads") for r in records] == [None, [1]]
    assert records[0]["steering"][0]["layers"] and len(records[0]["steering"][0]["layers"]) == 1
