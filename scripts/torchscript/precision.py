"""Linears in fewer bits, in the place of a module's float32 ones. What goes in and comes out stays float32.

Norms, embeddings, the residual stream and the softmaxes are float32 in every precision. Every row is computed
by itself: none shares a scale with its companions in the batch, whatever steering makes of those.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchscript.decoder import StepLinear

PRECISIONS = ("f32", "bf16", "int8")

# What the largest value of a row becomes. 127 would overflow the 16 bits in which FBGEMM adds pairs of
# products where the processor has no VNNI instructions; 63 does not, so that every processor gives the same.
INT8_LEVELS = 63


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
    """Weight in int8, packed for FBGEMM; each row of the input in int8 too, scaled by its own largest value.

    One int8 term for the input is too coarse: guidance multiplies its error (docs/performance.md). So what it
    leaves over is a second row of the same product, `2 levels` times finer. Inputs are then nearly exact, and
    the time goes into reading the weight anyway.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        if linear.bias is not None:
            raise ValueError("the row's scale would reach the bias")
        weight = linear.weight.detach().float()
        zeros = torch.zeros(weight.size(0), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantized = torch.quantize_per_channel(weight, row_scales(weight).double(), zeros, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(quantized, None)
        self.levels = INT8_LEVELS

    def forward(self, x: Tensor) -> Tensor:
        """[..., K] -> [..., N]; a row of zeros gives zeros."""
        rows = x.flatten(0, -2)
        largest = rows.abs().amax(-1, keepdim=True).clamp_min(1e-30)
        rows = rows / largest
        coarse = torch.round(rows * self.levels) / self.levels
        both = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            torch.cat([coarse, (rows - coarse) * (2 * self.levels)]),
            1.0 / self.levels,
            self.levels + 1,
            self.packed,
        )
        first, second = both.chunk(2)
        y = first + second / (2 * self.levels)
        return (y * largest).view(x.shape[:-1] + y.shape[-1:])


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
