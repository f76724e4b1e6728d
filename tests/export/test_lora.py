"""A LoRA adapter merged at export.

The files in lora/ were made by peft 0.21.2 on the first shape: two adapters with random weights, and what its
merge_and_unload made of the weights that they change.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
for folder in (ROOT / "scripts", ROOT / "tests" / "parity"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from checkpoints import SHAPES, build, save  # noqa: E402

from musicsteer import export_model  # noqa: E402
from musicsteer.torchscript.checkpoint import weights_sha256  # noqa: E402
from musicsteer.torchscript.lora import merge  # noqa: E402
from musicsteer.torchscript.source import CheckpointError  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(SHAPES[0], tmp_path_factory.mktemp("checkpoints"))


@pytest.mark.parametrize("name", ["plain", "patterns"])
def test_merged_weights_are_pefts(name: str) -> None:
    model = build(SHAPES[0])
    plain = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    merge(model, HERE / "lora" / name)
    expected = load_file(HERE / "lora" / f"{name}.merged.safetensors")
    for key, tensor in model.state_dict().items():
        if key in expected:
            assert not torch.equal(plain[key], tensor)
            assert torch.allclose(expected[key], tensor, rtol=0, atol=1e-6)
        else:
            assert torch.equal(plain[key], tensor), key


def test_the_bundle_is_that_of_the_merged_model(checkpoint: Path, tmp_path: Path) -> None:
    adapter = HERE / "lora" / "plain"
    arguments = [str(checkpoint), str(tmp_path / "out"), "--lora", str(adapter)]
    assert export_model.main(arguments) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["model"]["source"] == "tiny-mono with LoRA plain"
    model = build(SHAPES[0])
    untouched = weights_sha256(model)
    merge(model, adapter)
    assert manifest["model"]["weights_sha256"] == weights_sha256(model) != untouched


def test_an_adapter_of_the_decoder_alone(tmp_path: Path) -> None:
    """As trained on `model.decoder`: names lack its prefix."""
    shutil.copytree(HERE / "lora" / "patterns", tmp_path / "inner")
    file = tmp_path / "inner" / "adapter_model.safetensors"
    of_decoder = {
        name.replace("base_model.model.decoder.", "base_model.model."): tensor
        for name, tensor in load_file(file).items()
        if "enc_to_dec_proj" not in name
    }
    save_file(of_decoder, file)
    model = build(SHAPES[0])
    merge(model, tmp_path / "inner")
    name = "decoder.model.decoder.layers.0.self_attn.q_proj.weight"
    expected = load_file(HERE / "lora" / "patterns.merged.safetensors")[name]
    assert torch.allclose(model.state_dict()[name], expected, rtol=0, atol=1e-6)


def config(**changes: Any) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "adapter_model.safetensors"
        save_file(change(load_file(path)), path)

    return spoil


SPOILED = {
    "another kind": (config(peft_type="LOHA"), "peft_type is 'LOHA', which cannot be merged here"),
    "dora": (config(use_dora=True), "use_dora is True, which cannot be merged here"),
    "pissa": (config(init_lora_weights="pissa"), "init_lora_weights is 'pissa', which cannot be merged here"),
    "pissa by name": (config(init_lora_weights="pissa_niter_16"), "init_lora_weights is 'pissa_niter_16'"),
    "olora": (config(init_lora_weights="olora"), "init_lora_weights is 'olora', which cannot be merged here"),
    "loftq": (config(init_lora_weights="loftq"), "init_lora_weights is 'loftq', which cannot be merged here"),
    "monteclora": (
        config(monteclora_config={"n": 2}),
        "monteclora_config is {'n': 2}, which cannot be merged",
    ),
    "kasa": (config(kasa_config={"beta": 0.1}), "kasa_config is {'beta': 0.1}, which cannot be merged here"),
    "tied weights": (config(ensure_weight_tying=True), "ensure_weight_tying is True, which cannot be merged"),
    "a later setting": (config(use_novelty=True), "use_novelty is True, which cannot be merged here"),
    "a list": (
        lambda folder: (folder / "adapter_config.json").write_text("[]", "utf-8"),
        "expected a JSON object",
    ),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "is not a LoRA adapter"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no adapter_model"),
    "cut off": (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"1"), "cannot be read"),
    "half": (
        tensors(lambda t: {name: v for name, v in t.items() if "lora_B" not in name}),
        "has only one factor for",
    ),
    "another model": (
        tensors(lambda t: {name.replace("layers.0", "layers.99"): v for name, v in t.items()}),
        "it was made for another model",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED)
def test_adapters_that_cannot_be_merged(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    shutil.copytree(HERE / "lora" / "patterns", tmp_path / "adapter")
    spoil(tmp_path / "adapter")
    with pytest.raises(CheckpointError) as caught:
        merge(build(SHAPES[0]), tmp_path / "adapter")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_adapter_beside_a_model_is_not_ignored(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "both"
    shutil.copytree(checkpoint, folder)
    for file in (HERE / "lora" / "plain").iterdir():
        shutil.copy(file, folder)
    assert export_model.main([str(folder), str(tmp_path / "out")]) == 1
    assert "holds a LoRA adapter beside the model: move adapter_config.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
