"""Steered, the engine computes what transformers does with the same vectors added by forward hooks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from comparison import compare_greedy, compare_tensors, worst
from job import Gate, Injection, Request, Run
from parity_report import ParityReport
from reference import SITES
from shared_runs import PROMPTS, alone, random_vector, steered_batch, teacher_forced
from sides import Sides
from steering_files import Directions, exponential_weights, orthogonalized
from torch import Tensor

FRAMES = 9
STRENGTHS = (1.5, -0.7, 4.0)


def points(sides: Sides) -> list[str]:
    """Every site, each at another layer (in turn), and the two that belong to no layer."""
    layers = sides.reference.layers
    return ["decoder.embed", "decoder.final_norm"] + [
        f"decoder.{(i + shift) % layers}.{site}" for shift in (0, layers - 1) for i, site in enumerate(SITES)
    ]


def single_point_runs(sides: Sides) -> dict[str, Run]:
    """One vector at one point, on both rows and on the conditional row, at several strengths."""
    runs = {}
    for i, point in enumerate(points(sides)):
        for j, rows in enumerate(("both", "conditional")):
            strength = STRENGTHS[(i + j) % len(STRENGTHS)]
            injection = Injection(point, random_vector(sides.reference, i), strength, rows)
            requests = (Request(PROMPTS[0], injections=(injection,)), Request(PROMPTS[1]))
            run = teacher_forced(sides.reference, requests, FRAMES).dumping("logits")
            runs[f"{point} {rows}"] = run
    return runs


def test_every_site(sides: Sides, report: ParityReport) -> None:
    runs = single_point_runs(sides)
    plain = teacher_forced(sides.reference, (Request(PROMPTS[0]), Request(PROMPTS[1])), FRAMES)
    results = sides.engine({**runs, "plain": plain.dumping("logits")})
    unsteered = results.run("plain")["guided"]
    for name, run in runs.items():
        ours = results.run(name)
        found = compare_tensors(sides.reference.run(run), ours)
        report.add("steered, logits", sides.name, found)
        assert not worst(found), name
        moved = (ours["guided"] - unsteered).abs().amax(dim=(1, 2, 3)) / unsteered.abs().max()
        assert moved[0] > 1e-3, f"{name}: steering did nothing"
        assert moved[1] == 0, f"{name}: steering reached the other request"


def test_rows_steered_differently(sides: Sides, report: ParityReport) -> None:
    """Several vectors at once, at one point and at several; hook points show the edited values."""
    run = teacher_forced(sides.reference, steered_batch(sides.reference), 12).dumping("logits", "activations")
    found = compare_tensors(sides.reference.run(run), sides.engine.run(run))
    report.add("steered, hook points", sides.name, found)
    assert not worst(found)


def test_greedy_codes(sides: Sides, report: ParityReport) -> None:
    for guidance in (3.0, 1.0):
        run = Run(steered_batch(sides.reference), 200, guidance=guidance)
        result = compare_greedy(sides.engine, sides.reference, run)
        report.add_greedy("steered, greedy runs", sides.name, result)
        assert result.ok, result.failure or worst(result.differences)


def modes_batch(sides: Sides, frames: int) -> tuple[Request, ...]:
    """Every mode and schedule, on rows of one batch that are steered differently, several at one point."""
    seconds = frames / sides.reference.frame_rate
    ways: list[dict[str, Any]] = [
        dict(strength=1.4, mode="add-renorm"),
        dict(strength=0.7, mode="ablate", rows="conditional"),
        dict(strength=1.0, mode="clamp", value=2.5),
        dict(strength=1.5, schedule="decay,0.8,0.3"),
        dict(strength=-1.2, schedule="linear,1,-0.5", mode="add-renorm", rows="conditional"),
        dict(strength=2.0, schedule=f"window,{0.2 * seconds},{0.5 * seconds},{0.7 * seconds},{2 * seconds}"),
        dict(strength=1.0, mode="clamp", value=-1.0, schedule="decay,0.9,0"),
        dict(strength=1.8, probability=0.4, frame_seed=2**63 + 5),
        dict(strength=1.0, mode="ablate", probability=0.6, frame_seed=3),
        dict(strength=0.9),
    ]
    places = points(sides)
    injections = [
        Injection(places[(3 * i) % len(places)], random_vector(sides.reference, 40 + i), **way)
        for i, way in enumerate(ways)
    ]
    same_point = tuple(dataclasses.replace(i, point="decoder.1.resid_post") for i in injections[::2])
    return (
        Request(PROMPTS[0], injections=tuple(injections)),
        Request(PROMPTS[1], negative_prompt="sad quiet music", injections=same_point),
        Request(PROMPTS[2]),
        Request(PROMPTS[3], injections=tuple(reversed(injections))),
        Request(unconditional=True, injections=same_point[::-1]),
    )


def test_modes_and_schedules(sides: Sides, report: ParityReport) -> None:
    """In a batch, in single steps and in chunks, and each by itself."""
    frames = 16
    run = teacher_forced(sides.reference, modes_batch(sides, frames), frames).dumping("logits", "activations")
    runs = {"batch": run, "chunks": dataclasses.replace(run, prefill_chunk=5)}
    first = run.requests[0]
    for i, injection in enumerate(first.injections):
        only = dataclasses.replace(first, injections=(injection,))
        runs[str(i)] = dataclasses.replace(run, requests=(only,)).dumping("logits")
    results = sides.engine(runs)
    for name, each in runs.items():
        found = compare_tensors(sides.reference.run(each), results.run(name))
        report.add("steered, modes and schedules", sides.name, found)
        assert not worst(found), name


def middles(sides: Sides, run: Run, point: str, vector: Tensor) -> list[float]:
    """For each request, a threshold that halves its cosines with a vector at a hook point, unsteered."""
    plain = [dataclasses.replace(each, injections=()) for each in run.requests]
    there = sides.reference.run(dataclasses.replace(run, requests=tuple(plain)).dumping("activations"))[point]
    along = torch.cosine_similarity(there[: len(plain)], vector, dim=-1).sort(dim=-1).values
    half = along.size(1) // 2
    return ((along[:, half - 1] + along[:, half]) / 2).tolist()


def heads_batch(sides: Sides) -> tuple[Request, ...]:
    """Chosen heads in every mode, whole heads, and none, in one batch."""
    heads = sides.reference.model.config.decoder.num_attention_heads
    last = sides.reference.layers - 1

    def injection(seed: int, layer: int, strength: float, *chosen: int, **way: Any) -> Injection:
        vector = random_vector(sides.reference, seed)
        return Injection(f"decoder.{layer}.self_attn_heads", vector, strength, heads=chosen, **way)

    first = (
        injection(60, 0, 1.5, 0),
        injection(61, 1, 2.0, heads - 1, mode="add-renorm"),
        injection(62, last, 0.8, 0, heads - 1, mode="ablate", rows="conditional"),
    )
    second = (
        injection(63, 1, 1.0, 1, mode="clamp", value=2.0),
        injection(64, 1, -1.1, 0),
        injection(65, 0, 1.3),
    )
    return (
        Request(PROMPTS[0], injections=first),
        Request(PROMPTS[1], negative_prompt="sad quiet music", injections=second),
        Request(PROMPTS[2]),
        Request(unconditional=True, injections=first[::-1]),
    )


def test_heads(sides: Sides, report: ParityReport) -> None:
    run = teacher_forced(sides.reference, heads_batch(sides), 10).dumping("logits", "activations")
    runs = {"batch": run, "alone": dataclasses.replace(run, requests=run.requests[:1])}
    results = sides.engine(runs)
    for name, each in runs.items():
        found = compare_tensors(sides.reference.run(each), results.run(name))
        report.add("steered, heads", sides.name, found)
        assert not worst(found), name


def gated_batch(sides: Sides, frames: int) -> tuple[Request, ...]:
    """Gates that open and shut along a clip, on places before and behind them, either side of a threshold."""
    point = f"decoder.{(sides.reference.layers - 1) // 2}.resid_post"
    vector = random_vector(sides.reference, 70)
    requests = tuple(Request(prompt) for prompt in PROMPTS)
    thresholds = middles(sides, teacher_forced(sides.reference, requests, frames), point, vector)
    below = [Gate(point, vector, True, threshold) for threshold in thresholds]
    above = Gate(point, vector, False, thresholds[0])

    def injection(seed: int, place: str, gate: Gate, **way: Any) -> Injection:
        return Injection(place, random_vector(sides.reference, seed), 0.6, gate=gate, **way)

    behind, before = f"decoder.{sides.reference.layers - 1}.resid_post", "decoder.0.mlp_out"
    return (
        Request(PROMPTS[0], injections=(injection(71, behind, above), injection(72, before, below[0]))),
        Request(PROMPTS[1], injections=(injection(73, point, below[1], mode="ablate"),)),
        Request(
            PROMPTS[2],
            injections=(injection(74, behind, below[2], rows="conditional", schedule="decay,0.9,0"),),
        ),
        Request(PROMPTS[3]),
    )


def test_gates(sides: Sides, report: ParityReport) -> None:
    """In single steps and, as given codes of a clip that looks back are taken anyway, in chunks."""
    frames = 14
    run = teacher_forced(sides.reference, gated_batch(sides, frames), frames).dumping("logits", "activations")
    later = dataclasses.replace(run, requests=run.requests[2:], prefill_chunk=5)
    runs = {
        "batch": run,
        "chunks": dataclasses.replace(run, prefill_chunk=5),
        "alone": dataclasses.replace(run, requests=run.requests[:1]),
        "chunks, no looking back": later,
    }
    results = sides.engine(runs)
    for name, each in runs.items():
        found = compare_tensors(sides.reference.run(each), results.run(name))
        report.add("steered, gates", sides.name, found)
        assert not worst(found), name
    assert results.run("chunks").steps == results.run("batch").steps
    assert results.run("chunks, no looking back").steps < results.run("batch").steps


def test_gates_open_and_shut(tiny: Sides) -> None:
    """Neither always open nor always shut, so that the comparison means something."""
    frames = 14
    run = teacher_forced(tiny.reference, gated_batch(tiny, frames), frames).dumping("logits")
    free = [
        dataclasses.replace(r, injections=tuple(dataclasses.replace(i, gate=None) for i in r.injections))
        for r in run.requests
    ]
    none = [dataclasses.replace(r, injections=()) for r in run.requests]
    results = tiny.engine(
        {
            "gated": run,
            "open": dataclasses.replace(run, requests=tuple(free)),
            "shut": dataclasses.replace(run, requests=tuple(none)),
        }
    )
    gated, always, never = (results.run(name)["guided"] for name in ("gated", "open", "shut"))
    for request in range(3):
        assert not torch.equal(gated[request], always[request]), request
        assert not torch.equal(gated[request], never[request]), request
    assert torch.equal(gated[3], never[3])


def test_mistakes_are_noticed(tiny: Sides) -> None:
    """The comparisons above fail where heads or gates are taken for others."""
    frames = 10
    gated = teacher_forced(tiny.reference, gated_batch(tiny, frames), frames).dumping("logits")
    of_heads = teacher_forced(tiny.reference, heads_batch(tiny), frames).dumping("logits")

    def with_gate(run: Run, **changes: Any) -> Run:
        def changed(injection: Injection) -> Injection:
            return dataclasses.replace(injection, gate=dataclasses.replace(injection.gate, **changes))

        requests = [
            dataclasses.replace(r, injections=tuple(map(changed, r.injections))) for r in run.requests
        ]
        return dataclasses.replace(run, requests=tuple(requests))

    def with_heads(run: Run, heads: Callable[[Injection], tuple[int, ...]]) -> Run:
        requests = [
            dataclasses.replace(
                r, injections=tuple(dataclasses.replace(i, heads=heads(i)) for i in r.injections)
            )
            for r in run.requests
        ]
        return dataclasses.replace(run, requests=tuple(requests))

    mistakes = {
        "gates the other way round": (gated, with_gate(gated, below=True)),
        "gates read elsewhere": (gated, with_gate(gated, point="decoder.2.resid_post_self")),
        "gates with another direction": (gated, with_gate(gated, vector=random_vector(tiny.reference, 90))),
        "all heads": (of_heads, with_heads(of_heads, lambda _: ())),
        "the next head": (of_heads, with_heads(of_heads, lambda i: tuple((h + 1) % 6 for h in i.heads))),
    }
    results = tiny.engine({name: mistaken for name, (_, mistaken) in mistakes.items()})
    for name, (honest, _) in mistakes.items():
        assert worst(compare_tensors(tiny.reference.run(honest), results.run(name))), name


def directions(sides: Sides, seed: int, site: str = "resid_post") -> Directions:
    layers = sides.reference.layers
    vectors = [random_vector(sides.reference, seed + i) for i in range(layers)]
    return Directions(site, vectors, [float((7 * i + seed) % 11) for i in range(layers)])


def test_steering_files(sides: Sides, report: ParityReport, tmp_path: Path) -> None:
    """Weights, heads, gates and orthogonalized vectors from files, in a batch and alone."""
    first, second, third = directions(sides, 100), directions(sides, 200), directions(sides, 300)
    heads = directions(sides, 400, "self_attn_heads")
    layers = sides.reference.layers
    for name, each in (("a", first), ("b", second), ("c", third), ("h", heads)):
        each.save(tmp_path / f"{name}.safetensors")
    frames = 10
    requests = (Request(PROMPTS[0]), Request(PROMPTS[1]), Request(PROMPTS[2]))
    run = teacher_forced(sides.reference, requests, frames).dumping("logits", "activations")
    gate_point = "decoder.0.resid_post"
    threshold = middles(sides, run, gate_point, third.vectors[0])[2]
    gate = Gate(gate_point, third.vectors[0], below=False, threshold=threshold)
    top = max(range(layers), key=lambda i: (first.effect_sizes[i], -i))
    weights = exponential_weights(second.effect_sizes, 0.6)
    files: list[list[dict[str, Any]]] = [
        [
            {"file": "a.safetensors", "alpha": 0.5, "weights": "top-1"},
            {"file": "b.safetensors", "alpha": -0.4, "weights": "exponential,0.6", "rows": "conditional"},
        ],
        [
            {"file": "a.safetensors", "alpha": 0.3},
            {"file": "b.safetensors", "alpha": 0.4, "unit": "unit", "orthogonalize": True},
            {"file": "c.safetensors", "alpha": 0.3, "mode": "ablate", "orthogonalize": True},
        ],
        [
            {"file": "h.safetensors", "alpha": 1.0, "heads": [0], "layers": "0", "unit": "unit"},
            {"file": "c.safetensors", "alpha": 0.7, "layers": [layers - 1], "gate": gate.condition,
             "gate_file": "c.safetensors"},
        ],
    ]  # fmt: skip
    expected: list[list[Injection]] = [[], [], []]
    expected[0] = [Injection(first.point(top), first.vectors[top], 0.5)]
    for i in range(layers):
        expected[0].append(Injection(second.point(i), second.vectors[i], -0.4 * weights[i], "conditional"))
        parts = orthogonalized([first.vectors[i], second.vectors[i], third.vectors[i]])
        expected[1] += [
            Injection(first.point(i), parts[0], 0.3),
            Injection(first.point(i), parts[1], 0.4 / float(second.vectors[i].norm())),
            Injection(first.point(i), parts[2], 0.3, mode="ablate"),
        ]
    size = sides.reference.width // sides.reference.model.config.decoder.num_attention_heads
    of_head = float(heads.vectors[0][:size].norm())
    expected[2] = [
        Injection(heads.point(0), heads.vectors[0], 1.0 / of_head, heads=(0,)),
        Injection(third.point(layers - 1), third.vectors[-1], 0.7, gate=gate),
    ]
    steered = []
    for i, entries in enumerate(files):
        path = tmp_path / f"{i}.json"
        path.write_text(json.dumps({"steering": entries}))
        steered.append(dataclasses.replace(run.requests[i], injections=tuple(expected[i]), steering=path))
    runs = {"batch": dataclasses.replace(run, requests=tuple(steered))}
    runs |= {str(i): dataclasses.replace(run, requests=(request,)) for i, request in enumerate(steered)}
    results = sides.engine(runs)
    for name, each in runs.items():
        found = compare_tensors(sides.reference.run(each), results.run(name))
        report.add("steered, from files", sides.name, found)
        assert not worst(found), name


def test_rows_do_not_mix(tiny: Sides) -> None:
    """A clip keeps its bits whatever is done to the other clips, with every mode, heads and gates."""
    frames = 12
    for batch in (modes_batch(tiny, frames), heads_batch(tiny), gated_batch(tiny, frames)):
        requests = teacher_forced(tiny.reference, batch, frames).requests
        run = Run(requests, frames, prefill_chunk=1).dumping("logits")
        plain = [dataclasses.replace(request, injections=()) for request in requests]
        runs = {"together": run}
        for i, request in enumerate(requests):
            companions = (*plain[:i], request, *plain[i + 1 :])
            runs[str(i)] = dataclasses.replace(run, requests=tuple(companions))
        results = tiny.engine(runs)
        for i in range(len(requests)):
            together, apart = results.run("together")["guided"][i], results.run(str(i))["guided"][i]
            assert torch.equal(together, apart), f"request {i}"


def test_strength_zero_is_no_steering(sides: Sides) -> None:
    """To the last bit, in logits, codes and samples."""
    vector = random_vector(sides.reference, 3)
    modes = ("add", "add-renorm", "ablate")
    zero = tuple(Injection(point, vector, 0.0, mode=mode) for point in points(sides) for mode in modes)
    never = dict(mode="clamp", value=3.0, probability=0.0)
    zero += tuple(Injection(point, vector, 1.0, **never) for point in points(sides))
    plain = Run(alone(), 40, top_k=50).dumping("logits", "samples")
    steered = dataclasses.replace(plain, requests=(dataclasses.replace(alone()[0], injections=zero),))
    results = sides.engine({"plain": plain, "steered": steered})
    expected, actual = results.run("plain"), results.run("steered")
    assert expected.tensors.keys() == actual.tensors.keys()
    assert all(torch.equal(tensor, actual[name]) for name, tensor in expected.tensors.items())


def test_means_are_those_of_the_activations(sides: Sides, report: ParityReport) -> None:
    """What extraction reads: means over the clip's frames, conditional rows, steering included."""
    run = teacher_forced(sides.reference, steered_batch(sides.reference), 12)
    expected = sides.reference.run(run.dumping("activations"))
    requests = len(run.requests)
    means = {
        f"means.{point}": expected[point][:requests, : run.frames].mean(dim=1)
        for point in sides.reference.points()
    }
    for chunk in (1, 5):
        chunked = dataclasses.replace(run, prefill_chunk=chunk)
        found = compare_tensors(means, sides.engine.run(chunked.dumping("means")))
        report.add("means", sides.name, found)
        assert not worst(found)


def test_non_finite_activation_names_frame_and_place(tiny: Sides) -> None:
    vector = random_vector(tiny.reference, 0)
    vector[5] = torch.inf
    for point in ("decoder.1.resid_post", "decoder.0.self_attn_heads", "decoder.2.mlp_out"):
        steered = Request(PROMPTS[1], injections=(Injection(point, vector, 1.0, "conditional"),))
        output = tiny.engine.run(Run((*alone(), steered), 5))
        assert output.error is not None and output.error.startswith("ModelError: ")
        for part in ("frame 0", point, PROMPTS[1]):
            assert part in output.error
