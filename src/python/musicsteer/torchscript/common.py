"""What the three modules share: refusals, activations, and pointing a module at given weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class UnsupportedCheckpoint(Exception):
    """A configuration that the modules cannot express; the message names the setting and its value."""


class Gelu(nn.Module):
    """GELU by the error function."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.gelu(x)


class GeluTanh(nn.Module):
    """GELU by its tanh approximation."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.gelu(x, approximate="tanh")


class QuickGelu(nn.Module):
    """x sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x * torch.sigmoid(1.702 * x)


class ClippedGelu(nn.Module):
    """GELU by the error function, cut to [-10, 10]."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.gelu(x).clamp(-10.0, 10.0)


class SquaredRelu(nn.Module):
    """max(x, 0) squared."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.relu(x).square()


# transformers' names -> ours; several names there are one function.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": Gelu,
    "gelu_python": Gelu,
    "gelu_new": GeluTanh,
    "gelu_fast": GeluTanh,
    "gelu_accurate": GeluTanh,
    "gelu_pytorch_tanh": GeluTanh,
    "gelu_python_tanh": GeluTanh,
    "gelu_10": ClippedGelu,
    "quick_gelu": QuickGelu,
    "relu": nn.ReLU,
    "relu2": SquaredRelu,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "hardswish": nn.Hardswish,
    "mish": nn.Mish,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "linear": nn.Identity,
}


def activation(name: str, setting: str) -> nn.Module:
    """The activation called `name`; `setting` is the configuration key, for the refusal.

    Raises:
        UnsupportedCheckpoint: the name is none of ACTIVATIONS.
    """
    if name not in ACTIVATIONS:
        raise UnsupportedCheckpoint(f"{setting} is '{name}'; known: {', '.join(sorted(ACTIVATIONS))}")
    return ACTIVATIONS[name]()


def adopt(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Make `weights` the parameters and buffers of `module` (built on the meta device), without a copy.

    Every name has to be there and no other, and every shape has to fit.
    """
    module.load_state_dict({name: tensor.detach() for name, tensor in weights.items()}, assign=True)
    module.requires_grad_(False).eval()


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.linear on oneDNN on a CPU, where it is faster than MKL from four rows on.

    bfloat16 is left to F.linear, which knows processors on which oneDNN has no product for it.
    """
    if x.is_cuda or x.dtype == torch.bfloat16:
        return F.linear(x, weight, bias)
    scalars: list[int | float | complex | None] = []  # TorchScript's list of numbers
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", scalars, "")
