"""Linears with fewer bits that replace a module's float32 ones. Inputs and outputs stay float32.

Norms, embeddings, the residual stream and the softmaxes are float32 in every precision. Every row is computed
by itself: none shares a scale with the other rows of the batch, however those are steered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicsteer.torchscript.decoder import StepLinear

PRECISIONS = ("f32", "bf16", "int8")

INPUT_LEVELS = 32767  # what the largest value of a row of inputs becomes


def row_scales(weight: Tensor) -> Tensor:
    """[N, K] -> [N]: what one unit of int8 is worth in each output channel, symmetric around 0."""
    return weight.abs().amax(1).clamp_min(1e-12) / 127


class Bf16Linear(nn.Module):
    """Weight and input in bfloat16, sums in float32."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", linear.weight.detach().to(torch.bfloat16))
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N]."""
        y = F.linear(x.to(torch.bfloat16), self.weight).to(torch.float32)
        bias = self.bias
        return y if bias is None else y + bias


class Int8WeightLinear(nn.Module):
    """Weight in int8, unfolded at each call; input and sums in float32.

    For what runs once for each text: exact inputs cost little there, and T5's activations have outliers that
    int8 would not survive. Some outputs at a time: unfolded whole, the matrices of all layers leave holes in
    the heap that come to a third of the program's memory.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach()
        scale = row_scales(weight).unsqueeze(1)
        self.register_buffer("weight", (weight / scale).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N]."""
        parts: list[Tensor] = []
        for first in range(0, self.weight.shape[0], 256):
            some = slice(first, first + 256)
            parts.append(F.linear(x, self.weight[some].to(torch.float32) * self.scale[some]))
        y = torch.cat(parts, dim=-1)
        bias = self.bias
        return y if bias is None else y + bias


class Int8Linear(nn.Module):
    """Weight in int8, each row of the input in int16, scaled by its own largest value.

    This is the reference: the program has a kernel that gives the same bits. Products and sums are whole
    numbers, which float64 holds exactly.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if linear.bias is not None:
            raise ValueError("a linear of a step has no bias")
        weight = linear.weight.detach()
        scale = row_scales(weight)
        self.register_buffer("weight", (weight / scale.unsqueeze(1)).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)
        self.levels = float(INPUT_LEVELS)

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N]; a row of zeros gives zeros, one that is not finite NaN."""
        largest = x.abs().amax(-1, keepdim=True).clamp_min(1e-30)
        whole = torch.round(x * (self.levels / largest)).to(torch.float64)
        parts: list[Tensor] = []
        for first in range(
            0, self.weight.shape[0], 256
        ):  # unfolded whole, the weight would take 8 times as much
            some = slice(first, first + 256)
            sums = F.linear(whole, self.weight[some].to(torch.float64)).to(torch.float32)
            parts.append(sums * self.scale[some])
        return torch.cat(parts, dim=-1) * (largest / self.levels)


def lower(module: nn.Module, precision: str) -> nn.Module:
    """Replace the linears of `module` (a decoder or a text encoder) in place.

    Raises:
        ValueError: no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is '{precision}'; known: {', '.join(PRECISIONS)}")
    if precision == "f32":
        return module
    for name, linear in list(module.named_modules()):
        if not isinstance(linear, nn.Linear):
            continue
        parent, _, last = name.rpartition(".")
        if precision == "bf16":
            lowered: nn.Module = Bf16Linear(linear)
        elif isinstance(linear, StepLinear):
            lowered = Int8Linear(linear)
        else:
            lowered = Int8WeightLinear(linear)
        setattr(module.get_submodule(parent), last, lowered)
    return module
