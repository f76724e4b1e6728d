"""musicsteer export end to end: what it writes, and what it refuses without leaving anything behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import SHAPES, save  # noqa: E402
from mutations import MUTATIONS, injected  # noqa: E402

from musicsteer import export_model  # noqa: E402
from musicsteer.torchscript.layer_loop import Modules  # noqa: E402

FILES = {"manifest.json", "decoder.pt", "text_encoder.pt", "codec.pt", "tokenizer.json"}


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two random checkpoints in Hugging Face format; the second has only a spiece.model."""
    cache = tmp_path_factory.mktemp("checkpoints")
    return {shape.name: save(shape, cache) for shape in SHAPES[:2]}


@pytest.fixture
def checkpoint(checkpoints: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the mono checkpoint to spoil."""
    return Path(shutil.copytree(checkpoints["tiny-mono"], tmp_path / "input" / "tiny-mono"))


def run_script(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "musicsteer.export_model", *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="session")
def bundle(checkpoints: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mono checkpoint's bundle, written by the script itself."""
    folder = tmp_path_factory.mktemp("bundles")
    done = run_script(str(checkpoints["tiny-mono"]), "new/mono", cwd=folder, PYTHONHASHSEED="1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "new/mono\n", "")
    return folder / "new" / "mono"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_and_their_records(bundle: Path) -> None:
    assert {path.name for path in bundle.iterdir()} == FILES
    assert {path.name for path in bundle.parent.iterdir()} == {"mono"}
    records = json.loads((bundle / "manifest.json").read_text("utf-8"))["files"]
    assert set(records) == FILES - {"manifest.json"}
    for name, record in records.items():
        content = (bundle / name).read_bytes()
        assert record == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def test_manifest(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    assert (manifest["format"], manifest["format_version"], manifest["oldest_reader"]) == (
        "musicsteer-bundle",
        5,
        5,
    )
    assert manifest["capabilities"] == ["cross-attention-text", "codec-encode"]
    model = manifest["model"]
    assert (model["name"], model["source"]) == ("tiny-mono", "tiny-mono")
    assert model["architecture"] == "MusicgenForConditionalGeneration"
    assert len(model["weights_sha256"]) == 64
    assert model["licence"] == "unknown, see the checkpoint's model card"
    assert manifest["decoder"] == {
        "num_layers": 3,
        "hidden_size": 48,
        "num_heads": 6,
        "head_size": 8,
        "ffn_size": 112,
        "activation": "gelu",
        "num_codebooks": 4,
        "codebook_size": 64,
        "start_token": 64,
        "max_positions": 2048,
        "delays": [0, 1, 2, 3],
        "channels": 1,
    }
    assert manifest["conditioning"] == {"type": "cross", "text_hidden_size": 40}
    assert manifest["text_encoder"] == {"vocab_size": 260, "pad_token_id": 0, "eos_token_id": 1}
    assert manifest["codec"] == {
        "sample_rate_hz": 16000,
        "frame_rate_hz": 400,
        "hop_length": 40,
        "num_codebooks": 4,
        "codebook_size": 64,
        "channels": 1,
        "lstm_layers": 2,
        "lstm_width": 32,
    }
    assert manifest["window_s"] == 30
    assert manifest["generation_defaults"] == {"guidance_scale": 3.0, "top_k": 250, "temperature": 1.0}
    assert manifest["precision"] == {"decoder": "f32", "text_encoder": "f32", "codec": "f32"}
    assert set(manifest["versions"]) == {"musicsteer", "torch", "transformers", "tokenizers"}


def test_same_input_same_bytes_and_no_path_in_them(
    bundle: Path, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    done = run_script(
        str(checkpoints["tiny-mono"]), str(tmp_path / "again"), cwd=tmp_path, PYTHONHASHSEED="77"
    )
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "again") == contents(bundle)
    for content in contents(bundle).values():
        assert str(ROOT).encode() not in content
        assert str(tmp_path.parent).encode() not in content


def with_direction(checkpoint: Path, entry: dict[str, Any] | None = None) -> Path:
    folder = checkpoint / "directions"
    folder.mkdir()
    (folder / "tempo.safetensors").write_bytes(b"vectors")
    (folder / "notes.txt").write_text("not part of it")
    entry = entry or {"file": "tempo.safetensors", "alpha": 0.5}
    (folder / "tempo.json").write_text(json.dumps({"steering": [entry]}))
    return folder


def test_directions_are_copied_and_recorded(checkpoint: Path, tmp_path: Path) -> None:
    folder = with_direction(checkpoint)
    export_model.export(str(checkpoint), tmp_path / "out", verify=False)
    names = {"tempo.json", "tempo.safetensors"}
    assert {path.name for path in (tmp_path / "out" / "directions").iterdir()} == names
    records = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["directions"]
    for name in names:
        content = (tmp_path / "out" / "directions" / name).read_bytes()
        assert content == (folder / name).read_bytes()
        assert records[name] == {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"file": "tempo.safetensors"}, "has no alpha"),
        ({"file": "other.safetensors", "alpha": 1}, "expected its vector file beside it"),
        ({"file": "../config.json", "alpha": 1}, "expected its vector file beside it"),
    ],
)
def test_a_direction_that_is_none_is_refused(
    checkpoint: Path, tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    with_direction(checkpoint, entry)
    with pytest.raises(export_model.BundleError, match=f"tempo.json: {message}"):
        export_model.export(str(checkpoint), tmp_path / "out", verify=False)
    assert not (tmp_path / "out").exists()


def test_modules_have_the_methods_of_the_contract(bundle: Path) -> None:
    modules = Modules.load(bundle)
    methods = {"decoder": {"project_text", "embed", "final_norm", "logits"}, "text_encoder": {"forward"}}
    methods["codec"] = {"encode", "lstm_input", "run_lstm", "decode_wave", "initial_state", "reach"}
    for part, names in methods.items():
        assert names <= set(getattr(modules, part)._c._method_names())
    layers = list(modules.decoder.layers.children())
    assert len(layers) == 3
    names = {
        "cross_kv",
        "attend_self",
        "self_attn",
        "self_out",
        "attend_text",
        "cross_attn",
        "cross_out",
        "mlp",
    }
    assert all(names <= set(layer._c._method_names()) for layer in layers)
    for module in (modules.decoder, modules.text_encoder, modules.codec):
        assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


def test_a_codec_in_bfloat16_sounds_the_same_and_encodes_the_same(
    checkpoints: dict[str, Path], bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "rounded"
    assert export_model.main([str(checkpoints["tiny-mono"]), str(out), "--codec-precision", "bf16"]) == 0
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert manifest["precision"] == {"decoder": "f32", "text_encoder": "f32", "codec": "bf16"}
    rounded, exact = Modules.load(out).codec, Modules.load(bundle).codec
    assert rounded.decoder_in.weight.dtype == torch.bfloat16
    codes = torch.randint(64, [1, 4, 30], generator=torch.Generator().manual_seed(1))
    waves = []
    for codec in (exact, rounded):
        latent, _ = codec.run_lstm(codec.lstm_input(codes), codec.initial_state(1))
        waves.append(codec.decode_wave(latent))
    error = (waves[1] - waves[0]).norm() / waves[0].norm()
    assert waves[1].dtype == torch.float32 and 0 < error < 0.05
    assert torch.equal(rounded.encode(waves[0]), exact.encode(waves[0]))


def test_stereo_with_an_old_tokenizer(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "stereo"
    assert export_model.main([str(checkpoints["tiny-stereo"]), str(out), "--name", "Stereo"]) == 0
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert manifest["model"]["name"] == "Stereo"
    assert manifest["decoder"]["delays"] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert (manifest["decoder"]["channels"], manifest["codec"]["channels"]) == (2, 1)
    assert manifest["codec"]["num_codebooks"] == 4
    assert manifest["codec"]["frame_rate_hz"] == pytest.approx(16000 / 12)
    assert json.loads((out / "tokenizer.json").read_text("utf-8"))["model"]["type"] == "Unigram"


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def test_what_generation_config_says(checkpoint: Path, tmp_path: Path) -> None:
    said = {"guidance_scale": 4.5, "top_k": 50, "temperature": 0.9}
    edit_json(checkpoint / "generation_config.json", lambda config: config.update(said))
    assert export_model.main([str(checkpoint), str(tmp_path / "out"), "--no-verify"]) == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["generation_defaults"] == said


@pytest.mark.parametrize(
    ("max_length", "frame_rate_hz", "seconds"),
    [(1500, 50, 30), (204, 25, 8), (1024, 51.2, 20), (None, 50, 30), (20, 50, 30)],
)
def test_window_is_the_whole_seconds_of_max_length(
    max_length: int | None, frame_rate_hz: float, seconds: int
) -> None:
    assert export_model.window_s(max_length, frame_rate_hz) == seconds


def test_window_as_the_checkpoint_states_it(checkpoint: Path, tmp_path: Path) -> None:
    edit_json(checkpoint / "generation_config.json", lambda config: config.update(max_length=4804))
    assert export_model.main([str(checkpoint), str(tmp_path / "out"), "--no-verify"]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["window_s"] == 12
    assert "max_length" not in manifest["generation_defaults"]


def untidy(folder: Path, **changes: Any) -> None:
    """generation_config.json with these values, None to leave one out."""

    def change(content: dict[str, Any]) -> None:
        content.update({key: value for key, value in changes.items() if value is not None})
        for key in [key for key, value in changes.items() if value is None]:
            content.pop(key, None)

    edit_json(folder / "generation_config.json", change)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"decoder_start_token_id": None}, {}),
        ({"guidance_scale": 1.0}, {"guidance_scale": 1.0}),
        ({"guidance_scale": 0}, {"guidance_scale": 1.0}),
        ({"guidance_scale": "3.5", "top_k": 50.0}, {"guidance_scale": 3.5, "top_k": 50}),
    ],
)
def test_untidy_generation_configs(
    checkpoint: Path, tmp_path: Path, bundle: Path, changes: dict[str, Any], said: dict[str, Any]
) -> None:
    untidy(checkpoint, **changes)
    assert export_model.main([str(checkpoint), str(tmp_path / "out")]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    expected = json.loads((bundle / "manifest.json").read_text("utf-8"))
    expected["generation_defaults"].update(said)
    assert manifest == expected


def test_no_generation_config(checkpoint: Path, tmp_path: Path, bundle: Path) -> None:
    (checkpoint / "generation_config.json").unlink()
    assert export_model.main([str(checkpoint), str(tmp_path / "out")]) == 0
    assert contents(tmp_path / "out") == contents(bundle)


@pytest.mark.parametrize("given", ["", "snapshots/abc"])
@pytest.mark.parametrize("reference", [True, False])
def test_a_folder_of_the_hugging_face_cache(
    checkpoint: Path, tmp_path: Path, given: str, reference: bool
) -> None:
    """Files are links to blobs there."""
    model = tmp_path / "hub" / "models--someone--tiny"
    snapshot = model / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (model / "blobs").mkdir()
    for number, path in enumerate(sorted(checkpoint.iterdir())):
        shutil.move(path, model / "blobs" / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    if reference:
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text("abc")
    assert export_model.main([str(model / given), str(tmp_path / "out"), "--no-verify"]) == 0
    about = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["model"]
    assert (about["name"], about["source"]) == ("tiny", "someone/tiny")


def test_half_precision_bin_files_with_old_names(checkpoint: Path, bundle: Path, tmp_path: Path) -> None:
    """As published checkpoints are: weight_g and weight_v, pickled."""
    weights = load_file(checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new_name, old_name in old.items():
        weights = {name.replace(new_name, old_name): tensor for name, tensor in weights.items()}
    assert any(name.endswith("weight_g") for name in weights)
    torch.save(weights, checkpoint / "pytorch_model.bin")
    assert export_model.main([str(checkpoint), str(tmp_path / "old")]) == 0
    for name in ("decoder.pt", "text_encoder.pt", "codec.pt"):
        ours, theirs = (torch.jit.load(str(out / name)).state_dict() for out in (tmp_path / "old", bundle))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    torch.save({name: tensor.half() for name, tensor in weights.items()}, checkpoint / "pytorch_model.bin")
    assert export_model.main([str(checkpoint), str(tmp_path / "half")]) == 0
    table = torch.jit.load(str(tmp_path / "half" / "text_encoder.pt")).state_dict()["tokens.weight"]
    assert table.dtype == torch.float32
    expected = torch.jit.load(str(bundle / "text_encoder.pt")).state_dict()["tokens.weight"]
    assert torch.equal(table, expected.half().float())


@pytest.mark.parametrize(
    ("card", "base", "licence", "note"),
    [
        ("---\nlicense: mit\n---\n# Model\n", None, "MIT", ""),
        ("---\ntags: [a]\nlicense: cc-by-nc-4.0\n---\n", None, "CC-BY-NC-4.0", "non-commercial"),
        (None, "facebook/musicgen-small", "CC-BY-NC-4.0", "non-commercial"),
        (
            "---\nlicense: apache-2.0\n---\n",
            "facebook/musicgen-large",
            "apache-2.0",
            "facebook/musicgen-large",
        ),
        ("no front matter, license: mit", None, "unknown, see the checkpoint's model card", ""),
    ],
)
def test_licence(
    checkpoint: Path, tmp_path: Path, card: str | None, base: str | None, licence: str, note: str
) -> None:
    if card:
        (checkpoint / "README.md").write_text(card, "utf-8")
    if base:
        edit_json(checkpoint / "config.json", lambda config: config.update(_name_or_path=base))
    assert export_model.main([str(checkpoint), str(tmp_path / "out"), "--no-verify"]) == 0
    model = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))["model"]
    assert model["licence"] == licence
    assert note in model["licence_note"]
    assert bool(note) == bool(model["licence_note"])


def drop_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["decoder.model.decoder.layers.1.fc1.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def truncate_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


def config(**changes: Any) -> Callable[[Path], None]:
    """A change of config.json; `part__key` changes a key of a part."""

    def spoil(folder: Path) -> None:
        def change(content: dict[str, Any]) -> None:
            for key, value in changes.items():
                part, _, inner = key.rpartition("__")
                (content[part] if part else content)[inner] = value

        edit_json(folder / "config.json", change)

    return spoil


def bpe_tokenizer(folder: Path) -> None:
    edit_json(folder / "tokenizer.json", lambda tokenizer: tokenizer["model"].update(type="BPE"))


def pointer(name: str) -> Callable[[Path], None]:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1234\n"
    return lambda folder: (folder / name).write_text(text)


def only(*names: str) -> Callable[[Path], None]:
    """A folder with these files, empty ones, and nothing else."""

    def spoil(folder: Path) -> None:
        shutil.rmtree(folder)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("{}")

    return spoil


def adapter(folder: Path) -> None:
    only("adapter_model.safetensors")(folder)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "facebook/musicgen-small"}')


def generation(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit_json(
        folder / "generation_config.json", lambda content: content.update(changes)
    )


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "no folder": (shutil.rmtree, "does not exist"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "config no JSON": (lambda folder: (folder / "config.json").write_text("{"), "not JSON"),
    "config a list": (lambda folder: (folder / "config.json").write_text("[]"), "not a MusicGen"),
    "another model": (config(model_type="t5", architectures=["T5Model"]), "T5Model"),
    "weights not fetched": (pointer("model.safetensors"), "model.safetensors is a Git LFS pointer"),
    "tokenizer not fetched": (pointer("tokenizer.json"), "git lfs pull"),
    "audiocraft's": (
        only("state_dict.bin", "compression_state_dict.bin"),
        "state_dict.bin cannot be read",
    ),
    "an adapter": (adapter, "is a LoRA adapter of facebook/musicgen-small, not a whole model: export"),
    "a whole cache": (
        only("models--facebook--musicgen-small/snapshots/1/config.json"),
        "or a hub id, such as facebook/musicgen-small",
    ),
    "one folder too high": (only("musicgen/config.json"), "pass the folder that has one"),
    "an empty snapshot": (only("refs/main", "snapshots/x/README.md"), "has no config.json"),
    "two snapshots": (only("snapshots/1/config.json", "snapshots/2/config.json"), "pass one of them"),
    "guidance no number": (generation(guidance_scale="strong"), "guidance_scale is 'strong'; expected"),
    "guidance not finite": (generation(guidance_scale=float("nan")), "guidance_scale is nan; expected"),
    "top-k a fraction": (generation(top_k=1.5), "top_k is 1.5; expected a whole number"),
    "temperature 0": (generation(temperature=0), "temperature is 0; expected a number above 0"),
    "start token beyond": (generation(decoder_start_token_id=9999), "decoder_start_token_id is 9999"),
    "three channels": (config(decoder__audio_channels=3), "channels"),
    "a rate in words": (config(audio_encoder__sampling_rate="16k"), "16k|sampling_rate"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
    "truncated weights": (truncate_weights, "cannot be loaded"),
    "a weight missing": (drop_weight, "1 missing weights"),
    "other sizes": (config(decoder__ffn_dim=100), "ffn_dim|mismatched|size"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "neither tokenizer.json nor"),
    "tokenizer no JSON": (lambda folder: (folder / "tokenizer.json").write_text("x"), "is not a tokenizer"),
    "BPE tokenizer": (bpe_tokenizer, "BPE"),
    "activation": (config(decoder__activation_function="laplace"), "'laplace'"),
    "chunks": (config(audio_encoder__chunk_length_s=1.0), "chunk_length_s"),
    "normalised": (config(audio_encoder__normalize=True), "normalize"),
    "padding": (config(audio_encoder__pad_mode="zero"), "pad_mode is 'zero'"),
}


@pytest.mark.parametrize("name", SPOILED)
def test_bad_checkpoints(
    name: str, checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil, message = SPOILED[name]
    spoil(checkpoint)
    assert export_model.main([str(checkpoint), str(tmp_path / "deep" / "out")]) == 1
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, captured.err
    assert any(part in captured.err for part in message.split("|")), captured.err
    assert {path.name for path in tmp_path.iterdir()} == {"input"}, "nothing is left behind"


def test_a_hub_id_without_network(tmp_path: Path) -> None:
    done = run_script(
        "nobody/no-such-model", "out", cwd=tmp_path, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hf")
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: nobody/no-such-model ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["one"], ["a", "b", "--precision", "int3"], ["a", "b", "--unknown"]]
)
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        export_model.main(arguments)
    assert stop.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_an_existing_bundle_is_replaced_only_by_force(
    checkpoints: dict[str, Path], bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(bundle, tmp_path / "out"))
    before, stereo = contents(out), str(checkpoints["tiny-stereo"])
    assert export_model.main([stereo, str(out)]) == 1
    assert "--force" in capsys.readouterr().err
    assert contents(out) == before
    assert export_model.main([stereo, str(out), "--force", "--no-verify"]) == 0
    assert json.loads((out / "manifest.json").read_text("utf-8"))["model"]["name"] == "tiny-stereo"
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_force_does_not_replace_what_is_no_bundle(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"x")
    (tmp_path / "file").write_bytes(b"y")
    before = contents(tmp_path)
    for out in ("photos", "file"):
        assert export_model.main([str(checkpoints["tiny-mono"]), str(tmp_path / out), "--force"]) == 1
    assert contents(tmp_path) == before


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["save_script", "write_manifest", "replay"])
def test_a_failure_leaves_the_old_bundle(
    checkpoints: dict[str, Path],
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: BaseException,
    when: str,
) -> None:
    out = Path(shutil.copytree(bundle, tmp_path / "out"))

    def fail(*_: Any) -> None:
        raise failure

    monkeypatch.setattr(export_model, when, fail)
    code = export_model.main([str(checkpoints["tiny-stereo"]), str(out), "--force"])
    assert code == (130 if isinstance(failure, KeyboardInterrupt) else 1)
    assert capsys.readouterr().err.count("\n") == 1
    assert contents(out) == contents(bundle)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_rename_that_fails_puts_the_old_bundle_back(
    checkpoints: dict[str, Path], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(bundle, tmp_path / "out"))
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    assert export_model.main([str(checkpoints["tiny-stereo"]), str(out), "--force", "--no-verify"]) == 1
    assert contents(out) == contents(bundle)
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_full_disk_is_noticed_before_writing(
    checkpoints: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    assert export_model.main([str(checkpoints["tiny-mono"]), str(tmp_path / "new" / "out")]) == 1
    assert "1 MB free" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_verification_notices_a_mistake(
    checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mutation = next(mutation for mutation in MUTATIONS if mutation.name == "gelu_by_tanh")
    with injected(mutation, {}):
        assert export_model.main([str(checkpoints["tiny-mono"]), str(tmp_path / "out")]) == 1
    assert "does not compute what transformers does" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
