"""Puts the trained parts together as a Hugging Face checkpoint in float16.

    python assemble.py --codec WORK/codec/decoder.pt --lm WORK/lm/final.pt \\
        --tokenizer WORK/tokenizer --out models/demo

Writes config.json, generation_config.json, model.safetensors, tokenizer.json and tokenizer_config.json.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch
from codec import load_checkpoint
from lm import build_model
from transformers import MusicgenForConditionalGeneration, T5TokenizerFast

LARGEST_MB = 30
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def build_from_checkpoints(
    codec_path: Path, lm_path: Path, tokenizer_path: Path
) -> MusicgenForConditionalGeneration:
    """The model in float32, its sizes read off the checkpoints."""
    weights = torch.load(lm_path)["model"]
    vocabulary = len(T5TokenizerFast.from_pretrained(tokenizer_path))
    width = weights["decoder.model.decoder.embed_tokens.0.weight"].shape[1]
    layers = len(
        {name for name in weights if name.startswith("decoder.") and name.endswith("self_attn.k_proj.weight")}
    )
    text_width = weights["text_encoder.shared.weight"].shape[1]
    model = build_model(load_checkpoint(codec_path), vocabulary, width, layers, text_width=text_width)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    wrong = [
        name for name in missing if not name.startswith("audio_encoder.") and "embed_positions" not in name
    ]
    wrong = [name for name in wrong if name != "text_encoder.encoder.embed_tokens.weight"]
    if wrong or unexpected:
        raise SystemExit(f"{lm_path} does not fit: missing {wrong}, unexpected {unexpected}")
    return model.eval()


def assemble(codec_path: Path, lm_path: Path, tokenizer_path: Path, out: Path) -> float:
    """Writes the checkpoint; returns its size in MB."""
    model = build_from_checkpoints(codec_path, lm_path, tokenizer_path).half()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        model.save_pretrained(folder)
        T5TokenizerFast.from_pretrained(tokenizer_path).save_pretrained(folder)
        names = ["config.json", "generation_config.json", "model.safetensors", *TOKENIZER_FILES]
        for name in names:
            shutil.move(Path(folder) / name, out / name)
            (out / name).chmod(0o644)
    size_mb = sum((out / name).stat().st_size for name in names) / 1e6
    if size_mb > LARGEST_MB:
        raise SystemExit(f"{out} has {size_mb:.1f} MB, more than {LARGEST_MB}")
    return size_mb


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("codec", "lm", "tokenizer", "out"):
        parser.add_argument("--" + name, type=Path, required=True)
    arguments = parser.parse_args()
    size = assemble(arguments.codec, arguments.lm, arguments.tokenizer, arguments.out)
    print(f"{arguments.out}: {size:.1f} MB")
