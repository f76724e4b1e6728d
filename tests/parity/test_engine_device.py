"""On another device than the CPU every tensor has to be brought there: a double of a GPU checks that."""

from __future__ import annotations

import pytest
import torch
from job import Gate, Injection, Request, Results, Run
from shared_runs import PROMPTS, random_codes, random_vector
from sides import Sides

from musicsteer.torchscript.parity import BOUND, difference

FRAMES = 12


def runs(sides: Sides) -> dict[str, Run]:
    """Everything that combines its own tensors with the model's."""
    vector = random_vector(sides.reference, 1)
    point = f"decoder.{sides.reference.layers - 1}.resid_post"

    def steered(**settings: object) -> tuple[Request, ...]:
        injection = Injection(point, vector, 0.5, **settings)  # type: ignore[arg-type]
        return (
            Request(PROMPTS[0], seed=1, injections=(injection,)),
            Request(PROMPTS[1], negative_prompt=PROMPTS[2], seed=2),
            Request(unconditional=True, seed=3),
        )

    gate = Gate("decoder.0.resid_post", vector, below=True, threshold=0.5)
    everything = ("logits", "activations", "means", "samples", "scores", "sink")
    return {
        "plain": Run(steered(), FRAMES).dumping(*everything),
        "clamped": Run(steered(mode="clamp", value=0.3, rows="conditional"), FRAMES).dumping("logits"),
        "ablated": Run(steered(mode="ablate", schedule="linear,1,0"), FRAMES, guidance=1.0).dumping("logits"),
        "gated": Run(steered(gate=gate, probability=0.5), FRAMES, top_k=30).dumping("logits"),
        "given": Run(steered(), FRAMES).given(random_codes(sides.reference, 3, 8)).dumping("logits"),
    }


@pytest.fixture(scope="module")
def both(tiny_stereo: Sides) -> dict[str, Results]:
    samples = torch.randn(1, 2, 4000) * 0.1
    return {
        device: tiny_stereo.engine(
            runs(tiny_stereo), {"text": "fast piano"}, {"encoded": samples}, device=device
        )
        for device in ("cpu", "double")
    }


def test_every_tensor_is_brought_to_the_device(both: dict[str, Results]) -> None:
    assert {k: v for k, v in both["double"].metadata.items() if k.endswith(".error")} == {}


def test_results_are_those_of_the_cpu(both: dict[str, Results]) -> None:
    cpu, double = both["cpu"].tensors, both["double"].tensors
    assert cpu.keys() == double.keys()

    found = [difference(name, cpu[name], tensor, BOUND) for name, tensor in double.items()]
    assert [str(one) for one in found if not one.ok] == []


def test_a_tensor_left_behind_is_noticed(tiny: Sides) -> None:
    """The fault adds a tensor of the CPU to an activation."""
    table = torch.zeros(64, tiny.reference.width)
    fault = {"kind": "add_by_position", "point": "decoder.0.resid_pre", "tensor": table}
    run = Run((Request(PROMPTS[0]),), FRAMES, faults=(fault,))
    left = tiny.engine({"run": run}, device="double").run("run")
    assert left.error is not None and "found at least two devices" in left.error
