"""The checkpoint that is shipped: size, layout, and that transformers can use it."""

import json
from pathlib import Path

import pytest
import torch
from transformers import MusicgenForConditionalGeneration, T5TokenizerFast

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
FILES = "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json".split()
pytestmark = pytest.mark.skipif(
    not (DEMO / "model.safetensors").exists(),
    reason="models/demo holds no weights yet; scripts/demo_model/README.md says how they are made",
)


@pytest.fixture(scope="module")
def model():
    return MusicgenForConditionalGeneration.from_pretrained(DEMO, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return T5TokenizerFast.from_pretrained(DEMO)


def test_files_and_size():
    assert all((DEMO / name).is_file() for name in FILES)
    assert sum(path.stat().st_size for path in DEMO.iterdir()) <= 30e6


def test_conventions(model):
    decoder, codec = model.config.decoder, model.config.audio_encoder
    assert decoder.vocab_size == codec.codebook_size == decoder.pad_token_id
    assert model.generation_config.decoder_start_token_id == decoder.pad_token_id
    assert model.generation_config.guidance_scale == 3.0
    assert decoder.num_codebooks == len(model.audio_encoder.quantizer.layers)
    assert codec.sampling_rate == 16_000 and codec.frame_rate == 25
    clip_s = 16  # of those it was trained on; a bundle's window_s
    assert model.generation_config.max_length == clip_s * codec.frame_rate + decoder.num_codebooks


def test_weights_are_finite_and_trained(model):
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    for layer in model.audio_encoder.quantizer.layers:
        assert layer.codebook.embed.std() > 0


def test_generate(model, tokenizer):
    torch.manual_seed(0)
    inputs = tokenizer(["fast piano music", "dark organ"], padding=True, return_tensors="pt")
    audio = model.generate(**inputs, max_new_tokens=30)
    assert audio.shape[:2] == (2, 1)
    assert audio.shape[2] == (30 - model.config.decoder.num_codebooks + 1) * 640
    assert audio.std() > 0.01


def prompts():
    found = []
    for path in sorted((ROOT / "prompts").glob("*.json")):
        data = json.loads(path.read_text())
        for part in (data, data.get("positive", {}), data.get("negative", {})):
            found += part.get("prompts", []) if isinstance(part, dict) else []
    return [prompt if isinstance(prompt, str) else prompt["text"] for prompt in found]


def test_every_prompt_is_made_of_known_pieces(tokenizer):
    assert len(prompts()) > 500
    for prompt in [*prompts(), "Zebras & quartz: 120 bpm, cafe (live)!", "A FAST SONG"]:
        assert tokenizer.unk_token_id not in tokenizer(prompt).input_ids, prompt


def test_case_does_not_matter(tokenizer):
    assert tokenizer("A FAST Song").input_ids == tokenizer("a fast song").input_ids
