"""Random checkpoints in memory: transformers' model beside our modules on the same weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from checkpoints import MELODY_SHAPES, SHAPES, Shape, build

from musicsteer.export_model import build_modules, describe
from musicsteer.torchscript.checkpoint import Checkpoint
from musicsteer.torchscript.layer_loop import Modules
from musicsteer.torchscript.parity import Difference, compare
from musicsteer.torchscript.parity_case import Case, make_case
from musicsteer.torchscript.reference import reference
from musicsteer.torchscript.replay import replay

NAMES = [shape.name for shape in SHAPES]
MELODY_NAMES = [shape.name for shape in MELODY_SHAPES]

ALL_AT_ONCE = 1_000_000  # positions a call: more than any case has

# Shapes of tensors change from step to step: profiling and optimising for each costs more than running.
torch._C._set_graph_executor_optimize(False)


@dataclass
class Loaded:
    """transformers' model of one shape, and the manifest that its bundle would have."""

    shape: Shape
    model: Any
    manifest: dict[str, Any]

    def modules(self) -> Modules:
        """Our modules on the model's weights, scripted again."""
        return Modules(*map(torch.jit.script, build_modules(self.model).values()), self.manifest)


@cache
def load_shape(name: str) -> Loaded:
    """The random checkpoint called `name`, built once."""
    shape = next(shape for shape in SHAPES + MELODY_SHAPES if shape.name == name)
    model = build(shape)
    checkpoint = Checkpoint(name, model, b"", "", "", dict(shape.generation))
    return Loaded(shape, model, describe(checkpoint, None, "f32"))


@cache
def modules_of(name: str) -> Modules:
    """Its honest modules, scripted once."""
    return load_shape(name).modules()


@cache
def case_and_reference(name: str, seed: int, requests: int) -> tuple[Case, dict[str, torch.Tensor]]:
    """A case on the shape called `name`, and what transformers computes on it."""
    loaded = load_shape(name)
    case = make_case(loaded.manifest, seed, requests=requests, num_frames=12)
    return case, reference(loaded.model, case)


def differences(loaded: Loaded, modules: Modules, seed: int = 1, requests: int = 2) -> list[Difference]:
    """The comparison: everything, in cached single steps and with all positions in one call."""
    case, expected = case_and_reference(loaded.shape.name, seed, requests)
    lines = compare(expected, replay(modules, case))
    return lines + compare(expected, replay(modules, case, ALL_AT_ONCE))
