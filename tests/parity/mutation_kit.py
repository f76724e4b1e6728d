"""Injecting a deliberate mistake for as long as a block runs; mutations.py holds the mistakes.

`injected` works around scripting and around an export alike.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from musicsteer.torchscript import common

Patch = Callable[[Any, str, Any], None]


@dataclass(frozen=True)
class Mutation:
    """A mistake, and the random checkpoint on which it shows."""

    name: str
    shape: str
    inject: Callable[[Patch], None]
    in_manifest: Callable[[dict[str, Any]], None] = lambda manifest: None
    in_comparison: bool = False  # sits in the loop around the modules: an export would not carry it


MUTATIONS: list[Mutation] = []


def mistake(shape: str, **options: Any) -> Callable[[Callable[[Patch], None]], Callable[[Patch], None]]:
    """Register a function that injects a mistake; its name says which."""

    def register(inject: Callable[[Patch], None]) -> Callable[[Patch], None]:
        MUTATIONS.append(Mutation(inject.__name__, shape, inject, **options))
        return inject

    return register


def forget_compiled_types() -> None:
    """Scripting keeps what it compiled by Python class: without this, a patched method would be ignored."""
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()


@contextmanager
def injected(mutation: Mutation, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The mistake is in place inside the block, which gets a manifest that has it."""
    wrong = copy.deepcopy(manifest)
    mutation.in_manifest(wrong)
    with pytest.MonkeyPatch.context() as patch:
        forget_compiled_types()
        try:
            mutation.inject(patch.setattr)
            yield wrong
        finally:
            forget_compiled_types()


def change_weights(patch: Patch, module: Any, change: Callable[[dict[str, Tensor]], None]) -> None:
    """Pass what `module` adopts through `change`."""

    def adopt(target: nn.Module, weights: dict[str, Tensor]) -> None:
        weights = {name: tensor.detach() for name, tensor in weights.items()}
        change(weights)
        common.adopt(target, weights)

    patch(module, "adopt", adopt)
