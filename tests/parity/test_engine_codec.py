"""Codes to samples and back, as transformers' EnCodec does it."""

from __future__ import annotations

import pytest
import torch
from checkpoints import SHAPES
from comparison import worst
from parity_report import ParityReport
from shared_runs import random_codes
from sides import Sides
from torch import Tensor

from musicsteer.torchscript.parity import BOUND, difference

# Frames of a clip: a few, and enough for the LSTM to run in.
LENGTHS = (7, 120)


def lengths(sides: Sides) -> tuple[int, ...]:
    """A single frame as well, where padding allows: transformers cannot wrap around more than once either."""
    circular = sides.reference.model.config.audio_encoder.pad_mode == "circular"
    return LENGTHS if circular else (1, *LENGTHS)


def test_decode(sides: Sides, report: ParityReport) -> None:
    codes = {f"{n}": random_codes(sides.reference, 2, n, seed=n) for n in lengths(sides)}
    ours = sides.engine(decode=codes).tensors
    found = [
        difference(f"{n} frames", sides.reference.decode(given), ours[n], BOUND) for n, given in codes.items()
    ]
    report.add("codec samples", sides.name, found)
    assert not worst(found)


CIRCULAR = [shape for shape in SHAPES if shape.codec.get("pad_mode") == "circular"]


@pytest.mark.parametrize("sides", CIRCULAR, ids=lambda shape: shape.name, indirect=True)
def test_what_cannot_be_decoded_is_one_sentence(sides: Sides) -> None:
    """TorchScript's own errors come with a trace of many lines, which nobody needs."""
    with pytest.raises(AssertionError) as caught:
        sides.engine(decode={"short": random_codes(sides.reference, 1, 1)})
    message = str(caught.value)
    assert "error: codec in lstm_input failed: Padding" in message and "\n" not in message


def sound(sides: Sides, count: int) -> Tensor:
    """Two clips of decoded codes with noise, [2, C, count]."""
    hop = sides.reference.model.config.audio_encoder.hop_length
    codes = random_codes(sides.reference, 2, -(-count // hop), seed=5)
    samples = sides.reference.decode(codes)[..., :count]
    return samples + 0.1 * torch.randn(samples.shape, generator=torch.Generator().manual_seed(count))


def nearest_gap(sides: Sides, samples: Tensor, place: tuple[int, ...]) -> float:
    """How far apart the two nearest codebook entries are, as a share of the distance's largest term."""
    clip, book, frame = place
    parts, stage = sides.reference.channels, book // sides.reference.channels
    audio = sides.reference.model.audio_encoder
    side = samples.split(audio.config.audio_channels, dim=1)[book % parts]
    rest = audio.encoder(side[clip : clip + 1])[:, :, frame]
    for layer in audio.quantizer.layers[:stage]:
        table = layer.codebook.embed
        rest = rest - table[torch.cdist(rest, table).argmin(-1)]
    table = audio.quantizer.layers[stage].codebook.embed
    squares = (rest - table).square().sum(-1)
    near = squares.topk(2, largest=False).values
    return float((near[1] - near[0]) / (rest.square().sum() + table.square().sum(-1).max()))


@torch.inference_mode()
def test_encode(sides: Sides) -> None:
    """Equal codes; one may differ where two entries are as near, and so may what follows in its frame."""
    hop = sides.reference.model.config.audio_encoder.hop_length
    samples = {f"{count}": sound(sides, count) for count in (3 * hop, 20 * hop + 1, 50 * hop - 1)}
    ours = sides.engine(encode=samples).tensors
    for name, given in samples.items():
        expected = sides.reference.encode(given)
        assert ours[name].shape == expected.shape
        excused: set[tuple[int, int, int]] = set()  # (clip, side, frame)
        for clip, frame, book in (ours[name] != expected).permute(0, 2, 1).nonzero().tolist():
            place = (clip, book % sides.reference.channels, frame)
            assert place in excused or nearest_gap(sides, given, (clip, book, frame)) < 10 * BOUND
            excused.add(place)
        assert len(excused) <= 1


def test_codes_are_heard(sides: Sides) -> None:
    """Every codebook, and in stereo each side's own, changes what is decoded: else parity proves little."""
    codes = random_codes(sides.reference, 1, 20)
    vocabulary = sides.reference.vocabulary
    variants = {"plain": codes}
    for book in range(codes.size(1)):
        changed = codes.clone()
        changed[:, book] = (changed[:, book] + 1) % vocabulary
        variants[f"book {book}"] = changed
    decoded = sides.engine(decode=variants).tensors
    plain = decoded["plain"]
    for book in range(codes.size(1)):
        moved = (decoded[f"book {book}"] - plain).abs().amax(dim=(0, 2)) / plain.abs().max()
        if sides.reference.channels == 2:
            assert moved[book % 2] > 1e-3 and moved[1 - book % 2] == 0
        else:
            assert moved.max() > 1e-3
