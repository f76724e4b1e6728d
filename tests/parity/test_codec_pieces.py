"""Clips are decoded in pieces: what comes out is the whole, whoever shares the call."""

from __future__ import annotations

import pytest
import torch
from checkpoints import SHAPES
from comparison import worst
from loaded import NAMES, load_shape, modules_of
from shared_runs import random_codes
from sides import Sides

from musicsteer.torchscript.parity import BOUND, difference

CUT = [
    shape.name
    for shape in SHAPES
    if shape.codec.get("norm_type") != "time_group_norm" and shape.codec.get("pad_mode") != "circular"
]


def test_pieces_are_the_whole(sides: Sides) -> None:
    """Five pieces of 50 frames and a shorter one; more clips than share an LSTM call."""
    codes = random_codes(sides.reference, 5, 265, seed=9)
    single = {f"{i}": codes[i : i + 1] for i in range(len(codes))}
    ours = sides.engine(decode={"all": codes} | single).tensors
    two_threads, again = (sides.engine(decode={"all": codes}, threads=2).tensors["all"] for _ in range(2))
    assert not worst([difference("samples", sides.reference.decode(codes), ours["all"], BOUND)])
    for i in range(len(codes)):
        assert torch.equal(ours["all"][i], ours[f"{i}"][0]), f"clip {i} depends on the others"
    assert not worst([difference("samples", ours["all"], two_threads, BOUND)])
    assert torch.equal(two_threads, again), "the bytes depend on which thread did what"


def test_a_last_piece_of_any_length(sides: Sides) -> None:
    """Also one that is shorter than the codec's reach, or ends within it."""
    clips = {f"{n}": random_codes(sides.reference, 1, n, seed=n) for n in (49, 50, 51, 53, 57, 101)}
    ours = sides.engine(decode=clips).tensors
    for name, codes in clips.items():
        whole = sides.reference.decode(codes)
        assert not worst([difference("samples", whole, ours[name], BOUND)]), f"{name} frames"


def test_what_cannot_be_cut_says_so() -> None:
    bounded = {name for name in NAMES if min(modules_of(name).codec.reach()) >= 0}
    assert bounded == set(CUT) != set(NAMES)


@pytest.mark.parametrize("name", CUT)
@torch.inference_mode()
def test_reach_is_enough(name: str) -> None:
    """A window with its reach gives the inner frames of the whole."""
    codec, dims = modules_of(name).codec, load_shape(name).manifest["codec"]
    draw, hop = torch.Generator().manual_seed(2), dims["hop_length"]
    in_left, in_right, left, right = codec.reach()[:4]
    latent = torch.randn([1, dims["lstm_width"], 90], generator=draw)
    codes = torch.randint(dims["codebook_size"], [1, dims["num_codebooks"], 90], generator=draw)
    whole, inputs = codec.decode_wave(latent), codec.lstm_input(codes)
    for start, end in [(30, 60), (0, 40), (50, 90)]:
        a, b = max(0, start - left), min(90, end + right)
        piece = codec.decode_wave(latent[:, :, a:b])[:, :, (start - a) * hop : (end - a) * hop]
        assert difference("wave", whole[:, :, start * hop : end * hop], piece, BOUND).ok
        a, b = max(0, start - in_left), min(90, end + in_right)
        piece = codec.lstm_input(codes[:, :, a:b])[:, :, start - a : end - a]
        assert difference("input", inputs[:, :, start:end], piece, BOUND).ok


@pytest.mark.parametrize("name", CUT)
@torch.inference_mode()
def test_the_encoders_reach_is_enough(name: str) -> None:
    codec, dims = modules_of(name).codec, load_shape(name).manifest["codec"]
    draw, hop = torch.Generator().manual_seed(3), dims["hop_length"]
    left, right, out_left, out_right = codec.reach()[4:]
    samples = torch.randn([1, dims["channels"], 89 * hop + 1], generator=draw)
    whole = codec.encoder(samples)
    latent, _ = codec.encoder_lstm(whole, codec.encoder_lstm.initial_state(whole, 1))
    entries = codec.encoder_out(latent)
    for start, end in [(30, 60), (0, 40), (50, 90)]:
        a, b = max(0, start - left), min(90, end + right)
        piece = codec.encoder(samples[:, :, a * hop : b * hop])[:, :, start - a : end - a]
        assert difference("encoder", whole[:, :, start:end], piece, BOUND).ok
        a, b = max(0, start - out_left), min(90, end + out_right)
        piece = codec.encoder_out(latent[:, :, a:b])[:, :, start - a : end - a]
        assert difference("entries", entries[:, :, start:end], piece, BOUND).ok
    a = 30 - left // 2  # half of it is not
    if left > 0:
        piece = codec.encoder(samples[:, :, a * hop : 90 * hop])[:, :, 30 - a : 60 - a]
        assert difference("encoder", whole[:, :, 30:60], piece, 10 * BOUND).share > 10 * BOUND


def test_a_long_recording_is_encoded_in_pieces(sides: Sides) -> None:
    """Two pieces of 500 frames and a shorter one. Codes differ only where two entries are as near."""
    samples = sides.reference.decode(random_codes(sides.reference, 1, 1204, seed=4))[..., :-1]
    samples = samples + 0.1 * torch.randn(samples.shape, generator=torch.Generator().manual_seed(4))
    codes = sides.engine(encode={"long": samples}).tensors["long"]
    expected = sides.reference.encode(samples)
    assert codes.shape == expected.shape
    frames = (codes != expected).any(1)[0]
    assert int(frames.sum()) <= 3, frames.nonzero().flatten().tolist()


@pytest.mark.parametrize("name", CUT)
@torch.inference_mode()
def test_one_frame_less_is_heard(name: str) -> None:
    """The bound would notice a reach that is too short."""
    codec, dims = modules_of(name).codec, load_shape(name).manifest["codec"]
    hop, (_, _, left, right) = dims["hop_length"], codec.reach()[:4]
    latent = torch.randn([1, dims["lstm_width"], 90], generator=torch.Generator().manual_seed(2))
    whole = codec.decode_wave(latent)[:, :, 30 * hop : 60 * hop]
    for fewer_left, fewer_right in [(1, 0), (0, 1)]:
        if (fewer_left and left == 0) or (fewer_right and right == 0):
            continue
        a, b = 30 - left + fewer_left, 60 + right - fewer_right
        piece = codec.decode_wave(latent[:, :, a:b])[:, :, (30 - a) * hop : (60 - a) * hop]
        assert difference("wave", whole, piece, 10 * BOUND).share > 10 * BOUND
