"""Bundles that someone made to do harm: each is refused in one line, before anything of it runs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from program import PROGRAM, Runner, environment

Records = dict[str, bytes]
ENCODER = "text_encoder/code/__torch__/musicsteer/torchscript/text_encoder.py"
PRECIOUS = "precious"


def crafted(bundle: Path, folder: Path, edit: Callable[[Records], Records]) -> Path:
    """The bundle with another text encoder, and the hash of it in the manifest."""
    folder.mkdir()
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    for path in bundle.iterdir():
        if path.name not in ("manifest.json", "text_encoder.pt"):
            (folder / path.name).symlink_to(path)
    with zipfile.ZipFile(bundle / "text_encoder.pt") as archive:
        records = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(folder / "text_encoder.pt", "w") as archive:
        for name, data in edit(records).items():
            archive.writestr(name, data)
    data = (folder / "text_encoder.pt").read_bytes()
    manifest["files"]["text_encoder.pt"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return folder


def with_code(code: str) -> Callable[[Records], Records]:
    """Puts lines at the start of the encoder's forward, where x is a tensor."""

    def edit(records: Records) -> Records:
        text = records[ENCODER].decode()
        start = text.index("    x = (tokens).forward(ids, )\n") + len("    x = (tokens).forward(ids, )\n")
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        return {**records, ENCODER: (text[:start] + lines + text[start:]).encode()}

    return edit


def renamed(new: str) -> Callable[[Records], Records]:
    """The encoder's code, which saves a file, under another name."""

    def edit(records: Records) -> Records:
        evil = with_code('torch.save(x, "victim")')(records)[ENCODER]
        kept = {name: data for name, data in records.items() if name != ENCODER}
        return {**kept, new: evil}

    return edit


def expect_refused(musicsteer: Runner, model: Path, folder: Path, message: str) -> None:
    """By generate and by inspect, with no file written or changed."""
    victim = folder / "victim"
    victim.write_text(PRECIOUS)
    before = sorted(path.name for path in folder.iterdir())
    short = ["--prompt", "x", "--duration", "0.1", "--threads", "1", "--out", "a.wav"]
    for command in (["generate", "--model", model, *short], ["inspect", model]):
        done = musicsteer(*command)
        assert done.code == 1 and done.out == "", done.out
        assert done.err.startswith(f"error: {model}/text_encoder.pt: "), done.err
        assert done.err.count("\n") == 1 and message in done.err, done.err
        assert victim.read_text() == PRECIOUS
        assert sorted(path.name for path in folder.iterdir()) == before


SAVE = 'torch.save(x, "victim")'
CODE = {
    "plain": (SAVE, "calls save"),
    "method": ('_90 = (x).save("victim")', "calls save"),
    "namespace": ('ops.aten.save(x, "victim")', "calls save"),
    "read a file": ('_90 = torch.from_file("victim", False, 2)', "calls from_file"),
    "write a file": ('_90 = torch.from_file("victim", True, 2)', "calls from_file"),
    "alias of getattr": (
        '_90 = getattr\n_91 = _90(ops.aten, "save")\n_91(x, "victim")',
        "uses getattr as a value",
    ),
    "alias of an operator": ('_90 = torch.save\n_90(x, "victim")', "uses torch as a value"),
    "alias of a method": ('_90 = (x).save\n_90("victim")', "calls _90"),
    "alias of a namespace": ('_90 = ops.aten\n_90.save(x, "victim")', "uses ops as a value"),
    "getattr": ('_90 = getattr(ops.aten, "save")(x, "victim")', "calls what is not a name"),
    "getattr of a number": ('_90 = getattr(ops, "0")', "uses ops as a value"),
    "alias of hasattr": ("_90 = hasattr", "uses hasattr as a value"),
    "alias of print": ('_90 = print\n_90("hello")', "uses print as a value"),
    "print": ('print("hello")', "calls print"),
    "print operator": ("ops.prim.Print(x)", "calls Print"),
    "fork": ("_90 = fork(self)", "calls fork"),
    "comprehension": ('_90 = [torch.save(i, "victim") for i in [x]]', "list comprehension"),
    "ternary": ('_90 = torch.save(x, "victim") if True else None', "uses 'if'"),
    "argument": ('_90 = torch.add(x, 1, alpha=torch.save(x, "victim"))', "calls save"),
    "index": ('_90 = [x][torch.save(x, "victim")]', "calls save"),
    "condition": ('if torch.save(x, "victim"):\n  pass', "calls save"),
    "loop": ('while torch.save(x, "victim"):\n  pass', "uses 'while'"),
    "shadowed": (
        'if True:\n  getattr = 1\nelse:\n  getattr = "a"\n_91 = getattr(ops.aten, "0")',
        "gives another meaning to getattr",
    ),
    "continued line": ('torch.\\\n  save(x, "victim")', "continues a line"),
    "semicolon": ('_90 = x; torch.save(x, "victim")', "cannot be loaded as TorchScript (expected"),
    "lambda": ('_90 = lambda: torch.save(x, "victim")', "cannot be loaded as TorchScript (expected"),
    "custom class": (
        "_90 = __torch__.torch.classes.quantized.LinearPackedParamsBase",
        "uses __torch__ as a value",
    ),
    "nested function": ("def f() -> int:\n  return 1", "uses 'def'"),
    "deep brackets": (f"_90 = {'[' * 100_000}x{']' * 100_000}", "has code nested that deep"),
    "deep signs": (f"_90 = {'-' * 100_000}x", "has code nested that deep"),
    "deep members": (f"_90 = x{'.t()' * 100_000}", "has code nested that deep"),
    "deep blocks": ("\n".join(" " * i + "if True:" for i in range(1000)), "has code nested that deep"),
    "deep elif": ("if True:\n  pass\n" + "elif True:\n  pass\n" * 30_000, "uses 'elif'"),
    "comments": ("#\n" * 100_000, "has a comment"),
    "blank lines": ("\n" * 1_000_000 + SAVE, "has that many blank lines"),
    "continued lines": ("_90 = \\\n" + "\\\n" * 100_000 + "x", "continues a line"),
}


@pytest.mark.parametrize("name", CODE)
def test_code_that_is_not_ours(musicsteer: Runner, bundle: Path, tmp_path: Path, name: str) -> None:
    code, message = CODE[name]
    expect_refused(musicsteer, crafted(bundle, tmp_path / "evil", with_code(code)), tmp_path, message)


RECORDS = {
    "ending": renamed(ENCODER[:-3] + ".PY"),
    "folder": renamed(ENCODER.replace("/code/", "/CODE/")),
    "name": renamed(ENCODER.replace("text_encoder.py", "Text_Encoder.py")),
    "twice": lambda records: {
        ENCODER.replace("text_encoder.py", "Text_encoder.py"): with_code(SAVE)(records)[ENCODER],
        **records,
    },
    "other": lambda records: {**records, "text_encoder/code/a b.py": b""},
}


@pytest.mark.parametrize("name", RECORDS)
def test_records_that_are_not_ours(musicsteer: Runner, bundle: Path, tmp_path: Path, name: str) -> None:
    """LibTorch looks names up without regard to case."""
    evil = crafted(bundle, tmp_path / "evil", RECORDS[name])
    message = "calls save" if name == "name" else "which no module of ours does"
    expect_refused(musicsteer, evil, tmp_path, message)


def test_code_around_methods(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    def with_default(records: Records) -> Records:
        code = records[ENCODER].replace(b"num_buckets: int,", b'num_buckets: int=torch.save(1, "victim"),')
        assert code != records[ENCODER]
        return {**records, ENCODER: code}

    def with_setstate(records: Records) -> Records:
        own = b"class TextEncoder(Module):\n"
        method = b"  def __setstate__(self, x: int) -> None:\n    pass\n"
        return {**records, ENCODER: records[ENCODER].replace(own, own + method)}

    evil = crafted(bundle, tmp_path / "default", with_default)
    expect_refused(musicsteer, evil, tmp_path, "has a constant that is computed")
    evil = crafted(bundle, tmp_path / "setstate", with_setstate)
    expect_refused(musicsteer, evil, tmp_path, "uses __setstate__")


def test_a_copy_of_ours_is_not_refused(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    copy = crafted(bundle, tmp_path / "copy", with_code("_90 = torch.add(x, 1)"))
    done = musicsteer("inspect", copy)
    assert done.code == 0 and "cannot reach files" in done.out, done.err
    short = ["--prompt", "x", "--duration", "0.1", "--threads", "1", "--out", "a.wav"]
    assert musicsteer("generate", "--model", copy, *short).code == 0


@pytest.mark.parametrize("tool", ["check_device", "check_precision", "check_checkpoint"])
def test_python_tools_let_the_program_check_first(
    bundle: Path, cache: Path, tmp_path: Path, tool: str
) -> None:
    evil = crafted(bundle, tmp_path / "evil", with_code(SAVE))
    arguments = {
        "check_device": [evil, "--device", "cpu"],
        "check_precision": [bundle, evil],
        "check_checkpoint": [tmp_path, "--bundle", evil],
    }[tool]
    done = subprocess.run(
        [sys.executable, "-m", f"musicsteer.{tool}", *map(str, arguments)],
        cwd=tmp_path,
        env={**environment(cache), "MUSICSTEER": str(PROGRAM)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "calls save, which no module of ours does" in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not (tmp_path / "victim").exists()


def test_an_error_of_libtorch_is_said_in_words(musicsteer: Runner, bundle: Path, tmp_path: Path) -> None:
    broken = crafted(bundle, tmp_path / "broken", with_code('_90 = torch.add(x, "one")'))
    done = musicsteer("inspect", broken)
    assert done.code == 1 and "cannot be loaded as TorchScript ()" not in done.err
    assert "Arguments for call are not valid" in done.err, done.err


def with_manifest(bundle: Path, folder: Path, change: Callable[[dict], None]) -> Path:
    folder.mkdir()
    for path in bundle.iterdir():
        if path.name != "manifest.json":
            (folder / path.name).symlink_to(path)
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return folder


def test_control_characters_do_not_reach_the_terminal(
    musicsteer: Runner, bundle: Path, tmp_path: Path
) -> None:
    evil = "\x1b]0;owned\x07name\x9b2J\r"
    model = with_manifest(
        bundle, tmp_path / "b", lambda manifest: manifest["model"].update(name=evil, licence=evil)
    )
    prompts = {"concept": evil, "positive": {"label": evil, "prompts": [evil]}}
    prompts["negative"] = {"label": "low", "prompts": ["low"]}
    (tmp_path / "set.json").write_text(json.dumps({**prompts, "description": evil}), "utf-8")
    for path in (model, "set.json"):
        done = musicsteer("inspect", path)
        assert done.code == 0, done.err
        assert r"\x1b]0;owned\x07name\x9b2J\x0d" in done.out
        assert not any(
            (ord(letter) < 32 and letter != "\n") or 127 <= ord(letter) < 160 for letter in done.out
        )


@pytest.mark.parametrize("seconds", [0.0001, 1e9])
def test_a_window_that_no_model_has(musicsteer: Runner, bundle: Path, tmp_path: Path, seconds: float) -> None:
    model = with_manifest(bundle, tmp_path / "b", lambda manifest: manifest.update(window_s=seconds))
    done = musicsteer("inspect", model)
    assert done.code == 1 and "window_s: expected seconds from one frame to 3600, found" in done.err


def test_an_unknown_limit_of_the_processor_is_refused(musicsteer: Runner) -> None:
    for name, code in (("avx2", 2), ("", 2), ("AVX2", 0)):
        done = subprocess.run(
            [PROGRAM, "measure", "--help"],
            env={**os.environ, "GOMP_SPINCOUNT": "2000", "MUSICSTEER_MAX_CPU_ISA": name},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code
        if code:
            assert (
                done.stderr == f"error: MUSICSTEER_MAX_CPU_ISA: expected AVX2 or PORTABLE, found '{name}'\n"
            )
