"""Convert a MusicGen checkpoint to a model bundle, which musicsteer loads.

    musicsteer export facebook/musicgen-small out/musicgen-small
    musicsteer export demo out/demo

The bundle is a folder: TorchScript modules, the tokenizer and a manifest (docs/formats.md).
"""

from __future__ import annotations

import argparse
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from torch import Tensor, nn

from musicsteer.command_parser import command_parser
from musicsteer.download import announce_download
from musicsteer.torchscript.bundle import (
    BundleError,
    check_space,
    fresh_types,
    new_bundle,
    save_script,
    write_manifest,
)
from musicsteer.torchscript.checkpoint import (
    NO_EXTRAS,
    Checkpoint,
    CheckpointError,
    Extras,
    one_line,
    read_checkpoint,
    weights_sha256,
)
from musicsteer.torchscript.codec import PRECISIONS as CODEC_PRECISIONS
from musicsteer.torchscript.codec import Codec
from musicsteer.torchscript.common import UnsupportedCheckpoint
from musicsteer.torchscript.decoder import Decoder
from musicsteer.torchscript.directions import copy_directions
from musicsteer.torchscript.layer_loop import Modules
from musicsteer.torchscript.parity import Difference, compare
from musicsteer.torchscript.parity_case import make_case
from musicsteer.torchscript.precision import PRECISIONS, lower
from musicsteer.torchscript.prefix_decoder import PrefixDecoder
from musicsteer.torchscript.reference import reference
from musicsteer.torchscript.replay import replay
from musicsteer.torchscript.source import resolve_source
from musicsteer.torchscript.text_encoder import TextEncoder

VERSION = "0.1.0"
# Of the largest sample; random weights round more coarsely than trained ones.
CODEC_BF16_BOUND = 0.1
# What --precision is of; the codec has its own.
LOWERED = ("text_encoder.pt", "decoder.pt")
# Of published MusicGen.
DEFAULT_WINDOW_S = 30
PRECISION_HELP = (
    "of the decoder's and the text encoder's matrices: f32 matches transformers; bf16 halves what "
    "a step reads, for processors with bfloat16 instructions; int8 is the fastest and smallest (default: f32)"
)
# Of sizes, as src/bundle/manifest.cpp has them; other sizes begin at 1.
RANGES = {
    "start_token": (0, 1 << 20),
    "lstm_layers": (0, 1 << 20),
    "channels": (1, 2),
    "fft_size": (16, 1 << 20),
    "hop_length": (1, 1 << 20),
    "sample_rate_hz": (1, 1_000_000),
}
LARGEST = 1 << 24
# model_type of a checkpoint -> its decoder, and what a reader has to know how to do
DECODERS: dict[str, Any] = {"musicgen": Decoder, "musicgen_melody": PrefixDecoder}
CAPABILITY = {"musicgen": "cross-attention-text", "musicgen_melody": "prefix-melody-text"}


def delays(num_codebooks: int, channels: int) -> list[int]:
    """Frames by which each codebook lags: one more for each, and the two of a stereo pair together."""
    return [codebook // channels for codebook in range(num_codebooks)]


def start_token(model: Any) -> int:
    """The token before the first frame, which also fills the delay pattern.

    Raises:
        UnsupportedCheckpoint: none is given, or the embeddings have no row for it.
    """
    config = model.config.decoder
    token = model.generation_config.decoder_start_token_id
    if not isinstance(token, int) or not 0 <= token <= config.vocab_size:
        raise UnsupportedCheckpoint(f"decoder_start_token_id is {token}, outside 0..{config.vocab_size}")
    return token


def decoder_section(model: Any) -> dict[str, Any]:
    """The manifest's sizes of the decoder."""
    config = model.config.decoder
    return {
        "num_layers": config.num_hidden_layers,
        "hidden_size": config.hidden_size,
        "num_heads": config.num_attention_heads,
        "head_size": config.hidden_size // config.num_attention_heads,
        "ffn_size": config.ffn_dim,
        "activation": config.activation_function,
        "num_codebooks": config.num_codebooks,
        "codebook_size": config.vocab_size,
        "start_token": start_token(model),
        "max_positions": config.max_position_embeddings,
        "delays": delays(config.num_codebooks, config.audio_channels),
        "channels": config.audio_channels,
    }


def codec_section(model: Any) -> dict[str, Any]:
    """The manifest's sizes of the codec.

    Raises:
        UnsupportedCheckpoint: the decoder predicts tokens that the codec lacks.
    """
    config, decoder = model.config.audio_encoder, model.config.decoder
    if decoder.vocab_size > config.codebook_size:
        raise UnsupportedCheckpoint(
            f"decoder.vocab_size {decoder.vocab_size} exceeds codebook_size {config.codebook_size}"
        )
    if decoder.audio_channels == 2 and (config.audio_channels != 1 or decoder.num_codebooks % 2):
        raise UnsupportedCheckpoint(
            f"decoder.audio_channels is 2 with {decoder.num_codebooks} codebooks and a codec of "
            f"{config.audio_channels} channels; stereo needs pairs of codebooks and a mono codec"
        )
    frame_rate = config.sampling_rate / config.hop_length
    return {
        "sample_rate_hz": config.sampling_rate,
        "frame_rate_hz": int(frame_rate) if frame_rate.is_integer() else frame_rate,
        "hop_length": config.hop_length,
        "num_codebooks": decoder.num_codebooks // decoder.audio_channels,
        "codebook_size": config.codebook_size,
        "channels": config.audio_channels,
        "lstm_layers": config.num_lstm_layers,
        "lstm_width": config.num_filters * 2 ** len(config.upsampling_ratios),
    }


def conditioning_section(checkpoint: Checkpoint) -> dict[str, Any]:
    """How the model gets its text, and a melody if it takes one."""
    config = checkpoint.model.config
    width = {"text_hidden_size": config.text_encoder.d_model}
    if config.model_type == "musicgen":
        return {"type": "cross", **width}
    return {
        "type": "prefix",
        **width,
        "num_chroma": config.num_chroma,
        "chroma_length": config.chroma_length,
        "chroma": checkpoint.chroma,
    }


def check_sizes(section: str, sizes: dict[str, Any]) -> None:
    """Refuse what the program would refuse in the manifest.

    Raises:
        UnsupportedCheckpoint: a size is not a whole number in its range.
    """
    for key, value in sizes.items():
        if key in ("type", "activation", "delays", "frame_rate_hz"):
            continue
        if isinstance(value, dict):
            check_sizes(f"{section}.{key}", value)
            continue
        least, most = RANGES.get(key, (1, LARGEST))
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise UnsupportedCheckpoint(
                f"{section}.{key} is {value!r}; expected a whole number from {least} to {most}"
            )


def window_s(max_length: int | None, frame_rate_hz: float) -> int:
    """Seconds that the model was trained on: the whole ones of its generation_config.json's `max_length`.

    transformers counts delays in it: 204 columns at 25 frames a second are 8 s. Meta's models say 1500 at 50.
    """
    return int((max_length or 0) / frame_rate_hz) or DEFAULT_WINDOW_S


def describe(
    checkpoint: Checkpoint, name: str | None, precision: str, codec_precision: str = "f32"
) -> dict[str, Any]:
    """The manifest without the records of files.

    Raises:
        UnsupportedCheckpoint: the configuration cannot be expressed.
    """
    model = checkpoint.model
    text = model.config.text_encoder
    sections = {
        "decoder": decoder_section(model),
        "codec": codec_section(model),
        "conditioning": conditioning_section(checkpoint),
    }
    for section, sizes in sections.items():
        check_sizes(section, sizes)
    defaults = {"guidance_scale": 3.0, "top_k": 250, "temperature": 1.0}
    eos = text.eos_token_id
    return {
        "format": "musicsteer-bundle",
        "format_version": 5,
        "oldest_reader": 5,
        "capabilities": [CAPABILITY[model.config.model_type], "codec-encode"],
        "model": {
            "name": name or checkpoint.source.rsplit("/", 1)[-1],
            "source": checkpoint.source,
            "architecture": type(model).__name__,
            "weights_sha256": weights_sha256(model),
            "licence": checkpoint.licence,
            "licence_note": checkpoint.licence_note,
        },
        "decoder": sections["decoder"],
        "conditioning": sections["conditioning"],
        "text_encoder": {
            "vocab_size": text.vocab_size,
            "pad_token_id": text.pad_token_id if text.pad_token_id is not None else 0,
            "eos_token_id": eos if isinstance(eos, int) else 1,
        },
        "codec": sections["codec"],
        "window_s": window_s(checkpoint.max_length, sections["codec"]["frame_rate_hz"]),
        "generation_defaults": defaults | checkpoint.generation,
        "precision": {"decoder": precision, "text_encoder": precision, "codec": codec_precision},
        "versions": {
            "musicsteer": VERSION,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
    }


def build_modules(model: Any, codec_precision: str = "f32") -> dict[str, nn.Module]:
    """Our modules on the weights of `model`, by file name."""
    return {
        "text_encoder.pt": TextEncoder.from_hf(model),
        "decoder.pt": DECODERS[model.config.model_type].from_hf(model),
        "codec.pt": Codec.from_hf(model, codec_precision),
    }


def is_rounding(line: Difference, codec_precision: str) -> bool:
    """Whether samples differ by no more than a codec in bfloat16 rounds (1 % on trained weights)."""
    return codec_precision == "bf16" and line.name == "codec.samples" and line.share <= CODEC_BF16_BOUND


def check(expected: dict[str, Tensor], found: dict[str, Tensor], codec_precision: str) -> None:
    """Refuse a bundle that computes something else.

    Raises:
        BundleError: naming the first tensor that differs.
    """
    lines = compare(expected, found)
    wrong = [line for line in lines if not (line.ok or is_rounding(line, codec_precision))]
    if wrong:
        raise BundleError(f"the bundle does not compute what transformers does: {wrong[0]}")


def export(
    source: str,
    out: Path,
    precision: str = "f32",
    name: str | None = None,
    codec_precision: str = "f32",
    extras: Extras = NO_EXTRAS,
    **options: bool,
) -> Path:
    """Write the bundle of `source` to `out`, put together with `extras`.

    Options: `force` (replace a bundle) and `verify` (on).

    Holds most weights once: the modules share the loaded model's tensors, and what transformers computes for
    the verification is computed before they are let go. In bf16 and int8 the modules are compared with
    transformers before they are lowered, and the written bundle with the lowered modules.

    Raises:
        CheckpointError, UnsupportedCheckpoint, BundleError: one sentence each.
    """
    with new_bundle(out, options.get("force", False)) as folder:
        copy_directions(resolve_source(source).folder, folder)  # first: it is quick to refuse
        checkpoint = read_checkpoint(source, extras)
        manifest = describe(checkpoint, name, precision, codec_precision)
        modules = build_modules(checkpoint.model, codec_precision)
        check_space(folder, modules.values())
        case = make_case(manifest, seed=0) if options.get("verify", True) else None
        expected = reference(checkpoint.model, case) if case else {}
        (folder / "tokenizer.json").write_bytes(checkpoint.tokenizer_json)
        del checkpoint
        if case and precision != "f32":
            exact = manifest | {"precision": manifest["precision"] | {"decoder": "f32"}}
            check(expected, replay(Modules.of(modules, exact), case), codec_precision)
        for file in LOWERED:
            lower(modules[file], precision)
        if case and precision != "f32":
            expected = replay(Modules.of(modules, manifest), case)
        with fresh_types():
            for file in list(modules):
                save_script(modules.pop(file), folder / file)
        write_manifest(folder, manifest)
        if case:
            check(expected, replay(Modules.load(folder), case), codec_precision)
    return out


def add_extras(parser: argparse.ArgumentParser) -> None:
    """The arguments that say what a checkpoint is put together with; `extras_of` reads them."""
    parser.add_argument(
        "--lora", type=Path, metavar="DIR", help="a LoRA adapter saved by peft, merged into the weights"
    )
    parser.add_argument(
        "--text-encoder",
        metavar="SOURCE",
        help="T5 for a folder in audiocraft's format, which has none: a folder or hub id (default: the one "
        "that it names)",
    )
    parser.add_argument(
        "--codec",
        metavar="SOURCE",
        help="EnCodec in Hugging Face format for a folder in audiocraft's (default: the folder's own, or the "
        "one that it names)",
    )


def extras_of(options: argparse.Namespace) -> Extras:
    """What `add_extras` read."""
    return Extras(options.lora, options.text_encoder, options.codec)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser(
        "export",
        "Convert a MusicGen checkpoint (mono, stereo or melody, in Hugging Face's or audiocraft's format) to "
        "a model bundle.",
        "example: musicsteer export facebook/musicgen-small out/musicgen-small",
    )
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="a folder in Hugging Face's or audiocraft's format, a folder of the Hugging Face cache, a hub "
        "id such as facebook/musicgen-melody, which is downloaded, or demo, the included model",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="the bundle's folder, which is created")
    add_extras(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="f32", help=PRECISION_HELP)
    parser.add_argument(
        "--codec-precision",
        choices=sorted(CODEC_PRECISIONS, reverse=True),
        default="f32",
        help="of the codec's decoder; bf16 is faster on processors that compute in it (default: f32)",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="the model's name in the manifest (default: the checkpoint's)"
    )
    parser.add_argument("--force", action="store_true", help="replace OUT if it is a bundle")
    parser.add_argument("--no-verify", action="store_true", help="skip the comparison with transformers")
    return parser.parse_args(arguments)


def interrupt(*_: object) -> None:
    """Clean up on SIGTERM as on Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    warnings.simplefilter("ignore")
    try:
        if resolve_source(options.checkpoint).folder is None:
            announce_download(options.checkpoint)
        export(
            options.checkpoint,
            options.out,
            options.precision,
            options.name,
            options.codec_precision,
            extras_of(options),
            force=options.force,
            verify=not options.no_verify,
        )
    except (CheckpointError, UnsupportedCheckpoint, BundleError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {options.out} cannot be written: {error.strerror or error}", file=sys.stderr)
        return 1
    except Exception as error:  # a configuration that no library checks
        kind = type(error).__name__
        print(f"error: {options.checkpoint} cannot be exported: {kind}: {one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written", file=sys.stderr)
        return 130
    print(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
