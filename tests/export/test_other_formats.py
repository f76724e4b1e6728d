"""A checkpoint in audiocraft's own format gives the bundle that the same weights give in Hugging Face's.

audiocraft cannot be installed beside this torch: the files are written here as its code lays them out
(audiocraft/utils/export.py; names of audiocraft/models/lm.py, modules/transformer.py, modules/seanet.py).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import MELODY_SHAPES, SHAPES, Shape, build, save  # noqa: E402

from musicsteer import check_checkpoint, export_model  # noqa: E402

LAYER = {
    "self_attn.out_proj": "self_attn.out_proj",
    "encoder_attn.out_proj": "cross_attention.out_proj",
    "self_attn_layer_norm": "norm1",
    "encoder_attn_layer_norm": "norm_cross",
    "final_layer_norm": "norm2",
    "fc1": "linear1",
    "fc2": "linear2",
}


def lm_state(model: Any) -> dict[str, Tensor]:
    """The language model's weights as audiocraft names and joins them."""
    inner, state = model.decoder.model.decoder, {}
    for k in range(model.decoder.num_codebooks):
        state[f"emb.{k}.weight"] = inner.embed_tokens[k].weight
        state[f"linears.{k}.weight"] = model.decoder.lm_heads[k].weight
    for i, layer in enumerate(inner.layers):
        place = f"transformer.layers.{i}"
        for theirs, ours in (("self_attn", "self_attn"), ("encoder_attn", "cross_attention")):
            if hasattr(layer, theirs):
                attention = getattr(layer, theirs)
                parts = [getattr(attention, f"{part}_proj").weight for part in "qkv"]
                state[f"{place}.{ours}.in_proj_weight"] = torch.cat(parts)
        for theirs, ours in LAYER.items():
            if theirs.split(".")[0] in dict(layer.named_children()):
                for name, tensor in layer.get_submodule(theirs).named_parameters():
                    state[f"{place}.{ours}.{name}"] = tensor
    for name, tensor in inner.layer_norm.named_parameters():
        state[f"out_norm.{name}"] = tensor
    for name, part in (("description", "enc_to_dec_proj"), ("self_wav", "audio_enc_to_dec_proj")):
        if hasattr(model, part):
            for key, tensor in getattr(model, part).named_parameters():
                state[f"condition_provider.conditioners.{name}.output_proj.{key}"] = tensor
    if hasattr(model, "audio_enc_to_dec_proj"):
        state["condition_provider.conditioners.self_wav.chroma.spec.window"] = torch.hann_window(16384)
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def codec_state(codec: Any) -> dict[str, Tensor]:
    """EnCodec's weights as audiocraft names them."""
    state = {}
    for name, tensor in codec.state_dict().items():
        name = name.replace(".parametrizations.weight.original0", ".weight_g")
        name = name.replace(".parametrizations.weight.original1", ".weight_v")
        if name.startswith("quantizer"):
            name = name.replace("quantizer.layers", "quantizer.vq.layers").replace("codebook.", "_codebook.")
        elif ".lstm." not in name:
            place = name.split(".conv.")[0]
            is_upwards = "ConvTranspose" in type(codec.get_submodule(place)).__name__
            conv = "convtr" if is_upwards else "conv"
            name = name.replace(".conv.", f".{conv}.{conv}.").replace(".norm.", f".{conv}.norm.")
        if not name.startswith("quantizer"):
            name = name.replace(".layers.", ".model.", 1)
        state[name] = tensor.detach().clone()
    return state


def lm_config(model: Any, shape: Shape) -> dict[str, Any]:
    """xp.cfg of state_dict.bin, as far as it is read."""
    decoder = model.config.decoder
    channels, is_melody = decoder.audio_channels, shape.chroma_length is not None
    codebooks = decoder.num_codebooks
    return {
        "transformer_lm": {
            "dim": decoder.hidden_size,
            "num_heads": decoder.num_attention_heads,
            "num_layers": decoder.num_hidden_layers,
            "hidden_scale": decoder.ffn_dim / decoder.hidden_size,
            "n_q": codebooks,
            "card": decoder.vocab_size,
            "activation": decoder.activation_function,
            "norm_first": True,
            "bias_ff": False,
            "bias_attn": False,
            "bias_proj": False,
            "positional_embedding": "sin",
        },
        "interleave_stereo_codebooks": {"use": channels == 2, "per_timestep": False},
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {"delays": [k // channels for k in range(codebooks)]},
        },
        "fuser": {
            "cross": [] if is_melody else ["description"],
            "prepend": ["self_wav", "description"] if is_melody else [],
            "sum": [],
            "input_interpolate": [],
        },
        "conditioners": {
            "description": {"model": "t5", "t5": {"name": "t5-base"}},
            "self_wav": {
                "model": "chroma_stem",
                "chroma_stem": {"sample_rate": 32000, "n_chroma": 12, "radix2_exp": 14, "argmax": True},
            },
        },
        "classifier_free_guidance": {"inference_coef": 3.0},
        "dataset": {"segment_duration": 30},
    }


def codec_config(codec: Any) -> dict[str, Any]:
    """xp.cfg of compression_state_dict.bin."""
    config = codec.config
    return {
        "encodec": {"sample_rate": config.sampling_rate, "channels": config.audio_channels},
        "seanet": {
            "dimension": config.hidden_size,
            "n_filters": config.num_filters,
            "n_residual_layers": config.num_residual_layers,
            "ratios": list(config.upsampling_ratios),
            "norm": config.norm_type,
            "kernel_size": config.kernel_size,
            "residual_kernel_size": config.residual_kernel_size,
            "last_kernel_size": config.last_kernel_size,
            "dilation_base": config.dilation_growth_rate,
            "causal": config.use_causal_conv,
            "pad_mode": config.pad_mode,
            "true_skip": not config.use_conv_shortcut,
            "compress": config.compress,
            "lstm": config.num_lstm_layers,
            "decoder": {"trim_right_ratio": config.trim_right_ratio},
        },
        "rvq": {"n_q": len(codec.quantizer.layers), "bins": config.codebook_size},
    }


def write(shape: Shape, folder: Path, own_codec: bool = True) -> tuple[Path, Path, Path]:
    """(audiocraft's folder, T5's folder, the checkpoint in Hugging Face's format)."""
    checkpoint, model = save(shape, folder), build(shape)
    package = {"xp.cfg": yaml.safe_dump(lm_config(model, shape)), "best_state": lm_state(model)}
    theirs, t5 = folder / "audiocraft", folder / "t5"
    theirs.mkdir()
    torch.save(package | {"version": "1.4.0", "exported": True}, theirs / "state_dict.bin")
    codec: dict[str, Any] = {"pretrained": "facebook/encodec_32khz"}
    if own_codec:
        config = yaml.safe_dump(codec_config(model.audio_encoder))
        codec = {"xp.cfg": config, "best_state": codec_state(model.audio_encoder)}
    torch.save(codec | {"version": "1.4.0", "exported": True}, theirs / "compression_state_dict.bin")
    model.text_encoder.save_pretrained(t5)
    for name in ("tokenizer.json", "spiece.model"):
        if (checkpoint / name).exists():
            (t5 / name).write_bytes((checkpoint / name).read_bytes())
    return theirs, t5, checkpoint


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text("utf-8"))


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], *MELODY_SHAPES[:2]], ids=lambda shape: shape.name)
def test_the_bundle_is_that_of_the_same_weights(shape: Shape, tmp_path: Path) -> None:
    theirs, t5, checkpoint = write(shape, tmp_path)
    arguments = [str(theirs), str(tmp_path / "a"), "--text-encoder", str(t5), "--name", "same"]
    assert export_model.main(arguments) == 0  # which holds it to transformers as well
    assert export_model.main([str(checkpoint), str(tmp_path / "b"), "--name", "same", "--no-verify"]) == 0
    ours, expected = manifest_of(tmp_path / "a"), manifest_of(tmp_path / "b")
    assert ours["model"].pop("source") == "audiocraft"
    expected["model"].pop("source")
    length = ours["conditioning"].pop("chroma_length", None)
    expected["conditioning"].pop("chroma_length", None)
    assert length == (None if shape.chroma_length is None else 235)
    for section in ours.keys() - {"files", "decoder"}:
        assert ours[section] == expected[section], section
    # Configurations of audiocraft have no such table: transformers' default.
    assert ours["decoder"] == expected["decoder"] | {"max_positions": 2048}
    if shape.chroma_length in (None, 235) and expected["decoder"]["max_positions"] == 2048:
        assert ours["files"] == expected["files"]


def test_a_codec_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, t5, _ = write(SHAPES[0], tmp_path, own_codec=False)
    build(SHAPES[0]).audio_encoder.save_pretrained(tmp_path / "codec")
    arguments = [str(theirs), str(tmp_path / "out"), "--text-encoder", str(t5), "--no-verify"]
    assert export_model.main([*arguments, "--codec", str(tmp_path / "nothing")]) == 1
    assert "nothing cannot be loaded" in (told := capsys.readouterr().err) and "--codec" in told
    assert export_model.main([*arguments, "--codec", str(tmp_path / "codec")]) == 0


def test_check_takes_the_same_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, t5, _ = write(SHAPES[0], tmp_path, own_codec=False)
    build(SHAPES[0]).audio_encoder.save_pretrained(tmp_path / "codec")
    parts = ["--text-encoder", str(t5), "--codec", str(tmp_path / "codec")]
    assert check_checkpoint.main([str(theirs), *parts, "--frames", "4", "--binary", "none"]) == 0
    report = capsys.readouterr().out
    assert "Verdict: the same as transformers." in report and "  ok    token ids " in report


def edit(theirs: Path, change: Any) -> None:
    package = torch.load(theirs / "state_dict.bin", weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    change(config, package["best_state"])
    torch.save(package | {"xp.cfg": yaml.safe_dump(config)}, theirs / "state_dict.bin")


SPOILED = {
    "post-norm": (lambda c, s: c["transformer_lm"].update(norm_first=False), "norm_first is False"),
    "parallel": (
        lambda c, s: c["codebooks_pattern"].update(modeling="parallel"),
        "is parallel",
    ),
    "style": (lambda c, s: c["fuser"].update(prepend=["style"]), "fuser is"),
    "a weight too few": (
        lambda c, s: s.pop("emb.1.weight"),
        "embed_tokens.1.weight",
    ),
    "a weight too many": (lambda c, s: s.update(extra=torch.zeros(1)), "has the weight extra"),
    "another width": (lambda c, s: c["transformer_lm"].update(card=32), "a weight has another shape"),
}


@pytest.mark.parametrize(("change", "message"), SPOILED.values(), ids=SPOILED)
def test_what_is_no_musicgen_is_refused(
    change: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs, t5, _ = write(SHAPES[0], tmp_path)
    edit(theirs, change)
    assert export_model.main([str(theirs), str(tmp_path / "out"), "--text-encoder", str(t5)]) == 1
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1
    assert not (tmp_path / "out").exists()
