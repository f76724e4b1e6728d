"""The engine on melody checkpoints: chroma, hook points, logits, codes and sound, plain and steered."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from comparison import compare_greedy, compare_tensors, same_clip, worst
from job import Injection, Request, Run
from parity_report import ParityReport
from shared_runs import PROMPTS, random_vector, steered_batch, teacher_forced
from sides import Sides
from torch import Tensor

from musicsteer.torchscript.melody import extract_chroma
from musicsteer.torchscript.parity import BOUND, difference

FRAMES = 60


def melody(frames: int, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.eye(12)[torch.randint(12, [frames], generator=draw)]


def batch() -> tuple[Request, ...]:
    """Prompts of unequal length, with and without melodies, a negative prompt, an unconditional clip."""
    first, second, third, fourth = PROMPTS
    return (
        Request(first, seed=11, melody=melody(9)),
        Request(second, seed=12, negative_prompt="sad quiet music"),
        Request(third, seed=13, melody=melody(300, seed=1)),
        Request(unconditional=True, seed=14),
        Request(fourth, seed=15, melody=melody(1, seed=2)),
    )


def alone(tune: Tensor | None) -> tuple[Request, ...]:
    return (Request(PROMPTS[0], seed=11, melody=tune),)


BATCHES = {"melody": alone(melody(9)), "no melody": alone(None), "batch": batch()}
batches = pytest.mark.parametrize("requests", BATCHES.values(), ids=BATCHES)


def kind_of(name: str) -> str:
    return f"melody: {name.rsplit('.', 1)[-1]}"


@batches
def test_hook_points_and_logits(
    melody_sides: Sides, report: ParityReport, requests: tuple[Request, ...]
) -> None:
    run = teacher_forced(melody_sides.reference, requests, frames=12).dumping("activations", "logits")
    expected, actual = melody_sides.reference.run(run), melody_sides.engine.run(run)
    found = compare_tensors(expected, actual)
    for d in found:
        report.add(kind_of(d.name), melody_sides.name, [d])
    assert not worst(found)
    for layer in range(melody_sides.reference.layers):
        assert not actual[f"decoder.{layer}.cross_attn_out"].any(), "there is no cross-attention"


def test_steered_hook_points_and_logits(melody_sides: Sides, report: ParityReport) -> None:
    requests = steered_batch(melody_sides.reference)
    tunes = [melody(9), None, melody(300, seed=1), None, None]
    steered = [dataclasses.replace(r, melody=t) for r, t in zip(requests, tunes, strict=True)]
    run = teacher_forced(melody_sides.reference, tuple(steered), frames=12).dumping("activations", "logits")
    expected, actual = melody_sides.reference.run(run), melody_sides.engine.run(run)
    plain = [dataclasses.replace(request, injections=()) for request in run.requests]
    moved = melody_sides.reference.run(dataclasses.replace(run, requests=tuple(plain)))["guided"]
    assert (expected["guided"] - moved).abs().max() > 0.05 * moved.abs().max()
    # Both are one place in transformers, which sees the edits of the second at the first too.
    compared = {name: tensor for name, tensor in expected.items() if "resid_post_self" not in name}
    found = compare_tensors(compared, actual)
    report.add("melody: steered", melody_sides.name, found)
    assert not worst(found)


def test_schedules_count_frames_of_the_clip(melody_sides: Sides) -> None:
    """A prefix takes no part in schedules, windows and means."""
    vector = random_vector(melody_sides.reference, 3)
    rate = melody_sides.reference.frame_rate
    window = f"window,{4 / rate},{8 / rate}"
    schedules = ("constant", "decay,0.9,0.1", "linear,0,1", window, window)
    steered = [
        dataclasses.replace(
            request, injections=(Injection("decoder.1.resid_post", vector, 0.8, schedule=schedule),)
        )
        for request, schedule in zip(batch(), schedules, strict=True)
    ]
    run = teacher_forced(melody_sides.reference, tuple(steered), frames=12).dumping(
        "activations", "logits", "means"
    )
    expected, actual = melody_sides.reference.run(run), melody_sides.engine.run(run)
    assert not worst(compare_tensors(expected, actual))
    for point in melody_sides.reference.points():
        mean = expected[point][: len(steered), :12].mean(1)
        assert not worst([difference(point, mean, actual[f"means.{point}"], BOUND)])


@batches
def test_greedy_codes(melody_sides: Sides, report: ParityReport, requests: tuple[Request, ...]) -> None:
    run = Run(requests, FRAMES)
    result = compare_greedy(melody_sides.engine, melody_sides.reference, run)
    report.add_greedy("melody: greedy runs, guided logits", melody_sides.name, result)
    assert result.ok, result.failure or worst(result.differences)


def test_steered_greedy_codes_and_samples(melody_sides: Sides, report: ParityReport) -> None:
    vector = 0.5 * random_vector(melody_sides.reference, 5)
    injections = tuple(
        Injection(f"decoder.{i}.resid_post", vector, 1.0) for i in range(melody_sides.reference.layers)
    )
    run = Run(tuple(dataclasses.replace(r, injections=injections) for r in batch()), FRAMES)
    result = compare_greedy(melody_sides.engine, melody_sides.reference, run)
    report.add_greedy("melody: steered greedy runs, guided logits", melody_sides.name, result)
    assert result.ok, result.failure or worst(result.differences)
    played = melody_sides.engine.run(run.dumping("samples"))
    expected = melody_sides.reference.decode(played["codes"])
    assert not worst([difference("samples", expected, played["samples"], BOUND)])


def test_given_codes_in_chunks(melody_sides: Sides) -> None:
    single = teacher_forced(melody_sides.reference, batch(), frames=21).dumping("activations", "logits")
    expected = melody_sides.engine.run(single)
    for chunk in (5, 64):
        chunked = melody_sides.engine.run(dataclasses.replace(single, prefill_chunk=chunk))
        assert not worst(compare_tensors(expected.tensors, chunked))


def test_companions_change_nothing(melody_sides: Sides) -> None:
    """A clip has the same bits whatever the other clips' prompts, melodies and text lengths."""
    run = Run(batch(), 20, text_length=32).dumping("logits", "samples")
    first = melody_sides.engine.run(run)
    others = (batch()[0], *(Request(PROMPTS[3], seed=s, melody=melody(5, s)) for s in range(4)))
    other = melody_sides.engine.run(dataclasses.replace(run, requests=others))
    assert same_clip(first, 0, other, 0)
    backwards = melody_sides.engine.run(dataclasses.replace(run, requests=batch()[::-1]))
    if melody_sides.name != "melody-narrow":  # heads of 4: rows straddle vector registers
        for place in range(5):
            assert same_clip(first, place, backwards, 4 - place)


def test_a_melody_changes_the_codes(melody_sides: Sides) -> None:
    """Parity on a model that does not listen would prove nothing."""
    heard = [melody_sides.engine.run(Run(alone(tune), FRAMES))["codes"] for tune in (None, melody(9))]
    assert float((heard[0] != heard[1]).float().mean()) >= 0.2


def test_scores_of_melody_clips(melody_sides: Sides) -> None:
    """An unsteered clip has no divergence; a steered one's likelihood is that of transformers' logits."""
    vector = random_vector(melody_sides.reference, 8)
    steered = (Injection("decoder.0.resid_post", vector, 0.5),)
    requests = (batch()[0], dataclasses.replace(batch()[2], injections=steered))
    run = Run(requests, 16)
    actual = melody_sides.engine.run(run.dumping("scores"))
    assert abs(float(actual["kl"][0])) < 1e-6
    assert float(actual["kl"][1]) > 1e-3
    plain = tuple(dataclasses.replace(request, injections=()) for request in requests)
    given = dataclasses.replace(run, requests=plain).given(actual["codes"])
    guided = melody_sides.reference.run(given)["guided"].double().log_softmax(-1)
    for r in range(2):
        terms = [
            -guided[r, k, lag : lag + 16].gather(-1, actual["codes"][r, k].unsqueeze(-1)).mean()
            for k, lag in enumerate(melody_sides.reference.delays)
        ]
        assert float(actual["nll"][r]) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-5)


# --- chroma ---


FRAMING = {"sample_rate_hz": 32000, "fft_size": 16384, "hop_length": 4096, "longest_s": 30}


def tune(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Notes with overtones and some noise, float32."""
    draw = np.random.default_rng(seed)
    starts = np.arange(0, seconds, 0.4)
    pitches_hz = 440 * 2 ** (draw.integers(-14, 10, starts.size) / 12)
    time = np.arange(int(seconds * rate)) / rate
    sound = 0.001 * draw.standard_normal(time.size)
    for start, pitch_hz in zip(starts, pitches_hz, strict=True):
        during = (time >= start) & (time < start + 0.5)
        for overtone in range(1, 5):
            sound[during] += 0.1 / overtone * np.sin(2 * np.pi * overtone * pitch_hz * time[during])
    return sound.astype(np.float32)


@pytest.mark.parametrize("seconds", [0.2, 0.511, 0.513, 3.0, 12.34, 30.0, 41.0])
def test_chroma_is_what_the_feature_extractor_finds(
    tiny_melody: Sides, tmp_path: Path, seconds: float
) -> None:
    sound = tune(seconds, 32000, seed=int(10 * seconds))
    soundfile.write(tmp_path / "tune.wav", sound, 32000, subtype="FLOAT")
    found = tiny_melody.engine(hear={"tune": tmp_path / "tune.wav"}).tensors["tune"]
    assert torch.equal(found, extract_chroma(torch.from_numpy(sound), FRAMING))


def test_chroma_of_other_rates_and_channels(tiny_melody: Sides, tmp_path: Path) -> None:
    """Resamplers differ, and so do a few frames that nearly tie."""
    for rate, suffix in ((44100, "flac"), (22050, "wav"), (48000, "ogg")):
        file = tmp_path / f"tune.{suffix}"
        left, right = tune(8, rate, seed=1), tune(8, rate, seed=2)
        soundfile.write(file, np.stack([left, right], 1), rate)
        found = tiny_melody.engine(hear={"tune": file}).tensors["tune"]
        expected = extract_chroma(torch.from_numpy((tune(8, 32000, 1) + tune(8, 32000, 2)) / 2), FRAMING)
        assert found.shape == expected.shape
        assert float((found == expected).all(1).float().mean()) > 0.85


def test_a_melody_goes_on_in_every_window(melody_sides: Sides) -> None:
    """The second window equals the clip that continues its codes, with the melody from its own start on."""
    first, tune = PROMPTS[0], melody(9)
    stride = round(0.2 * melody_sides.reference.frame_rate)
    length = stride + 20
    long = Run((Request(first, melody=tune),), length + stride, window=(length, stride))
    codes = melody_sides.engine.run(long)["codes"]
    offset = round(stride / melody_sides.reference.frame_rate * 32000 / 4096)
    assert offset % len(tune) != 0, "the melody is the same from there: nothing would be shown"
    known = codes[:, :, stride:length]

    def second(tune: Tensor) -> Tensor:
        return melody_sides.engine.run(Run((Request(first, melody=tune),), length).given(known))["codes"]

    assert torch.equal(second(tune.roll(-offset, 0)), codes[:, :, stride:])
    assert not torch.equal(second(tune), codes[:, :, stride:])
