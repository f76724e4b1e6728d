"""`musicsteer generate` end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from program import Runner
from safetensors import safe_open
from safetensors.numpy import load_file

SHORT = ["--duration", "0.1", "--threads", "1"]  # 40 frames


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_clip_is_a_wav_with_its_record_beside_it(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    done = musicsteer("generate", "--model", bundle, "--prompt", "fast piano", "--out", "clip.wav", *SHORT)
    assert (done.code, done.errors) == (0, [])
    assert done.out.startswith("clip.wav  seed 0")
    assert files(tmp_path) == ["clip.json", "clip.wav"]
    samples, rate = soundfile.read(tmp_path / "clip.wav")
    assert rate == 16000 and samples.shape == (40 * 40,)
    assert soundfile.info(tmp_path / "clip.wav").subtype == "PCM_16"
    assert np.abs(samples).max() > 0.01
    record = json.loads((tmp_path / "clip.json").read_text())
    assert record["prompt"] == "fast piano" and record["seed"] == 0 and record["num_frames"] == 40
    assert record["steering"] == [] and record["top_k"] == 250 and record["guidance_scale"] == 3.0


@pytest.mark.parametrize(("name", "subtype"), [("pcm24", "PCM_24"), ("float", "FLOAT")])
def test_formats(musicsteer: Runner, bundle: Path, tmp_path: Path, name: str, subtype: str) -> None:
    for out in ("a.wav", "b.wav"):
        done = musicsteer(
            "generate", "--model", bundle, "--prompt", "x", "--format", name, "--out", out, *SHORT
        )
        assert done.code == 0
    assert soundfile.info(tmp_path / "a.wav").subtype == subtype
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_several_clips_are_a_folder_with_a_record_of_each(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    prompts = ["--prompt", "Fast piano!", "--prompt", ""]
    done = musicsteer("generate", "--model", bundle, *prompts, "--seeds", "1,5", "--out", "clips", *SHORT)
    assert done.code == 0
    wavs = ["0000-fast-piano-s1.wav", "0001-fast-piano-s5.wav", "0002-s1.wav", "0003-s5.wav"]
    assert files(tmp_path / "clips") == [*wavs, "clips.jsonl"]
    records = [json.loads(line) for line in (tmp_path / "clips" / "clips.jsonl").read_text().splitlines()]
    assert [record["file"] for record in records] == wavs
    assert [(record["prompt"], record["seed"]) for record in records] == [
        ("Fast piano!", 1),
        ("Fast piano!", 5),
        ("", 1),
        ("", 5),
    ]
    contents = {(tmp_path / "clips" / wav).read_bytes() for wav in wavs}
    assert len(contents) == 4


def test_prompts_file_and_seed_range(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("# two prompts\nfast piano\nslow organ\n")
    done = musicsteer(
        "generate",
        "--model",
        bundle,
        "--prompts",
        "prompts.txt",
        "--seeds",
        "3:5",
        "--out",
        "clips",
        *SHORT,
    )
    assert done.code == 0
    assert len(list((tmp_path / "clips").glob("*.wav"))) == 4


def test_a_clip_does_not_depend_on_its_companions(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    for out, seeds in (("a", "1,2,3"), ("b", "3,2,1"), ("c", "2,9")):
        done = musicsteer(
            "generate",
            "--model",
            bundle,
            "--prompt",
            "piano",
            "--seeds",
            seeds,
            "--out",
            out,
            *SHORT,
            "--batch-size",
            "3",
        )
        assert done.code == 0
    of_seed_2 = {next((tmp_path / out).glob("*-s2.wav")).read_bytes() for out in "abc"}
    assert len(of_seed_2) == 1


def test_codes_are_saved(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--seeds", "0:2", "--out", "c", "--save-codes",
        "codes.safetensors", *SHORT,
    )  # fmt: skip
    assert done.code == 0
    codes = load_file(tmp_path / "codes.safetensors")["codes"]
    assert codes.shape == (2, 4, 40) and codes.dtype == np.int64
    assert codes.min() >= 0 and codes.max() < 64
    with safe_open(tmp_path / "codes.safetensors", "np") as opened:
        assert "musicsteer-codes" in opened.metadata()["musicsteer"]


def test_a_baseline_is_the_same_clip_without_steering(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    common = ["generate", "--model", bundle, "--prompt", "x", *SHORT, "--batch-size", "2"]
    steered = musicsteer(
        *common, "--steer", vectors, "--alpha", "2", "--with-baseline", "--out", "a.wav", "--score"
    )
    assert steered.code == 0
    assert musicsteer(*common, "--out", "plain.wav").code == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {"a.wav", "a.json", "a-unsteered.wav", "a-unsteered.json", "a.steering.json"} <= written
    assert (tmp_path / "a-unsteered.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()
    assert (tmp_path / "a.wav").read_bytes() != (tmp_path / "plain.wav").read_bytes()
    plain, twin = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("plain", "a-unsteered"))
    assert twin.pop("kl_nats") == 0 and twin.pop("unsteered_nll_nats") > 0
    assert {**twin, "file": "plain.wav"} == plain


def test_baselines_of_several_clips_lie_beside_them(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--seeds", "0:2", *SHORT,
        "--steer", vectors, "--with-baseline", "--out", "clips",
    )  # fmt: skip
    assert done.code == 0
    names = ["0000-x-s0-a1.wav", "0000-x-s0-unsteered.wav", "0001-x-s1-a1.wav", "0001-x-s1-unsteered.wav"]
    lines = (tmp_path / "clips" / "clips.jsonl").read_text().splitlines()
    assert [json.loads(line)["file"] for line in lines] == names
    assert all((tmp_path / "clips" / name).is_file() for name in names)


def test_a_baseline_of_nothing_is_refused(musicsteer: Runner, bundle: Path) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--with-baseline", "--out", "a.wav", *SHORT
    )
    assert done.code == 2 and "nothing steers these clips; give --steer" in done.err


def test_greedy_ignores_the_seed(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    for seed in ("1", "2"):
        musicsteer(
            "generate",
            "--model",
            bundle,
            "--prompt",
            "x",
            "--top-k",
            "1",
            "--seeds",
            seed,
            "--out",
            seed + ".wav",
            *SHORT,
        )
    assert (tmp_path / "1.wav").read_bytes() == (tmp_path / "2.wav").read_bytes()


def test_alpha_zero_is_no_steering_and_alpha_changes_the_music(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT]
    musicsteer(*base, "--out", "plain.wav")
    for alpha in ("0", "4", "-4"):
        done = musicsteer(*base, "--steer", vectors, "--alpha", alpha, "--out", f"{alpha}.wav")
        assert done.code == 0, done.err
    plain, zero, up, down = (
        (tmp_path / name).read_bytes() for name in ("plain.wav", "0.wav", "4.wav", "-4.wav")
    )
    assert plain == zero
    assert len({plain, up, down}) == 3
    steering = json.loads((tmp_path / "4.json").read_text())["steering"]
    assert steering[0]["alpha"] == 4.0 and steering[0]["layers"] == [0, 1, 2]
    assert steering[0]["strategy"] == "per-layer" and steering[0]["concept"] == "tempo"


def test_settings_in_steer_equal_bare_flags(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT]
    bare = [
        "--alpha",
        "3",
        "--layers",
        "1-2",
        "--source-layer",
        "1",
        "--rows",
        "conditional",
        "--unit",
        "unit",
    ]
    musicsteer(*base, "--steer", vectors, *bare, "--out", "a.wav")
    inline = f"{vectors}:alpha=3:layers=1-2:source-layer=1:rows=conditional:unit=unit"
    done = musicsteer(*base, "--steer", inline, "--out", "b.wav")
    assert done.code == 0, done.err
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    record = json.loads((tmp_path / "b.json").read_text())
    assert record["steering"][0]["strategy"] == "one-to-all" and record["steering"][0]["source_layer"] == 1
    assert record == {**json.loads((tmp_path / "a.json").read_text()), "file": "b.wav"}


@pytest.mark.parametrize(
    ("flags", "recorded"),
    [
        (["--mode", "add-renorm", "--alpha", "3"], {"mode": "add-renorm"}),
        (["--mode", "ablate"], {"mode": "ablate"}),
        (["--mode", "clamp", "--value", "-2.5"], {"mode": "clamp", "value": -2.5}),
        (["--alpha", "3", "--schedule", "decay,0.9"], {"schedule": "decay,0.9,0"}),
        (["--alpha", "3", "--schedule", "window,0.02,0.06"], {"schedule": "window,0.02,0.06"}),
        (["--alpha", "3", "--probability", "0.5"], {"probability": 0.5, "frame_seed": 0}),
    ],
)
def test_effects(
    musicsteer: Runner,
    bundle: Path,
    vectors: Path,
    tmp_path: Path,
    flags: list[str],
    recorded: dict[str, object],
) -> None:
    """Each does something else than adding, as a flag and behind the file's name, and the record says it."""
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT]
    assert musicsteer(*base, "--steer", vectors, "--alpha", "3", "--out", "added.wav").code == 0
    done = musicsteer(*base, "--steer", vectors, *flags, "--out", "a.wav")
    assert done.code == 0, done.err
    inline = ":".join(f"{key[2:]}={value}" for key, value in zip(flags[::2], flags[1::2], strict=True))
    assert musicsteer(*base, "--steer", f"{vectors}:{inline}", "--out", "b.wav").code == 0
    waves = {name: (tmp_path / f"{name}.wav").read_bytes() for name in ("added", "a", "b")}
    assert waves["a"] == waves["b"] != waves["added"]
    entry = json.loads((tmp_path / "a.json").read_text())["steering"][0]
    known = ("mode", "value", "schedule", "probability", "frame_seed")
    assert {key: entry[key] for key in known if key in entry} == recorded


def test_two_vectors_compose(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    base = ["generate", "--model", bundle, "--prompt", "piano", *SHORT]
    musicsteer(*base, "--steer", f"{vectors}:alpha=3", "--out", "once.wav")
    done = musicsteer(
        *base, "--steer", f"{vectors}:alpha=3", "--steer", f"{vectors}:alpha=-3", "--out", "both.wav"
    )
    assert done.code == 0, done.err
    assert (tmp_path / "once.wav").read_bytes() != (tmp_path / "both.wav").read_bytes()
    assert len(json.loads((tmp_path / "both.json").read_text())["steering"]) == 2


def test_guidance_negative_prompt_and_unconditional(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    base = ["generate", "--model", bundle, *SHORT]
    runs = {
        "plain": ["--prompt", "piano"],
        "off": ["--prompt", "piano", "--guidance", "1"],
        "negative": ["--prompt", "piano", "--negative-prompt", "slow"],
        "null": ["--unconditional"],
    }
    for name, flags in runs.items():
        assert musicsteer(*base, *flags, "--out", f"{name}.wav").code == 0
    assert len({(tmp_path / f"{name}.wav").read_bytes() for name in runs}) == 4


def test_force_replaces_and_json_prints_the_record(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    base = ["generate", "--model", bundle, "--prompt", "x", "--out", "a.wav", "--json", *SHORT]
    first = musicsteer(*base)
    again = musicsteer(*base)
    assert again.code == 1 and "--force" in again.errors[0]
    replaced = musicsteer(*base, "--seeds", "8", "--force")
    assert replaced.code == 0
    assert json.loads(first.out)["seed"] == 0 and json.loads(replaced.out)["seed"] == 8
    assert json.loads((tmp_path / "a.json").read_text())["seed"] == 8


def test_dash_prompts_and_unicode(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    done = musicsteer("generate", "--model", bundle, "--prompt=-5 ﬁlm músic 🎹", "--out", "a.wav", *SHORT)
    assert done.code == 0, done.err
    assert json.loads((tmp_path / "a.json").read_text())["prompt"] == "-5 ﬁlm músic 🎹"


@pytest.mark.parametrize(("name", "kind"), [("a.flac", "FLAC"), ("a.ogg", "OGG"), ("a.MP3", "MP3")])
def test_the_extension_chooses_the_encoding(
    musicsteer: Runner, bundle: Path, tmp_path: Path, name: str, kind: str
) -> None:
    clip = ["generate", "--model", bundle, "--prompt", "x", *SHORT]
    assert musicsteer(*clip, "--out", "a.wav").code == 0
    done = musicsteer(*clip, "--out", name, "--force")
    assert (done.code, done.errors) == (0, [])
    assert soundfile.info(tmp_path / name).format == kind
    assert json.loads((tmp_path / "a.json").read_text())["file"] == name
    if kind == "FLAC":
        plain, packed = (soundfile.read(tmp_path / file)[0] for file in ("a.wav", name))
        assert np.array_equal(plain, packed)


def test_an_encoding_that_cannot_be_is_refused_before_the_work(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    clip = ["generate", "--model", bundle, "--prompt", "x", *SHORT]
    done = musicsteer(*clip, "--out", "a.aiff")
    assert done.code == 2 and ".wav, .flac, .ogg or .mp3" in done.err
    done = musicsteer(*clip, "--out", "a.mp3", "--format", "pcm24")
    assert done.code == 2 and "only WAV and FLAC have a --format" in done.err
    assert files(tmp_path) == []


def test_rate_fade_and_loudness_are_done_and_recorded(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    clip = ["generate", "--model", bundle, "--prompt", "x", "--duration", "1", "--threads", "1"]
    assert musicsteer(*clip, "--out", "plain.wav").code == 0
    finish = ["--rate", "48000", "--fade", "10ms", "--loudness", "-30"]
    done = musicsteer(*clip, *finish, "--out", "done.wav", "--format", "float")
    assert done.code == 0, done.err
    samples, rate = soundfile.read(tmp_path / "done.wav")
    assert rate == 48000 and len(samples) == 48000
    assert abs(samples[0]) < 1e-3 and abs(samples[-1]) < 1e-3
    record = json.loads((tmp_path / "done.json").read_text())
    assert record["finish"].pop("gain_db") != 0.0
    assert record["finish"] == {"sample_rate_hz": 48000, "fade_s": 0.01, "loudness_lufs": -30.0}
    assert "finish" not in json.loads((tmp_path / "plain.json").read_text())
    measured = musicsteer("measure", "done.wav", "--json")
    assert json.loads(measured.out)[0]["loudness_lufs"] == pytest.approx(-30.0, abs=0.1)


def test_a_gain_that_true_peak_does_not_allow_is_said(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    clip = ["generate", "--model", bundle, "--prompt", "x", "--duration", "1", "--threads", "1"]
    assert musicsteer(*clip, "--format", "float", "--out", "plain.wav").code == 0  # as it is, not clipped
    plain = json.loads(musicsteer("measure", "plain.wav", "--json").out)[0]
    louder = plain["loudness_lufs"] - 1 - plain["true_peak_dbtp"] + 2  # 2 dB more than there is room for
    if plain["true_peak_dbtp"] > -1:
        louder = plain["loudness_lufs"] + 2
    done = musicsteer(*clip, f"--loudness={louder:.2f}", "--out", "loud.wav")
    assert done.code == 0
    assert f"2.0 dB below {louder:.2f}".rstrip("0") in done.err, done.err
    assert "LUFS, because its true peak may not exceed -1 dBTP" in done.err


@pytest.mark.parametrize("fade", ["10", "ms", "tens", "-5ms"])
def test_a_fade_that_is_no_time_is_refused(musicsteer: Runner, bundle: Path, fade: str) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", f"--fade={fade}", "--out", "a.wav", *SHORT
    )
    assert done.code == 2 and "fade" in done.err
    assert len(done.err.splitlines()) == 1


def test_names_of_several_clips_carry_the_strength(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    clips = ["generate", "--model", bundle, "--prompt", "x", "--seeds", "0:2", *SHORT]
    assert musicsteer(*clips, "--steer", f"{vectors}:alpha=-0.5", "--out", "one/").code == 0
    assert files(tmp_path / "one")[:2] == ["0000-x-s0-a-0.5.wav", "0001-x-s1-a-0.5.wav"]
    two = ["--steer", f"{vectors}:alpha=0.2", "--steer", f"{vectors}:alpha=1:layers=1"]
    assert musicsteer(*clips, *two, "--out", "two/").code == 0
    assert files(tmp_path / "two")[0] == "0000-x-s0-a0.2_1.wav"
