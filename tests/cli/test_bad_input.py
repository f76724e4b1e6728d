"""Whatever is wrong with the input: one line, exit code 1 or 2, and no file left behind."""

from __future__ import annotations

import json
import re
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from program import ROOT, Outcome, Runner
from safetensors.numpy import load_file, save_file

TEMPO = ROOT / "prompts" / "tempo.json"
SHORT = ["--duration", "0.1", "--threads", "1"]


def expect(done: Outcome, code: int, pattern: str) -> None:
    assert done.code == code, (done.out, done.err)
    assert len(done.err.splitlines()) == 1, done.err
    assert len(done.errors) == 1
    assert re.search(pattern, done.err), done.err
    assert done.out == ""


def snapshot(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


GENERATE = ["generate", "--model", "{bundle}", "--prompt", "piano", "--out", "a.wav", "--threads", "1"]
STEER = [*GENERATE, "--duration", "0.1", "--steer", "{vectors}"]
EXTRACT = [
    "extract",
    "--model",
    "{bundle}",
    "--prompts",
    str(TEMPO),
    "--limit",
    "2",
    "--out",
    "t.safetensors",
]
CALIBRATE = [
    "calibrate",
    "--model",
    "{bundle}",
    "--prompt",
    "x",
    "--steer",
    "{vectors}",
    "--target",
    "tempo=+5%",
]
RECORD = ["record", "--model", "{bundle}", "--prompt", "piano", "--out", "r.safetensors", *SHORT]

ARGUMENTS = {
    "no command": ([], 2, "subcommand"),
    "unknown command": (["sing"], 2, "sing|subcommand"),
    "unknown flag": ([*GENERATE, "--alhpa", "1"], 2, "alhpa"),
    "no model": (["generate", "--prompt", "x", "--out", "a.wav"], 2, "--model"),
    "nothing to do": (["generate", "--model", "{bundle}", "--out", "a.wav"], 2, "--prompt"),
    "duration 0": ([*GENERATE, "--duration", "0"], 2, "duration"),
    "duration negative": ([*GENERATE, "--duration", "-3"], 2, "duration"),
    "duration nan": ([*GENERATE, "--duration", "nan"], 2, "duration"),
    "duration too long": ([*GENERATE, "--duration", "1e7"], 2, "expected seconds from 0 to 2500000"),
    "duration of no frame": ([*GENERATE, "--duration", "0.0001"], 2, "at least one frame"),
    "temperature 0": ([*GENERATE, "--temperature", "0"], 2, "temperature"),
    "top-k negative": ([*GENERATE, "--top-k", "-1"], 2, "top-k"),
    "top-p above 1": ([*GENERATE, "--top-p", "1.5"], 2, "top-p"),
    "guidance infinite": ([*GENERATE, "--guidance", "inf"], 2, "guidance"),
    "batch size negative": ([*GENERATE, "--batch-size", "-1"], 2, "batch"),
    "seed text": ([*GENERATE, "--seeds", "one"], 2, "seed"),
    "seed empty range": ([*GENERATE, "--seeds", "5:5"], 2, "empty"),
    "format": ([*GENERATE, "--format", "mp3"], 2, "mp3"),
    "device": ([*GENERATE, "--device", "tpu"], 2, "tpu"),
    "many clips, one file": ([*GENERATE, "--seeds", "0:2"], 2, "folder"),
    "unconditional with prompt": ([*GENERATE, "--unconditional"], 2, "unconditional"),
    "missing bundle": (["generate", "--model", "nowhere", "--prompt", "x", "--out", "a.wav"], 1, "nowhere"),
    "missing prompts": (["generate", "--model", "{bundle}", "--prompts", "no", "--out", "c"], 1, "no"),
    "missing vector file": ([*GENERATE, "--steer", "no.safetensors"], 1, "no.safetensors"),
    "alpha nan": ([*STEER, "--alpha", "nan"], 2, "alpha"),
    "alpha inf inline": ([*STEER[:-1], "{vectors}:alpha=inf"], 2, "alpha"),
    "alpha text": ([*STEER[:-1], "{vectors}:alpha=loud"], 2, "loud"),
    "steer key": ([*STEER[:-1], "{vectors}:alfa=1"], 2, "did you mean 'alpha'"),
    "steer key twice": ([*STEER[:-1], "{vectors}:alpha=1:alpha=2"], 2, "twice"),
    "alpha twice": ([*STEER[:-1], "{vectors}:alpha=1", "--alpha", "2"], 2, "twice"),
    "unknown mode": ([*STEER, "--mode", "adds"], 2, "did you mean 'add'"),
    "clamp without value": ([*STEER, "--mode", "clamp"], 2, "needs a value"),
    "clamp with alpha": ([*STEER, "--mode", "clamp", "--value", "1", "--alpha", "1"], 2, "has no alpha"),
    "value without clamp": ([*STEER, "--value", "1"], 2, "value needs mode clamp"),
    "unit of ablation": ([*STEER, "--mode", "ablate", "--unit", "unit"], 2, "no meaning"),
    "schedule": ([*STEER, "--schedule", "decay"], 2, "expected constant"),
    "schedule key": ([*STEER[:-1], "{vectors}:schedule=window,2,1"], 2, "to a later one"),
    "probability": ([*STEER, "--probability", "1.5"], 2, "between 0 and 1"),
    "frame seed alone": ([*STEER, "--frame-seed", "3"], 2, "frame-seed needs probability"),
    "alpha without vector": ([*GENERATE, "--alpha", "1"], 2, "--steer"),
    "flags for two vectors": ([*STEER, "--steer", "{vectors}", "--alpha", "1"], 2, "several"),
    "layer out of range": ([*STEER, "--layers", "2-7"], 2, "0 to 2"),
    "layers malformed": ([*STEER, "--layers", "1-"], 2, "layers"),
    "source layer out of range": ([*STEER, "--source-layer", "9"], 2, "0 to 2"),
    "site": ([*STEER, "--site", "resid_pots"], 2, "did you mean 'resid_post'"),
    "site not in file": ([*STEER, "--site", "mlp_out"], 2, "mlp_out"),
    "strategy": ([*STEER, "--strategy", "one-to-al"], 2, "did you mean 'one-to-all'"),
    "rows": ([*STEER, "--rows", "all"], 2, "conditional"),
    "unit": ([*STEER, "--unit", "metres"], 2, "residual"),
    "single with two layers": ([*STEER, "--strategy", "single", "--layers", "0-1"], 2, "single"),
    "hook point": ([*RECORD, "--hooks", "decoder.1.resid_pots"], 2, r"did you mean 'decoder\.1\.resid_post'"),
    "hook layer": ([*RECORD, "--hooks", "decoder.9.resid_post"], 2, "0 to 2"),
    "no hooks": ([*RECORD, "--hooks", ""], 2, "hook"),
    "record without prompt": (["record", "--model", "{bundle}", "--hooks", "all", "--out", "r"], 2, "prompt"),
    "extract site": ([*EXTRACT, *SHORT, "--site", "mlp"], 2, "site"),
    "extract layer": ([*EXTRACT, *SHORT, "--layers", "3"], 2, "0 to 2"),
    "extract positions": ([*EXTRACT, *SHORT, "--positions", "first"], 2, "unknown positions 'first'"),
    "extract window": ([*EXTRACT, *SHORT, "--positions", "window:5-6"], 2, "window"),
    "extract rows": ([*EXTRACT, *SHORT, "--rows", "null"], 2, "rows"),
    "extract duration": ([*EXTRACT, "--duration", "-1"], 2, "duration"),
    "extract limit": ([*EXTRACT[:-4], "--limit", "0", "--out", "t"], 2, "limit"),
    "extract without prompts": (["extract", "--model", "{bundle}", "--out", "t"], 2, "--prompts"),
    "extract both sources": ([*EXTRACT, "--from-activations", "a"], 2, "from-activations"),
    "extract from vectors": (["extract", "--from-activations", "{vectors}", "--out", "t"], 1, "activation"),
    "record unconditional": (["record", "--model", "{bundle}", "--unconditional", "--hooks", "all",
                              "--negative-prompt", "x", "--out", "r"], 2, "takes no negative prompt"),
    "sweep memory": (["sweep", "--model", "{bundle}", "--prompt", "x", "--memory", "1GB",
                      "--batch-size", "2", "--out", "s"], 2, "--memory has no effect"),
    "calibrate memory": ([*CALIBRATE, "--memory", "1GB", "--batch-size", "2"], 2, "--memory has no effect"),
    "calibrate force": ([*CALIBRATE, "--force"], 2, "--force has no effect"),
    "calibrate pairs": ([*CALIBRATE, "--pairs", "8", "--check-pairs", "8", "--max-pairs", "9"], 2,
                        "--max-pairs has no effect"),
    "extract device": (["extract", "--from-activations", "a", "--batch-size", "2", "--out", "t"], 2,
                       "--batch-size has no effect"),
    "inspect verify": (["inspect", "{vectors}", "--no-verify"], 2, "--no-verify has no effect"),
    "inspect base": (["inspect", "{vectors}", "--base", "{bundle}"], 2, "--base has no effect"),
    "inspect missing": (["inspect", "nowhere"], 1, "nowhere"),
    "inspect folder": (["inspect", "."], 1, "manifest"),
    "tokenize nothing": (["tokenize", "--model", "{bundle}"], 2, "text"),
    "out below a file": ([*GENERATE[:5], "--out", "{vectors}/a.wav", *SHORT], 1, "a.wav"),
    "out in /proc": ([*GENERATE[:5], "--out", "/proc/a.wav", *SHORT], 1, "/proc"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, case: str) -> None:
    arguments, code, pattern = ARGUMENTS[case]
    filled = [
        argument.replace("{bundle}", str(bundle)).replace("{vectors}", str(vectors)) for argument in arguments
    ]
    expect(musicsteer(*filled), code, pattern)
    assert snapshot(tmp_path) == []


@pytest.mark.parametrize("out", [["generate", "--prompt", "x", "--out", "old"], EXTRACT, RECORD])
def test_nothing_is_overwritten_without_force(
    musicsteer: Runner, bundle: Path, tmp_path: Path, out: list[str]
) -> None:
    name = "old.wav" if out[0] == "generate" else out[out.index("--out") + 1]
    (tmp_path / name).write_text("precious")
    arguments = [argument.replace("{bundle}", str(bundle)) for argument in out]
    if out[0] == "generate":
        arguments = [*arguments[:-1], name, "--model", str(bundle)]
    if out[0] == "record":
        arguments += ["--hooks", "decoder.embed"]
    expect(musicsteer(*arguments), 1, "--force")
    assert (tmp_path / name).read_text() == "precious" and snapshot(tmp_path) == [name]


def test_inputs_are_not_replaced_even_with_force(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    shutil.copy(vectors, tmp_path / "v.json")  # where the record of v.wav would go
    shutil.copy(TEMPO, tmp_path / "p.json")
    shutil.copy(ROOT / "prompts" / "neutral.json", tmp_path / "n.json")
    (tmp_path / "one.json").write_text('{"concept": "c", "prompts": ["x"]}')
    model = ["--model", bundle, *SHORT, "--force"]
    generate = ["generate", *model, "--prompt", "x", "--steer", "v.json"]
    extract = ["extract", *model, "--prompts", "p.json", "--limit", "2"]
    calibrate = ["calibrate", "--model", bundle, "--prompts", "n.json", "--steer", "v.json"]
    calibrate += ["--target", "onsets=+5%", "--force"]
    before = snapshot(tmp_path)
    for command, file in (
        ([*generate, "--out", "v.wav"], "v.json"),
        ([*generate, "--out", "a.wav", "--save-codes", "./v.json"], "v.json"),
        (["generate", *model, "--prompts", "one.json", "--out", "one.wav"], "one.json"),
        ([*extract, "--out", "p.json"], "p.json"),
        ([*extract, "--out", "t", "--save-activations", "p.json"], "p.json"),
        (["patch", *model, "--prompts", "p.json", "--out", "p.json"], "p.json"),
        (["patch", *model, "--prompts", "p.json", "--out", "a.json", "--csv", "p.json"], "p.json"),
        ([*calibrate, "--out", "v.json"], "v.json"),
        ([*calibrate, "--out", "n.json"], "n.json"),
    ):
        expect(musicsteer(*command), 1, f"{file}: would replace a file that this command reads")
    assert snapshot(tmp_path) == before
    assert (tmp_path / "p.json").read_bytes() == TEMPO.read_bytes()
    assert (tmp_path / "v.json").read_bytes() == vectors.read_bytes()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_manifest(change: Callable[[dict], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return edit


def swap(folder: Path) -> None:
    (folder / "codec.pt").rename(folder / "x")
    (folder / "text_encoder.pt").rename(folder / "codec.pt")
    (folder / "x").rename(folder / "text_encoder.pt")


BUNDLES = {
    "no manifest": (lambda b: (b / "manifest.json").unlink(), "manifest.json"),
    "manifest is not JSON": (lambda b: (b / "manifest.json").write_text("{"), "manifest.json"),
    "newer format": (edit_manifest(lambda m: m.update(oldest_reader=99, format_version=99)), "newer"),
    "wrong format": (edit_manifest(lambda m: m.update(format="zip")), "format"),
    "missing field": (edit_manifest(lambda m: m["decoder"].pop("num_layers")), "num_layers"),
    "wrong type": (edit_manifest(lambda m: m["decoder"].update(num_layers="3")), "num_layers"),
    "unknown conditioning": (edit_manifest(lambda m: m["conditioning"].update(type="joint")), "joint"),
    "melody": (edit_manifest(lambda m: m["conditioning"].update(type="prefix")), "num_chroma: missing"),
    "missing file": (lambda b: (b / "codec.pt").unlink(), "codec.pt"),
    "truncated": (lambda b: truncate(b / "decoder.pt"), "decoder.pt"),
    "wrong hash": (lambda b: corrupt(b / "decoder.pt"), "decoder.pt.*SHA-256"),
    "swapped": (swap, "bytes|SHA-256"),
    "tokenizer damaged": (lambda b: corrupt(b / "tokenizer.json"), "tokenizer.json"),
}


@pytest.mark.parametrize("case", BUNDLES)
def test_damaged_bundles(musicsteer: Runner, bundle: Path, tmp_path: Path, case: str) -> None:
    damage, pattern = BUNDLES[case]
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    damage(copy)
    before = snapshot(tmp_path)
    expect(musicsteer("generate", "--model", copy, "--prompt", "x", "--out", "a.wav", *SHORT), 1, pattern)
    assert snapshot(tmp_path) == before


def test_no_verify_skips_only_the_hash(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    text = (copy / "tokenizer.json").read_bytes()
    (copy / "tokenizer.json").write_bytes(text.replace(b" ", b"\t", 1))
    expect(musicsteer("tokenize", "--model", copy, "x"), 1, "SHA-256")
    assert musicsteer("tokenize", "--no-verify", "--model", copy, "x").code == 0
    truncate(copy / "tokenizer.json")
    expect(musicsteer("tokenize", "--no-verify", "--model", copy, "x"), 1, "bytes")


SIDE = {"label": "a", "prompts": ["x"]}


def prompt_set(**changes: object) -> str:
    return json.dumps({"concept": "c", "positive": SIDE, "negative": SIDE, **changes})


PROMPT_SETS = {
    "no JSON": ("{", "JSON|line"),
    "a list": ("[]", "object|expected"),
    "empty side": (prompt_set(positive={"label": "p", "prompts": []}), "positive"),
    "missing side": (json.dumps({"concept": "c", "positive": SIDE}), "negative"),
    "number": (prompt_set(negative={"label": "n", "prompts": [3]}), r"negative\.prompts\[0\]"),
    "blank": (prompt_set(negative={"label": "n", "prompts": [" "]}), r"negative\.prompts\[0\]"),
    "unknown key": (prompt_set(pairng="index"), "did you mean 'pairing'"),
    "plain list": (json.dumps({"concept": "neutral", "prompts": ["x"]}), "positive|concept"),
}


@pytest.mark.parametrize("case", PROMPT_SETS)
def test_prompt_sets(musicsteer: Runner, bundle: Path, tmp_path: Path, case: str) -> None:
    text, pattern = PROMPT_SETS[case]
    (tmp_path / "p.json").write_text(text)
    done = musicsteer("extract", "--model", bundle, "--prompts", "p.json", "--out", "t.safetensors", *SHORT)
    expect(done, 1, pattern)
    assert "p.json" in done.err and snapshot(tmp_path) == ["p.json"]


def test_prompt_set_of_invalid_utf8(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_bytes(b'{"concept": "\xff"}')
    done = musicsteer("extract", "--model", bundle, "--prompts", "p.json", "--out", "t.safetensors", *SHORT)
    expect(done, 1, "UTF-8")


def lying_header(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", 1 << 62) + content[8:])


def rewrite(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        from safetensors import safe_open

        with safe_open(path, "np") as opened:
            metadata = opened.metadata()
        save_file(change(load_file(path)), path, metadata=metadata)

    return edit


VECTORS = {
    "truncated": (truncate, "t.safetensors"),
    "empty": (lambda p: p.write_bytes(b""), "t.safetensors"),
    "lying header": (lying_header, "header"),
    "not safetensors": (lambda p: p.write_text("hello, world, this is text"), "t.safetensors"),
    "nan": (rewrite(lambda t: {k: np.full_like(v, np.nan) for k, v in t.items()}), "finite"),
    "other width": (rewrite(lambda t: {k: v[:-1].copy() for k, v in t.items()}), "48"),
    "unknown hook point": (rewrite(lambda t: {f"x{k}": v for k, v in t.items()}), "xdecoder"),
    "no metadata": (lambda p: save_file(load_file(p), p), "metadata"),
}


@pytest.mark.parametrize("case", VECTORS)
def test_vector_files(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path, case: str) -> None:
    damage, pattern = VECTORS[case]
    shutil.copy(vectors, tmp_path / "t.safetensors")
    damage(tmp_path / "t.safetensors")
    done = musicsteer(
        "generate",
        "--model",
        bundle,
        "--prompt",
        "piano",
        "--out",
        "a.wav",
        "--steer",
        "t.safetensors",
        *SHORT,
    )
    expect(done, 1, pattern)
    assert snapshot(tmp_path) == ["t.safetensors"]


def test_vector_that_does_not_fit(musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path) -> None:
    """As from a model of another width; and one of other weights is only warned about."""
    from safetensors import safe_open

    with safe_open(vectors, "np") as opened:
        metadata = opened.metadata()
    tensors = load_file(vectors)
    wide = {name: np.zeros(64, np.float32) for name in tensors}
    save_file(wide, tmp_path / "wide.safetensors", metadata={**metadata, "hidden_size": "64"})
    base = ["generate", "--model", bundle, "--prompt", "x", "--out", "a.wav", *SHORT]
    expect(musicsteer(*base, "--steer", "wide.safetensors"), 1, "64 wide, the model 48")
    save_file(tensors, tmp_path / "other.safetensors", metadata={**metadata, "weights_sha256": "0" * 64})
    done = musicsteer(*base, "--steer", "other.safetensors")
    assert done.code == 0 and "other weights" in done.err


def test_a_non_finite_activation_names_frame_and_layer(
    musicsteer: Runner, bundle: Path, vectors: Path, tmp_path: Path
) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "piano", "--out", "a.wav", "--steer",
        f"{vectors}:alpha=1e38:layers=1", *SHORT,
    )  # fmt: skip
    warning, error = done.err.splitlines()
    assert done.code == 1 and "pushes layer 1 by" in warning
    assert re.search(r"frame 0.*decoder\.1\.resid_post|decoder\.2", error), error
    assert snapshot(tmp_path) == []


def limit_file_size() -> None:
    """Writes beyond 4 KB fail, as they do on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


def test_a_write_that_fails_leaves_nothing(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    done = musicsteer(
        "generate", "--model", bundle, "--prompt", "x", "--out", "a.wav", "--duration", "0.5",
        preexec_fn=limit_file_size,
    )  # fmt: skip
    assert done.code == 1 and len(done.errors) == 1 and "a.wav" in done.errors[0]
    assert snapshot(tmp_path) == []


def test_memory_that_is_not_there_is_refused(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    done = musicsteer(
        "generate",
        "--model",
        bundle,
        "--prompt",
        "piano",
        "--duration",
        "5",
        "--batch-size",
        "10000000",
        "--out",
        "a.wav",
    )
    expect(done, 1, "needs about .* of memory")
    assert snapshot(tmp_path) == []
