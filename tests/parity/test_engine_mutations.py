"""Deliberate mistakes of the engine: each must make the comparison fail that the honest tests pass.

The mistakes are made from outside: by another request than the reference gets, by edit hooks of the probe, or
in a copy of the manifest. Mistakes inside the modules are those of test_mutations.py.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from comparison import compare_greedy, compare_tensors, same_clip, worst
from job import Engine, Request, Run
from shared_runs import PROMPTS, random_codes, steered_batch, teacher_forced
from sides import Sides

from musicsteer.torchscript.parity import BOUND, difference

FRAMES = 8

Edit = Callable[[Request], Request]


class MistakenEngine(Engine):
    """An engine that is given another run than it was asked for."""

    def __init__(self, engine: Engine, mistake: Callable[[Run], Run], bundle: Path | None = None) -> None:
        super().__init__(bundle or engine.bundle, engine.folder)
        self.mistake = mistake

    def __call__(self, runs=None, **others):
        return super().__call__({name: self.mistake(run) for name, run in (runs or {}).items()}, **others)


def honest(run: Run) -> Run:
    return run


def each_request(edit: Edit) -> Callable[[Run], Run]:
    return lambda run: dataclasses.replace(run, requests=tuple(edit(r) for r in run.requests))


def each_injection(**changes) -> Callable[[Run], Run]:
    """Other values for a field of every injection: a value, or a function of the old one."""

    def edit(request: Request) -> Request:
        injections = tuple(
            dataclasses.replace(
                i, **{key: new(getattr(i, key)) if callable(new) else new for key, new in changes.items()}
            )
            for i in request.injections
        )
        return dataclasses.replace(request, injections=injections)

    return each_request(edit)


def with_fault(sides: Sides, kind: str, point: str, **more) -> Callable[[Run], Run]:
    return lambda run: dataclasses.replace(run, faults=({"kind": kind, "point": point, **more},))


def next_position(sides: Sides) -> torch.Tensor:
    """[positions, D]: what turns each position's embedding into its neighbour's."""
    table = sides.reference.model.decoder.model.decoder.embed_positions.weights
    return (table[1:] - table[:-1]).clone()


def other_layer(point: str) -> str:
    _, layer, site = point.split(".")
    return f"decoder.{(int(layer) + 1) % 2}.{site}"


def rotate_requests(run: Run) -> Run:
    return dataclasses.replace(run, requests=(*run.requests[1:], run.requests[0]))


def rotate_steering(run: Run) -> Run:
    plans = [r.injections for r in run.requests]
    turned = zip(run.requests, plans[1:] + plans[:1], strict=True)
    return dataclasses.replace(run, requests=tuple(dataclasses.replace(r, injections=p) for r, p in turned))


# name -> the mistake, on a sides fixture
PLAIN: dict[str, Callable[[Sides], Callable[[Run], Run]]] = {
    "guidance the other way round": lambda _: lambda run: dataclasses.replace(run, guidance=1 - run.guidance),
    "guidance off": lambda _: lambda run: dataclasses.replace(run, guidance=1.0),
    "null row keeps the text": lambda _: each_request(
        lambda r: dataclasses.replace(r, negative_prompt=r.prompt)
    ),
    "null row is the empty prompt": lambda _: each_request(
        lambda r: dataclasses.replace(r, negative_prompt=r.negative_prompt or "")
    ),
    "negative prompt ignored": lambda _: each_request(lambda r: dataclasses.replace(r, negative_prompt=None)),
    "empty prompt taken as unconditional": lambda _: each_request(
        lambda r: dataclasses.replace(r, unconditional=r.unconditional or not r.prompt)
    ),
    "last word cut off": lambda _: each_request(
        lambda r: dataclasses.replace(r, prompt=r.prompt.rpartition(" ")[0])
    ),
    "prompts of other rows": lambda _: rotate_requests,
    "positions off by one": lambda sides: with_fault(
        sides, "add_by_position", "decoder.embed", tensor=next_position(sides)
    ),
    "heads read across": lambda sides: with_fault(sides, "interleave_heads", "decoder.1.self_attn_heads"),
}
STEERED: dict[str, Callable[[Sides], Callable[[Run], Run]]] = {
    "both rows steered": lambda _: each_injection(rows="both"),
    "only conditional rows steered": lambda _: each_injection(rows="conditional"),
    "sign turned": lambda _: each_injection(strength=lambda s: -s),
    "strength of one": lambda _: each_injection(strength=lambda s: 1.0 if s else 0.0),
    "unit vectors": lambda _: each_injection(vector=lambda v: v / v.norm()),
    "another layer": lambda _: each_injection(point=other_layer),
    "a neighbouring site": lambda _: each_injection(
        point=lambda p: p.replace("resid_post_cross", "resid_post_self").replace("mlp_out", "cross_attn_out")
    ),
    "only the first vector": lambda _: each_request(
        lambda r: dataclasses.replace(r, injections=r.injections[:1])
    ),
    "plans of other requests": lambda _: rotate_steering,
}
# name -> what is wrong in the manifest's section on the decoder
MANIFEST: dict[str, Callable[[dict], None]] = {
    "delays one too long": lambda d: d.update(delays=[lag + 1 for lag in d["delays"]]),
    "delays reversed": lambda d: d.update(delays=d["delays"][::-1]),
    "no delays": lambda d: d.update(delays=[0] * len(d["delays"])),
    "another start token": lambda d: d.update(start_token=0),
}


def requests() -> tuple[Request, ...]:
    return (
        Request(PROMPTS[0]),
        Request(PROMPTS[1], negative_prompt="sad quiet music"),
        Request(PROMPTS[2]),
    )


def greedy_passes(sides: Sides, engine: Engine, run: Run) -> bool:
    return compare_greedy(engine, sides.reference, run).ok


def tensors_pass(sides: Sides, engine: Engine, run: Run) -> bool:
    run = run.dumping("logits")
    return not worst(compare_tensors(sides.reference.run(run), engine.run(run)))


def plain_run(sides: Sides) -> Run:
    return teacher_forced(sides.reference, requests(), FRAMES)


def steered_run(sides: Sides) -> Run:
    return teacher_forced(sides.reference, steered_batch(sides.reference), FRAMES)


def test_without_a_mistake_all_pass(tiny: Sides) -> None:
    engine = MistakenEngine(tiny.engine, honest)
    assert greedy_passes(tiny, engine, Run(requests(), FRAMES))
    assert tensors_pass(tiny, engine, plain_run(tiny))
    assert tensors_pass(tiny, engine, steered_run(tiny))


@pytest.mark.parametrize("mistake", PLAIN.values(), ids=PLAIN)
def test_plain(tiny: Sides, mistake) -> None:
    engine = MistakenEngine(tiny.engine, mistake(tiny))
    assert not tensors_pass(tiny, engine, plain_run(tiny))
    assert not greedy_passes(tiny, engine, Run(requests(), FRAMES))


@pytest.mark.parametrize("mistake", STEERED.values(), ids=STEERED)
def test_steered(tiny: Sides, mistake) -> None:
    assert not tensors_pass(tiny, MistakenEngine(tiny.engine, mistake(tiny)), steered_run(tiny))


@pytest.mark.parametrize("spoil", MANIFEST.values(), ids=MANIFEST)
def test_manifest(tiny: Sides, tmp_path: Path, spoil) -> None:
    for path in tiny.bundle.iterdir():
        (tmp_path / path.name).symlink_to(path)
    manifest = json.loads((tiny.bundle / "manifest.json").read_text(encoding="utf-8"))
    spoil(manifest["decoder"])
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    engine = MistakenEngine(tiny.engine, honest, bundle=tmp_path)
    assert not greedy_passes(tiny, engine, Run(requests(), FRAMES))


def test_given_codes_one_frame_late(tiny: Sides) -> None:
    late = each_request(lambda r: dataclasses.replace(r, forced_codes=r.forced_codes.roll(1, dims=1)))
    assert not tensors_pass(tiny, MistakenEngine(tiny.engine, late), plain_run(tiny))


def test_rows_that_leak(tiny: Sides) -> None:
    """A millionth of the batch's largest values, as one scale for a whole batch would let through."""
    leaking = with_fault(tiny, "mix_rows", "decoder.1.resid_post")
    others = {"plain": PROMPTS[1], "other": PROMPTS[3]}
    runs = {
        name: Run((Request(PROMPTS[0]), Request(text)), FRAMES).dumping("logits", "samples")
        for name, text in others.items()
    }
    results = MistakenEngine(tiny.engine, leaking)(runs)
    assert not same_clip(results.run("plain"), 0, results.run("other"), 0)


def test_stereo_sides_swapped(tiny_stereo: Sides) -> None:
    codes = random_codes(tiny_stereo.reference, 1, 10)
    swapped = codes.unflatten(1, (-1, 2)).flip(2).flatten(1, 2)
    expected = tiny_stereo.reference.decode(codes)
    ours = tiny_stereo.engine(decode={"codes": codes, "swapped": swapped}).tensors
    assert difference("samples", expected, ours["codes"], BOUND).ok
    assert not difference("samples", expected, ours["swapped"], BOUND).ok
