"""A checkpoint in audiocraft's own format gives the bundle that the same weights give in Hugging Face's.

audiocraft cannot be installed beside this torch: the files are written here as its code lays them out
(audiocraft/utils/export.py; names of audiocraft/models/lm.py, modules/transformer.py, modules/seanet.py).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
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
    """xp.cfg of state_dict.bin: the model's part of audiocraft's config/ for musicgen_base_32khz and
    musicgen_melody_32khz, with the sizes of `shape`. Settings refer to each other, as there."""
    decoder = model.config.decoder
    channels, is_melody = decoder.audio_channels, shape.chroma_length is not None
    codebooks = decoder.num_codebooks
    description = {
        "model": "t5",
        "t5": {"name": "t5-base", "finetune": False, "word_dropout": 0.3, "normalize_text": False},
    }
    melody = {
        "model": "chroma_stem",
        "chroma_stem": {
            "sample_rate": "${sample_rate}",
            "n_chroma": 12,
            "radix2_exp": 14,
            "argmax": True,
            "match_len_on_eval": False,
            "eval_wavs": None,
            "n_eval_wavs": 100,
            "cache_path": None,
        },
    }
    return {
        "device": "cuda",
        "dora": {"dir": "/checkpoint/${oc.env:USER}/experiments/audiocraft/outputs"},
        "dataset": {"batch_size": 192, "segment_duration": 30, "min_segment_ratio": 0.8},
        "solver": "musicgen",
        "sample_rate": 32000,
        "channels": channels,
        "compression_model_checkpoint": "//pretrained/facebook/encodec_32khz",
        "compression_model_n_q": None,
        "tokens": {"padding_with_special_token": False},
        "interleave_stereo_codebooks": {"use": channels == 2, "per_timestep": False},
        "generate": {"audio": {"format": "wav", "sample_rate": "${sample_rate}"}},
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {},
        "fuser": {
            "cross_attention_pos_emb": False,
            "cross_attention_pos_emb_scale": 1,
            "sum": [],
            "prepend": ["self_wav", "description"] if is_melody else [],
            "cross": [] if is_melody else ["description"],
            "input_interpolate": [],
        },
        "conditioners": ({"self_wav": melody} if is_melody else {}) | {"description": description},
        "lm_model": "transformer_lm",
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {
                "delays": [k // channels for k in range(codebooks)],
                "flatten_first": 0,
                "empty_initial": 0,
            },
            "unroll": {"flattening": [0, 1, 2, 3], "delays": [0, 0, 0, 0]},
            "music_lm": {"group_by": 2},
            "coarse_first": {"delays": [0, 0, 0]},
        },
        "transformer_lm": {
            "dim": decoder.hidden_size,
            "num_heads": decoder.num_attention_heads,
            "num_layers": decoder.num_hidden_layers,
            "hidden_scale": decoder.ffn_dim / decoder.hidden_size,
            "n_q": codebooks,
            "card": decoder.vocab_size,
            "dropout": 0.0,
            "emb_lr": None,
            "activation": decoder.activation_function,
            "norm_first": True,
            "bias_ff": False,
            "bias_attn": False,
            "bias_proj": False,
            "past_context": None,
            "causal": True,
            "custom": False,
            "memory_efficient": True,
            "attention_as_float32": False,
            "layer_scale": None,
            "positional_embedding": "sin",
            "xpos": False,
            "checkpointing": "none",
            "weight_init": "gaussian",
            "depthwise_init": "current",
            "zero_bias_init": True,
            "norm": "layer_norm",
            "cross_attention": False,
            "qk_layer_norm": False,
            "qk_layer_norm_cross": False,
            "attention_dropout": None,
            "kv_repeat": 1,
            "two_step_cfg": False,
        },
    }


def codec_config(codec: Any) -> dict[str, Any]:
    """xp.cfg of compression_state_dict.bin, as of encodec_musicgen_32khz."""
    config = codec.config
    return {
        "device": "cuda",
        "optim": {"ema": {"use": True, "device": "${device}"}},
        "sample_rate": config.sampling_rate,
        "channels": config.audio_channels,
        "compression_model": "encodec",
        "encodec": {
            "autoencoder": "seanet",
            "quantizer": "rvq",
            "sample_rate": "${sample_rate}",
            "channels": "${channels}",
            "causal": config.use_causal_conv,
            "renormalize": False,
        },
        "seanet": {
            "dimension": config.hidden_size,
            "channels": "${channels}",
            "causal": "${encodec.causal}",
            "n_filters": config.num_filters,
            "n_residual_layers": config.num_residual_layers,
            "ratios": list(config.upsampling_ratios),
            "activation": "ELU",
            "activation_params": {"alpha": 1.0},
            "norm": config.norm_type,
            "norm_params": {},
            "kernel_size": config.kernel_size,
            "residual_kernel_size": config.residual_kernel_size,
            "last_kernel_size": config.last_kernel_size,
            "dilation_base": config.dilation_growth_rate,
            "pad_mode": config.pad_mode,
            "true_skip": not config.use_conv_shortcut,
            "compress": config.compress,
            "lstm": config.num_lstm_layers,
            "disable_norm_outer_blocks": 0,
            "decoder": {
                "trim_right_ratio": config.trim_right_ratio,
                "final_activation": None,
                "final_activation_params": None,
            },
            "encoder": {},
        },
        "rvq": {
            "n_q": len(codec.quantizer.layers),
            "q_dropout": False,
            "bins": config.codebook_size,
            "decay": 0.99,
            "kmeans_init": True,
            "kmeans_iters": 50,
            "threshold_ema_dead_code": 2,
            "orthogonal_reg_weight": 0.0,
            "orthogonal_reg_active_codes_only": False,
        },
        "no_quant": {},
    }


def to_yaml(config: dict[str, Any]) -> str:
    """As OmegaConf.to_yaml writes it."""
    return yaml.safe_dump(config, default_flow_style=False, allow_unicode=True, sort_keys=False)


def write(shape: Shape, folder: Path, own_codec: bool = True) -> tuple[Path, Path, Path]:
    """(audiocraft's folder, T5's folder, the checkpoint in Hugging Face's format)."""
    checkpoint, model = save(shape, folder), build(shape)
    package = {"xp.cfg": to_yaml(lm_config(model, shape)), "best_state": lm_state(model)}
    theirs, t5 = folder / "audiocraft", folder / "t5"
    theirs.mkdir()
    torch.save(package | {"version": "1.4.0", "exported": True}, theirs / "state_dict.bin")
    codec: dict[str, Any] = {"pretrained": "facebook/encodec_32khz"}
    if own_codec:
        config = to_yaml(codec_config(model.audio_encoder))
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


def test_a_codec_in_place_of_a_missing_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, t5, _ = write(SHAPES[0], tmp_path)
    build(SHAPES[0]).audio_encoder.save_pretrained(tmp_path / "codec")
    (theirs / "compression_state_dict.bin").unlink()
    arguments = [str(theirs), str(tmp_path / "out"), "--text-encoder", str(t5), "--no-verify"]
    assert export_model.main(arguments) == 1
    assert "compression_state_dict.bin is missing; name a codec with --codec" in capsys.readouterr().err
    assert export_model.main([*arguments, "--codec", str(tmp_path / "codec")]) == 0


@pytest.mark.parametrize("own_codec", [True, False])
def test_a_hub_id_in_this_format(own_codec: bool, tmp_path: Path) -> None:
    """From the cache, where a download puts it; there is no network here."""
    theirs, t5, _ = write(SHAPES[0], tmp_path)
    model = tmp_path / "hub" / "models--someone--tune"
    model.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc", "utf-8")
    (theirs / "README.md").write_text("---\nlicense: mit\n---\n", "utf-8")
    (model / "snapshots").mkdir()
    theirs.rename(model / "snapshots" / "abc")
    extra = []
    if not own_codec:
        (model / "snapshots" / "abc" / "compression_state_dict.bin").unlink()
        build(SHAPES[0]).audio_encoder.save_pretrained(tmp_path / "codec")
        extra = ["--codec", str(tmp_path / "codec")]
    arguments = ["someone/tune", "out", "--text-encoder", str(t5), "--no-verify", *extra]
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "PYTHONPATH": str(ROOT / "src" / "python"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "musicsteer.export_model", *arguments],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    found = manifest_of(tmp_path / "out")["model"]
    assert (found["source"], found["licence"]) == ("someone/tune", "MIT")


def edit(theirs: Path, change: Any, file: str = "state_dict.bin") -> None:
    package = torch.load(theirs / file, weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    change(config, package["best_state"])
    torch.save(package | {"xp.cfg": to_yaml(config)}, theirs / file)


def lm(**settings: Any) -> Any:
    return lambda c, s: c["transformer_lm"].update(settings)


def without(name: str) -> Any:
    return lambda c, s: c.pop(name)


SPOILED = {
    "post-norm": (lm(norm_first=False), "transformer_lm.norm_first is False; MusicGen has True"),
    "another norm": (lm(norm="rms_norm"), "transformer_lm.norm is 'rms_norm'; MusicGen has 'layer_norm'"),
    "a scale": (lm(positional_scale=0.5), "transformer_lm.positional_scale is 0.5; MusicGen has 1"),
    "a period": (lm(max_period=100), "transformer_lm.max_period is 100; MusicGen has 10000"),
    "rotary": (lm(positional_embedding="rope"), "transformer_lm.positional_embedding is 'rope'"),
    "both ways": (lm(causal=False), "transformer_lm.causal is False; MusicGen has True"),
    "biases": (lm(bias_ff=True), "transformer_lm.bias_ff is True, which MusicGen"),
    "a window": (lm(past_context=100), "transformer_lm.past_context is 100, which MusicGen"),
    "gated": (
        lm(activation="swiglu"),
        "transformer_lm.activation is 'swiglu'; MusicGen has 'gelu' or 'relu'",
    ),
    "a later setting": (lm(mixture=2), "transformer_lm.mixture is 2, which MusicGen"),
    "no width": (lambda c, s: c["transformer_lm"].pop("dim"), "xp.cfg lacks transformer_lm.dim"),
    "MAGNeT": (
        lambda c, s: c.update(lm_model="transformer_lm_magnet"),
        "lm_model is 'transformer_lm_magnet'",
    ),
    "positions of text": (
        lambda c, s: c["fuser"].update(cross_attention_pos_emb=True),
        "fuser.cross_attention_pos_emb is True, which MusicGen",
    ),
    "lemmas": (
        lambda c, s: c["conditioners"]["description"]["t5"].update(normalize_text=True),
        "conditioners.description.t5.normalize_text is True, which MusicGen",
    ),
    "a trained T5": (
        lambda c, s: c["conditioners"]["description"]["t5"].update(finetune=True),
        "conditioners.description.t5.finetune is True, which MusicGen",
    ),
    "flattened": (
        lambda c, s: c["codebooks_pattern"]["delay"].update(flatten_first=2),
        "codebooks_pattern.delay.flatten_first is 2, which MusicGen",
    ),
    "by step": (
        lambda c, s: c["interleave_stereo_codebooks"].update(per_timestep=True),
        "interleave_stereo_codebooks.per_timestep is True, which MusicGen",
    ),
    "no dataset": (without("dataset"), "xp.cfg lacks dataset.segment_duration"),
    "no length": (
        lambda c, s: c["dataset"].update(segment_duration=None),
        "xp.cfg lacks dataset.segment_duration",
    ),
    "a length of text": (
        lambda c, s: c["dataset"].update(segment_duration="long"),
        "dataset.segment_duration is 'long'; expected a number above 0",
    ),
    "no fuser": (without("fuser"), "fuser is {}"),
    "no model": (without("transformer_lm"), "xp.cfg lacks transformer_lm."),
    "no pattern": (without("codebooks_pattern"), "xp.cfg lacks codebooks_pattern.modeling"),
    "a reference to nothing": (
        lambda c, s: c["dataset"].update(segment_duration="${nothing}"),
        "${nothing} in xp.cfg refers to a setting without a value",
    ),
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
    "another width": (lm(card=32), "a weight has another shape"),
}
CODEC_SPOILED = {
    "another activation": (
        lambda c, s: c["seanet"].update(activation="Snake"),
        "seanet.activation is 'Snake'",
    ),
    "norms": (
        lambda c, s: c["seanet"].update(disable_norm_outer_blocks=2),
        "seanet.disable_norm_outer_blocks is 2, which MusicGen",
    ),
    "a last activation": (
        lambda c, s: c["seanet"]["decoder"].update(final_activation="Tanh"),
        "seanet.decoder.final_activation is 'Tanh', which MusicGen",
    ),
    "a smaller encoder": (
        lambda c, s: c["seanet"]["encoder"].update(n_filters=2),
        "seanet.encoder.n_filters is 2, which MusicGen",
    ),
    "DAC": (lambda c, s: c.update(compression_model="dac"), "compression_model is 'dac'"),
    "no sizes": (without("rvq"), "xp.cfg lacks rvq.bins"),
}
BOTH = {name: (*case, "state_dict.bin") for name, case in SPOILED.items()} | {
    f"codec: {name}": (*case, "compression_state_dict.bin") for name, case in CODEC_SPOILED.items()
}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    theirs, t5, _ = write(SHAPES[0], tmp_path_factory.mktemp("written"))
    return theirs, t5


def refused(theirs: Path, t5: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a folder is refused."""
    assert export_model.main([str(theirs), str(out), "--text-encoder", str(t5)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and not out.exists()
    return told


@pytest.mark.parametrize(("change", "message", "file"), BOTH.values(), ids=BOTH)
def test_what_is_no_musicgen_is_refused(
    written: tuple[Path, Path],
    change: Any,
    message: str,
    file: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = tmp_path / "audiocraft"
    shutil.copytree(written[0], theirs)
    edit(theirs, change, file)
    assert message in refused(theirs, written[1], tmp_path / "out", capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xp.cfg": "just text"}, "xp.cfg holds no settings"),
        ({"xp.cfg": "a: [1"}, "xp.cfg is not YAML"),
        ({"best_state": {"model": {}}}, "best_state holds no weights by name: export it with audiocraft"),
    ],
)
def test_other_contents_are_refused(
    written: tuple[Path, Path],
    change: Any,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs = tmp_path / "audiocraft"
    shutil.copytree(written[0], theirs)
    package = torch.load(theirs / "state_dict.bin", weights_only=True)
    torch.save(package | change, theirs / "state_dict.bin")
    assert message in refused(theirs, written[1], tmp_path / "out", capsys)


def test_settings_of_a_melody_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, t5, _ = write(MELODY_SHAPES[0], tmp_path)
    edit(theirs, lambda c, s: c["dataset"].update(segment_duration=12.5))
    assert (
        export_model.main([str(theirs), str(tmp_path / "a"), "--text-encoder", str(t5), "--no-verify"]) == 0
    )
    conditioning = manifest_of(tmp_path / "a")["conditioning"]
    assert conditioning["chroma_length"] == 98  # 1 + 12.5 * 32000 // 4096
    assert conditioning["chroma"]["longest_s"] == 13
    capsys.readouterr()
    edit(theirs, lambda c, s: c["conditioners"]["self_wav"]["chroma_stem"].pop("argmax"))
    assert "chroma_stem.argmax is off" in refused(theirs, t5, tmp_path / "out", capsys)
