"""`musicsteer sweep` end to end: the grid, going on, growing, shards."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import jsonschema
import pytest
from program import PROGRAM, ROOT, Runner, environment
from sweeps import SHORT, check_folder, contents, grid, records, rows


def test_a_grid_of_every_axis(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    arguments = grid(bundle, vectors, layers="all,1", strategies="per-layer,one-to-all", batch_size="16")
    done = musicsteer(*arguments, "--source-layers", "2", "--out", "runs")
    assert (done.code, done.errors) == (0, []), done.err
    check_folder(tmp_path / "runs", 2 * 2 * (1 + 2 * 4))
    assert "36 clips, 36 made" in done.out
    found = records(tmp_path / "runs")
    unsteered = [record for record in found if record["steering"] == []]
    assert [(record["prompt"], record["seed"]) for record in unsteered] == [
        ("piano", 0),
        ("piano", 1),
        ("organ", 0),
        ("organ", 1),
    ]
    conditions = {
        (s["alpha"], s["strategy"], tuple(s["layers"]), s.get("source_layer"))
        for record in found
        for s in record["steering"]
    }
    assert conditions == {
        (alpha, strategy, layers, source)
        for alpha in (-2.0, 2.0)
        for layers in ((0, 1, 2), (1,))
        for strategy, source in (("per-layer", None), ("one-to-all", 2))
    }
    steering = found[1]["steering"][0]
    assert steering["labels"] == {"positive": "fast", "negative": "slow"}
    assert steering["file"] == str(vectors) and steering["concept"] == "tempo"
    assert found[0]["execution"]["batch_size"] == 16 and found[0]["execution"]["text_length"] == 32
    assert len({record["audio_sha256"] for record in found}) == 36
    table = rows(tmp_path / "runs")
    assert [row["alpha"] for row in table[:3]] == ["0.0", "-2.0", "2.0"]
    assert table[1]["layers"] == "0 1 2" and table[1]["strategy"] == "per-layer"


def test_single_takes_layers_one_by_one(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    arguments = grid(bundle, vectors, seeds="3", layers="all,0+2", strategies="single", alphas="1")
    assert musicsteer(*arguments, "--out", "runs").code == 0
    assert [record["steering"][0]["layers"] for record in records(tmp_path / "runs")] == [[0], [1], [2]] * 2


def test_a_clip_is_what_generate_makes(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors, strategies="one-to-all"), "--kl", "--out", "runs").code == 0
    for record in records(tmp_path / "runs"):
        if record["seed"] == 1 and record["prompt"] == "organ":
            steering = [] if not record["steering"] else ["--steer", vectors, "--strategy", "one-to-all"]
            if steering:
                steering += ["--alpha", record["steering"][0]["alpha"], "--score"]
            out = f"{record['id']}.wav"
            done = musicsteer(
                "generate", "--model", bundle, "--prompt", "organ", "--seeds", "1", "--batch-size", "4",
                *steering, *SHORT, "--out", out,
            )  # fmt: skip
            assert done.code == 0, done.err
            assert (tmp_path / out).read_bytes() == (tmp_path / "runs" / record["file"]).read_bytes()
            single = json.loads((tmp_path / f"{record['id']}.json").read_text())
            own = {"file", "id", "audio_sha256", "measures", "unsteered_nll_nats"}
            if not steering:
                own.add("kl_nats")  # without steering, nothing is scored
            assert {k: v for k, v in single.items() if k not in own} == {
                k: v for k, v in record.items() if k not in own
            }


def test_going_on_repeats_nothing(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "runs").code == 0
    before = contents(tmp_path / "runs")
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "clips").iterdir()}
    for arguments in (
        [*grid(bundle, vectors), "--out", "runs"],
        ["sweep", "--out", "runs"],
        ["sweep", "--plan", "runs/plan.json", "--model", bundle, "--out", "runs"],
    ):
        done = musicsteer(*arguments)
        assert done.code == 0 and "0 made, 12 existed" in done.out, done.err
    assert contents(tmp_path / "runs") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "clips").iterdir()} == stamps


def test_a_plan_may_grow(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    """Seeds, alphas and a prompt so long that it is padded to another length."""
    assert musicsteer(*grid(bundle, vectors), "--out", "runs").code == 0
    before = (tmp_path / "runs" / "runs.jsonl").read_bytes()
    wavs = {path.name: path.read_bytes() for path in (tmp_path / "runs" / "clips").iterdir()}
    more = [*grid(bundle, vectors, seeds="0:3", alphas="-2:2:1"), "--prompt", "slow calm piano music " * 12]
    done = musicsteer(*more, "--out", "runs")
    assert done.code == 0, done.err
    check_folder(tmp_path / "runs", 3 * 3 * 5)
    assert (tmp_path / "runs" / "runs.jsonl").read_bytes().startswith(before)
    assert wavs.items() <= {p.name: p.read_bytes() for p in (tmp_path / "runs" / "clips").iterdir()}.items()
    lengths = {record["prompt"]: record["execution"]["text_length"] for record in records(tmp_path / "runs")}
    assert lengths["piano"] == lengths["organ"] == 32 and max(lengths.values()) > 32

    assert musicsteer(*more, "--out", "at-once").code == 0
    at_once = contents(tmp_path / "at-once")
    assert at_once.pop("runs.jsonl") != before
    grown = contents(tmp_path / "runs")
    assert sorted(grown.pop("runs.jsonl").splitlines()) == sorted(
        (tmp_path / "at-once" / "runs.jsonl").read_bytes().splitlines()
    )
    assert grown == at_once


def test_a_changed_plan_is_refused(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "runs").code == 0
    before = contents(tmp_path / "runs")
    for changes, message in (
        ({"top_k": "9"}, "top_k was 250 and is 9"),
        ({"seeds": "1:3"}, "6 of the folder's planned clips are no longer in the plan"),
        ({"alphas": "0,2"}, "tempo at alpha -2"),
        ({"batch_size": "8"}, "execution.batch_size was 4 and is 8"),
        ({"format": "float"}, "sample_format"),
        ({"shard": "1/2"}, "shard was 1/1 and is 1/2"),
    ):
        for mode in ([], ["--dry-run"]):
            done = musicsteer(*grid(bundle, vectors, **changes), *mode, "--out", "runs")
            assert done.code == 1 and len(done.errors) == 1 and message in done.err, done.err
            assert "another plan" in done.err
    done = musicsteer(*grid(bundle, vectors), "--no-audio", "--out", "runs")
    assert done.code == 1 and "audio was true and is false" in done.err
    assert contents(tmp_path / "runs") == before


def test_a_folder_of_another_model_is_refused(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "runs").code == 0
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["model"]["weights_sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    done = musicsteer(*grid(other, vectors), "--out", "runs")
    assert done.code == 1 and "model.weights_sha256 was" in done.err
    done = musicsteer("sweep", "--model", other, "--out", "runs")
    assert done.code == 1 and "was made for the model" in done.err


def test_shards_merge_to_a_single_run(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    # A text that is padded to another length, and so is made last, stands before one that is not.
    arguments = [*grid(bundle, vectors), "--prompt", "slow calm piano music " * 12, "--prompt", "drums"]
    assert musicsteer(*arguments, "--out", "single").code == 0
    for shard in ("1", "2", "3"):
        done = musicsteer(*arguments, "--shard", f"{shard}/3", "--out", f"part{shard}")
        assert done.code == 0, done.err
    done = musicsteer("sweep", "--merge", "part1", "part2", "--out", "merged")
    assert done.code == 1 and "missing, the first is" in done.err and "in none of the folders" in done.out
    done = musicsteer("sweep", "--merge", "part1", "part2", "part3", "--out", "merged", "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["clips"] == 24 and summary["found"] + summary["made"] == 24 and summary["missing"] == []
    assert contents(tmp_path / "merged") == contents(tmp_path / "single")

    # The merged folder is a sweep's folder like any other.
    done = musicsteer(*arguments, "--out", "merged")
    assert done.code == 0 and "0 made" in done.out

    wav = next((tmp_path / "part1" / "clips").iterdir())
    record = next(line for line in records(tmp_path / "part1") if line["id"] == wav.stem)
    lines = (tmp_path / "part1" / "runs.jsonl").read_text().replace(record["audio_sha256"], "0" * 64)
    (tmp_path / "part1" / "runs.jsonl").write_text(lines)
    done = musicsteer("sweep", "--merge", "part1", "part2", "part3", "--out", "merged")
    assert done.code == 1 and wav.stem in done.err and "differs between" in done.err


def test_a_plan_file_says_the_same(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    assert musicsteer(*grid(bundle, vectors, layers="all,0-1"), "--out", "a").code == 0
    plan = {
        "$schema": "sweep-plan.schema.json",
        "model": str(bundle),
        "prompts": ["piano", "organ"],
        "seeds": [0, 1],
        "vectors": [str(vectors)],
        "alphas": [-2, 0, 2],
        "layers": ["all", [0, 1]],
        "duration_s": 0.1,
        "batch_size": 4,
        "threads": 1,
    }
    schema = json.loads((ROOT / "docs" / "sweep-plan.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(plan, schema)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = musicsteer("sweep", "--plan", "plan.json", "--out", "b")
    assert done.code == 0, done.err
    assert contents(tmp_path / "a") == contents(tmp_path / "b")

    for change in ({"alpha": 1}, {"layers": [["all"]]}, {"seeds": -1}, {"vectors": []}, {"top_k": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(plan | change, schema)
        (tmp_path / "bad.json").write_text(json.dumps(plan | change))
        done = musicsteer("sweep", "--plan", "bad.json", "--out", "c")
        assert done.code in (1, 2) and len(done.errors) == 1
        assert not (tmp_path / "c").exists()


def test_vectors_have_effects_of_their_own(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """In the records and IDs, which a second run finds again; as flags and in a plan."""
    steer = f"{vectors}:mode=add-renorm:schedule=decay,0.9:probability=0.5"
    arguments = [*grid(bundle, vectors, seeds="3", alphas="0,2"), "--steer", steer]
    assert musicsteer(*arguments, "--out", "runs").code == 0
    found = records(tmp_path / "runs")
    effects = [
        {key: entry.get(key) for key in ("mode", "schedule", "frame_seed")} for entry in found[2]["steering"]
    ]
    assert effects == [{"mode": "add-renorm", "schedule": "decay,0.9,0", "frame_seed": 0}]
    assert len({record["audio_sha256"] for record in found}) == len(found) == 6
    assert rows(tmp_path / "runs")[2]["mode"] == "add-renorm"
    again = musicsteer("sweep", "--out", "runs")
    assert again.code == 0 and "0 made" in again.out
    plan = {
        "prompts": ["piano", "organ"],
        "seeds": [3],
        "alphas": [0, 2],
        "vectors": [
            str(vectors),
            {"file": str(vectors), "mode": "add-renorm", "schedule": "decay,0.9", "probability": 0.5},
        ],
        "duration_s": 0.1,
        "batch_size": 4,
        "threads": 1,
    }
    schema = json.loads((ROOT / "docs" / "sweep-plan.schema.json").read_text())
    jsonschema.validate(plan, schema)
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = musicsteer("sweep", "--plan", "plan.json", "--model", bundle, "--out", "planned")
    assert done.code == 0, done.err
    assert contents(tmp_path / "runs") == contents(tmp_path / "planned")
    refused = musicsteer(*arguments, "--steer", f"{vectors}:mode=clamp:value=1", "--out", "clamped")
    assert refused.code == 2 and "nothing to sweep" in refused.errors[0]


def test_vectors_are_tried_one_by_one_with_axes_of_their_own(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    shutil.copy(vectors, tmp_path / "same.safetensors")
    plan = {
        "prompts": ["piano"],
        "alphas": "1:2:1",
        "vectors": [str(vectors), {"file": "same.safetensors", "layers": [1], "alphas": [0, 3]}],
        "duration_s": 0.1,
        "threads": 1,
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = musicsteer("sweep", "--plan", "plan.json", "--model", bundle, "--out", "runs")
    assert done.code == 0, done.err
    found = [
        [(entry["layers"], entry["alpha"]) for entry in record["steering"]]
        for record in records(tmp_path / "runs")
    ]
    assert found == [[], [([0, 1, 2], 1.0)], [([0, 1, 2], 2.0)], [([1], 3.0)]]


def test_measures_are_those_of_the_wav(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    arguments = grid(bundle, vectors, duration="1", seeds="0", alphas="0,4")
    assert musicsteer(*arguments, "--out", "runs").code == 0
    found = records(tmp_path / "runs")
    assert len(found) == 4
    done = musicsteer("measure", "--json", *[f"runs/{record['file']}" for record in found])
    assert done.code == 0, done.err
    measured = json.loads(done.out)
    assert [record["measures"] for record in found] == [
        {name: value for name, value in measures.items() if name != "file"} for measures in measured
    ]
    assert all(record["measures"]["spectral_centroid_hz"] > 0 for record in found)
    table = {row["id"]: row for row in rows(tmp_path / "runs")}
    for record in found:
        assert float(table[record["id"]]["rms"]) == record["measures"]["rms"]


def test_no_audio_keeps_the_records(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    assert musicsteer(*grid(bundle, vectors), "--out", "heard").code == 0
    done = musicsteer(*grid(bundle, vectors), "--no-audio", "--out", "runs")
    assert done.code == 0, done.err
    assert list((tmp_path / "runs" / "clips").iterdir()) == []
    found = records(tmp_path / "runs")
    assert len(found) == 12 and len(rows(tmp_path / "runs")) == 12
    silent = {"file": None, "audio_sha256": None}
    assert found == [record | silent for record in records(tmp_path / "heard")]
    done = musicsteer(*grid(bundle, vectors), "--no-audio", "--out", "runs")
    assert done.code == 0 and "0 made" in done.out


def test_a_dry_run_does_nothing(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    done = musicsteer(*grid(bundle, vectors, alphas="-2:2:1"), "--dry-run", "--out", "runs")
    assert done.code == 0 and "20 clips, 20 of them to make, in 5 batches of 4" in done.out
    assert "not known before the first batch" in done.out
    assert list(tmp_path.iterdir()) == []
    assert musicsteer(*grid(bundle, vectors), "--out", "runs").code == 0
    before = contents(tmp_path)
    done = musicsteer(*grid(bundle, vectors, alphas="-2:2:1"), "--dry-run", "--json", "--out", "runs")
    estimate = json.loads(done.out)
    assert (estimate["clips"], estimate["clips_left"], estimate["batches_left"]) == (20, 8, 2)
    assert estimate["seconds_left"] > 0.0
    assert 20 * 3244 < estimate["bytes"] < 20 * 8000
    assert contents(tmp_path) == before


def test_batch_size_follows_the_memory(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    arguments = grid(bundle, vectors, batch_size="", seeds="0:20")
    sizes = []
    for memory in ("1GB", "5MB", "3MB"):
        done = musicsteer(*arguments, "--memory", memory, "--dry-run", "--out", "runs")
        assert done.code == 0, done.err
        sizes.append(int(done.out.split("batches of ")[1].split(";")[0]))
    assert sizes[0] == 16 and sizes == sorted(sizes, reverse=True) and sizes[2] < 16
    done = musicsteer(*arguments, "--memory", "10KB", "--dry-run", "--out", "runs")
    assert done.code == 1 and "this batch needs about" in done.errors[0]


def start(arguments: list[str], folder: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [PROGRAM, *arguments],
        cwd=folder,
        env=environment(cache),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_two_processes_on_one_folder(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, cache: Path
) -> None:
    arguments = [*grid(bundle, vectors), "--out", "runs"]
    first = start(arguments, tmp_path, cache)
    wait_for(tmp_path / "runs" / "plan.json", first)
    first.send_signal(signal.SIGSTOP)  # it keeps the lock for as long as it takes
    second = musicsteer(*arguments)
    first.send_signal(signal.SIGCONT)
    _, err = first.communicate()
    assert first.returncode == 0, err
    assert second.code == 1 and "another process is using this folder" in second.err
    check_folder(tmp_path / "runs", 12)

    # Started together, whoever comes first does the work, and the folder is whole.
    both = [start([*grid(bundle, vectors), "--out", "race"], tmp_path, cache) for _ in range(3)]
    errors = [process.communicate()[1] for process in both]
    codes = [process.returncode for process in both]
    assert 0 in codes, errors
    for code, err in zip(codes, errors, strict=True):
        assert code == 0 or "another process is using" in err
    assert contents(tmp_path / "race") == contents(tmp_path / "runs")


def test_ctrl_c_leaves_a_folder_to_go_on_with(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, cache: Path
) -> None:
    assert musicsteer(*grid(bundle, vectors, seeds="0:8"), "--out", "whole").code == 0
    arguments = [*grid(bundle, vectors, seeds="0:8"), "--out", "runs"]
    process = start(arguments, tmp_path, cache)
    wait_for(tmp_path / "runs" / "runs.jsonl", process)
    while (tmp_path / "runs" / "runs.jsonl").stat().st_size == 0 and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "the same command resumes from" in err
    assert 0 < len(records(tmp_path / "runs")) < 48
    assert musicsteer(*arguments).code == 0
    assert contents(tmp_path / "runs") == contents(tmp_path / "whole")


def test_kl_is_a_record_more(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    """Clips and IDs are those of a sweep without; a stronger push costs more; a folder cannot switch."""
    arguments = grid(bundle, vectors, alphas="0,1,2")
    assert musicsteer(*arguments, "--out", "plain").code == 0
    done = musicsteer(*arguments, "--kl", "--out", "scored")
    assert done.code == 0, done.err
    check_folder(tmp_path / "scored", 12)
    scored, plain = records(tmp_path / "scored"), records(tmp_path / "plain")
    assert [{k: v for k, v in record.items() if k != "kl_nats"} for record in scored] == plain
    costs: dict[float, list[float]] = {0: [], 1: [], 2: []}
    for record in scored:
        costs[record["steering"][0]["alpha"] if record["steering"] else 0].append(record["kl_nats"])
    assert costs[0] == [0.0] * 4
    assert 0 < min(costs[1]) and sum(costs[1]) < sum(costs[2])
    assert [float(row["kl_nats"]) for row in rows(tmp_path / "scored")] == [r["kl_nats"] for r in scored]

    refused = musicsteer(*arguments, "--kl", "--out", "plain")
    assert refused.code == 1 and "kl was false and is true" in refused.errors[0]
    assert musicsteer("sweep", "--out", "scored").code == 0
    (tmp_path / "scored" / "runs.jsonl").write_text(
        "".join(line + "\n" for line in (tmp_path / "scored" / "runs.jsonl").read_text().splitlines()[:3])
    )
    assert musicsteer("sweep", "--out", "scored").code == 0
    assert sorted(records(tmp_path / "scored"), key=lambda r: r["id"]) == sorted(
        scored, key=lambda r: r["id"]
    )


def test_a_folder_of_another_grid_is_not_resumed(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    """The codec's pieces and the hop of onsets decide bits and measures; a version does not say them."""
    begun = [*grid(bundle, vectors), "--out", "s"]
    assert musicsteer(*begun).code == 0
    plan = tmp_path / "s" / "plan.json"
    content = json.loads(plan.read_text())
    assert content["grids"] == {"codec_frames": 50, "onset_hop": 256}
    now = "clips are now decoded in pieces of 50 frames, with onsets measured every 256 samples"
    for earlier, sentence in (
        ({"codec_frames": 50, "onset_hop": 512}, f"{now}; when it was begun, these were 50 and 512"),
        (None, f"it was begun by an earlier build; {now}"),
    ):
        content.pop("grids", None)
        plan.write_text(json.dumps(content | ({"grids": earlier} if earlier else {})))
        for command in (begun, ["sweep", "--out", "s"], [*grid(bundle, vectors, seeds="0:3"), "--out", "s"]):
            done = musicsteer(*command)
            assert done.code == 1 and sentence in done.err, done.err
