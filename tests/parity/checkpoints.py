"""Small random MusicGen checkpoints that are lively: prompts, codes and every bias change what comes out.

With transformers' own initialisation a prompt hardly moves the logits and all EnCodec codebooks are zero, so
that parity would prove nothing. Here every weight is redrawn with a gain, norms and biases included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from torch import nn
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForConditionalGeneration,
    T5Config,
    T5Tokenizer,
)

WORDS = """
a calm piano melody with soft strings slow dark warm bright fast drums and bass energetic happy sad music
guitar synth pad ambient rock jazz funk dance quiet loud tempo rhythm acoustic electronic lo-fi beat
"""


@dataclass(frozen=True)
class Shape:
    """One checkpoint: what differs from the three configurations' common ground."""

    name: str
    decoder: dict[str, Any]
    text: dict[str, Any]
    codec: dict[str, Any]
    seed: int = 0
    gain: float = 1.6
    tokenizer_json: bool = True  # False: only spiece.model, as in older checkpoints
    generation: dict[str, Any] = field(default_factory=dict)
    chroma_length: int | None = None  # of melody checkpoints


SHAPES = [
    Shape(
        "tiny-mono",
        decoder=dict(
            num_hidden_layers=3, hidden_size=48, num_attention_heads=6, ffn_dim=112, num_codebooks=4
        ),
        text=dict(d_model=40, num_heads=5, d_kv=12, d_ff=72, num_layers=2, feed_forward_proj="relu"),
        codec=dict(upsampling_ratios=[5, 4, 2], num_filters=4, hidden_size=24, num_lstm_layers=2),
    ),
    Shape(
        "tiny-stereo",
        decoder=dict(
            num_hidden_layers=2,
            hidden_size=64,
            num_attention_heads=4,
            ffn_dim=96,
            num_codebooks=8,
            audio_channels=2,
            vocab_size=128,
            activation_function="relu",
        ),
        text=dict(d_model=64, num_heads=4, d_kv=16, d_ff=128, num_layers=3, feed_forward_proj="gated-gelu"),
        codec=dict(
            upsampling_ratios=[4, 3],
            num_filters=6,
            hidden_size=16,
            num_lstm_layers=1,
            use_causal_conv=True,
            trim_right_ratio=0.5,
            use_conv_shortcut=True,
            pad_mode="constant",
        ),
        seed=1,
        tokenizer_json=False,
    ),
    Shape(
        "six-codebooks",
        decoder=dict(
            num_hidden_layers=5,
            hidden_size=40,
            num_attention_heads=5,
            ffn_dim=200,
            num_codebooks=6,
            vocab_size=256,
            activation_function="gelu_new",
        ),
        text=dict(d_model=56, num_heads=3, d_kv=10, d_ff=64, num_layers=2, feed_forward_proj="gated-silu"),
        codec=dict(
            upsampling_ratios=[2, 3, 2],
            num_filters=4,
            hidden_size=20,
            num_lstm_layers=3,
            num_residual_layers=2,
            dilation_growth_rate=3,
            compress=1,
            kernel_size=5,
            last_kernel_size=3,
            residual_kernel_size=5,
            pad_mode="replicate",
        ),
        seed=2,
    ),
    Shape(
        "full-vocabulary",
        decoder=dict(
            num_hidden_layers=4,
            hidden_size=96,
            num_attention_heads=3,
            ffn_dim=64,
            num_codebooks=4,
            vocab_size=2048,
            activation_function="silu",
            scale_embedding=True,
        ),
        text=dict(
            d_model=48,
            num_heads=2,
            d_kv=32,
            d_ff=96,
            num_layers=4,
            feed_forward_proj="gelu",
            relative_attention_num_buckets=8,
            relative_attention_max_distance=20,
        ),
        codec=dict(
            upsampling_ratios=[8, 5, 4, 4],
            num_filters=4,
            hidden_size=32,
            norm_type="time_group_norm",
            use_causal_conv=True,
            use_conv_shortcut=True,
        ),
        seed=3,
        generation=dict(guidance_scale=4.5, top_k=100, temperature=0.9),
    ),
    Shape(
        "odd-sizes",
        decoder=dict(
            num_hidden_layers=3,
            hidden_size=45,
            num_attention_heads=3,
            ffn_dim=77,
            num_codebooks=5,
            vocab_size=512,
            activation_function="quick_gelu",
            max_position_embeddings=300,
        ),
        text=dict(
            d_model=30,
            num_heads=2,
            d_kv=7,
            d_ff=50,
            num_layers=2,
            feed_forward_proj="gated-relu",
            tie_word_embeddings=False,
            layer_norm_epsilon=1e-5,
        ),
        codec=dict(
            upsampling_ratios=[3, 2],
            num_filters=4,
            hidden_size=12,
            audio_channels=2,
            kernel_size=6,
            residual_kernel_size=4,
            pad_mode="circular",
        ),
        seed=4,
    ),
]


MELODY_SHAPES = [
    Shape(
        "melody-mono",
        decoder=dict(
            num_hidden_layers=3, hidden_size=48, num_attention_heads=6, ffn_dim=112, num_codebooks=4
        ),
        text=dict(d_model=40, num_heads=5, d_kv=12, d_ff=72, num_layers=2, feed_forward_proj="relu"),
        codec=dict(upsampling_ratios=[5, 4, 2], num_filters=4, hidden_size=24, num_lstm_layers=2),
        seed=5,
        chroma_length=23,
    ),
    Shape(
        "melody-stereo",
        decoder=dict(
            num_hidden_layers=2,
            hidden_size=64,
            num_attention_heads=4,
            ffn_dim=96,
            num_codebooks=8,
            audio_channels=2,
            vocab_size=128,
            activation_function="relu",
            max_position_embeddings=300,
        ),
        text=dict(d_model=64, num_heads=4, d_kv=16, d_ff=128, num_layers=3, feed_forward_proj="gated-gelu"),
        codec=dict(upsampling_ratios=[4, 3], num_filters=6, hidden_size=16, num_lstm_layers=1),
        seed=6,
        tokenizer_json=False,
        chroma_length=235,
    ),
    Shape(
        "melody-narrow",  # as wide as chroma: nothing is projected
        decoder=dict(
            num_hidden_layers=4,
            hidden_size=12,
            num_attention_heads=3,
            ffn_dim=40,
            num_codebooks=5,
            vocab_size=256,
            activation_function="gelu_new",
        ),
        text=dict(d_model=12, num_heads=3, d_kv=10, d_ff=64, num_layers=2, feed_forward_proj="gated-silu"),
        codec=dict(upsampling_ratios=[2, 3, 2], num_filters=4, hidden_size=20, num_lstm_layers=1),
        seed=7,
        gain=1.9,
        chroma_length=7,
    ),
]


def musicgen_small_shape() -> Shape:
    """The sizes of facebook/musicgen-small with its 32 kHz codec: 2.3 GB of random weights."""
    return Shape(
        "musicgen-small-shape",
        decoder=dict(vocab_size=2048),
        text=dict(vocab_size=32128, d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12),
        codec=dict(
            sampling_rate=32000,
            upsampling_ratios=[8, 5, 4, 4],
            num_filters=64,
            hidden_size=128,
            num_lstm_layers=2,
        ),
        gain=1.2,
    )


def configuration(shape: Shape, text_vocabulary: int) -> MusicgenConfig | MusicgenMelodyConfig:
    """The three configurations of a shape, made to fit each other."""
    decoder = dict(vocab_size=64) | shape.decoder
    vocabulary = decoder["vocab_size"]
    decoder |= dict(pad_token_id=vocabulary, bos_token_id=vocabulary, dropout=0.0)
    codec = dict(sampling_rate=16000, use_causal_conv=False, use_conv_shortcut=False) | shape.codec
    codec["codebook_size"] = vocabulary
    rate = math.ceil(codec["sampling_rate"] / math.prod(codec["upsampling_ratios"]))
    codebooks = decoder.get("num_codebooks", 4) // decoder.get("audio_channels", 1)
    codec["target_bandwidths"] = [(codebooks + 0.25) * rate * math.log2(vocabulary) / 1000]
    text = dict(vocab_size=text_vocabulary, dropout_rate=0.0) | shape.text
    sections = dict(text_encoder=T5Config(**text).to_dict(), audio_encoder=EncodecConfig(**codec).to_dict())
    if shape.chroma_length is None:
        return MusicgenConfig(**sections, decoder=MusicgenDecoderConfig(**decoder).to_dict())
    return MusicgenMelodyConfig(
        **sections,
        decoder=MusicgenMelodyDecoderConfig(**decoder).to_dict(),
        chroma_length=shape.chroma_length,
    )


@torch.no_grad()
def enliven(model: Any, seed: int, gain: float) -> None:
    """Redraw every weight: matrices by fan-in with a gain, norms around 1, biases at random."""
    draw = torch.Generator().manual_seed(seed)

    def normal(tensor: torch.Tensor, std: float, mean: float = 0.0) -> None:
        tensor.normal_(mean, std, generator=draw)

    for name, module in model.named_modules():
        kind = type(module).__name__
        weight = getattr(module, "weight", None)
        if kind in ("LayerNorm", "GroupNorm", "T5LayerNorm"):
            normal(weight, 0.3, 1.0)
        elif isinstance(module, nn.Linear):
            normal(weight, gain / math.sqrt(module.in_features))
            if name.endswith("SelfAttention.q"):  # T5 has no scale in its attention: the queries carry it
                weight.div_(math.sqrt(model.config.text_encoder.d_kv))
        elif isinstance(module, nn.Embedding):
            normal(weight, 1.0)
        elif isinstance(module, nn.LSTM):
            for _, parameter in module.named_parameters():
                normal(parameter, 1.0 / math.sqrt(module.hidden_size))
        elif kind == "EncodecEuclideanCodebook":
            # Finer and finer tables, as in a trained quantiser.
            stage = int(name.split(".layers.")[1].split(".")[0])
            normal(module.embed, 0.5 * 0.7**stage)
        if getattr(module, "bias", None) is not None and isinstance(module.bias, torch.Tensor):
            normal(module.bias, 0.2)
    for name, parameter in model.named_parameters():
        if name.endswith("weight.original0"):  # the norm of a weight-normed convolution
            parameter.mul_(1.2 + 0.8 * torch.rand(parameter.shape, generator=draw))


def train_tokenizer(folder: Path) -> None:
    """Write a small spiece.model with T5's special ids and the usual normaliser."""
    corpus = folder / "corpus.txt"
    words = WORDS.split()
    corpus.write_text("\n".join(" ".join(words[i:] + words[:i]) for i in range(len(words))), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "spiece"),
        vocab_size=120,
        hard_vocab_limit=False,
        character_coverage=1.0,
        num_threads=1,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    corpus.unlink()
    (folder / "spiece.vocab").unlink()


def build(shape: Shape) -> MusicgenForConditionalGeneration | MusicgenMelodyForConditionalGeneration:
    """The model alone, in float32 and evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(shape.seed)  # for the directions of weight-normed convolutions, which enliven keeps
        config = configuration(shape, shape.text.get("vocab_size", 260))
        is_melody = isinstance(config, MusicgenMelodyConfig)
        kind = MusicgenMelodyForConditionalGeneration if is_melody else MusicgenForConditionalGeneration
        model = kind(config).eval()
    enliven(model, shape.seed, shape.gain)
    vocabulary = model.config.decoder.vocab_size
    generation = dict(decoder_start_token_id=vocabulary, pad_token_id=vocabulary, do_sample=True)
    for key, value in (generation | shape.generation).items():
        setattr(model.generation_config, key, value)
    return model


def save(shape: Shape, cache: Path) -> Path:
    """Write the checkpoint as CACHE/NAME in Hugging Face format, tokenizer included; returns the folder."""
    folder = Path(cache) / shape.name
    if not (folder / "config.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        train_tokenizer(folder)
        if shape.tokenizer_json:
            T5Tokenizer.from_pretrained(folder, extra_ids=0).backend_tokenizer.save(
                str(folder / "tokenizer.json")
            )
            (folder / "spiece.model").unlink()
        build(shape).save_pretrained(folder)
    return folder
