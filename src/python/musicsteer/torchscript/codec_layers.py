"""The layers of EnCodec as scriptable modules: convolutions, LSTM, residual blocks, quantiser.

Tensors are [B, C, N] by name but channels lie together in memory, as oneDNN's convolutions want them; a
transposed convolution is a plain one that computes `stride` columns at once. Weight norm is folded into plain
weights.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicsteer.torchscript.common import onednn_linear

MANY_WEIGHTS = 1 << 20  # beyond this a transposed convolution is a matrix product
PAD_MODES = ("constant", "reflect", "replicate", "circular")


def missing_samples(length: int, stride: int) -> int:
    """How many columns complete the last window of a strided convolution.

    In float32 on purpose: transformers rounds here, which decides how many frames a very long clip has.
    """
    windows = torch.tensor([length - stride]).to(torch.float32) / float(stride) + 1.0
    return int((torch.ceil(windows).to(torch.int64) - 1).item()) * stride + stride - length


def pad_columns(x: Tensor, left: int, right: int, mode: str) -> Tensor:
    """Pad [B, C, N] at both ends; a reflection longer than the input reads zeros put behind it first."""
    x = x.unsqueeze(2)  # as an image of one row: only images keep their channels together
    if mode == "constant":
        return F.pad(x, [left, right, 0, 0]).squeeze(2)
    extra = 0
    if mode == "reflect":
        extra = max(0, max(left, right) - x.size(3) + 1)
        if extra > 0:
            x = F.pad(x, [0, extra, 0, 0])
    x = F.pad(x, [left, right, 0, 0], mode=mode).squeeze(2)
    return x.narrow(2, 0, x.size(2) - extra)


class Conv(nn.Module):
    """A strided or dilated convolution that pads its input so that N columns become ceil(N / stride)."""

    def __init__(
        self,
        config: Any,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.causal: bool = config.use_causal_conv
        self.pad_mode: str = config.pad_mode
        self.padding = (kernel - 1) * dilation + 1 - stride
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, 1, kernel))
        self.bias = nn.Parameter(torch.empty(channels_out))
        self.norm = nn.GroupNorm(1, channels_out) if config.norm_type == "time_group_norm" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels_in, N] -> [B, channels_out, ceil(N / stride)]."""
        right = 0 if self.causal else self.padding // 2
        left = self.padding - right
        right += missing_samples(x.size(2), self.stride)
        if left > 0 or right > 0:
            x = pad_columns(x, left, right, self.pad_mode)
        y = F.conv2d(
            x.unsqueeze(2), self.weight, self.bias, stride=[1, self.stride], dilation=[1, self.dilation]
        )
        return self.norm(y.squeeze(2))


class UpConv(nn.Module):
    """A transposed convolution, its result trimmed to stride x N columns.

    Its kernel is twice the stride, so that columns t stride ... (t + 1) stride - 1 come from x[t - 1] and
    x[t] alone: a convolution of kernel 2 with stride x channels_out outputs.
    """

    def __init__(self, config: Any, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.channels_out = stride, channels_out
        self.trim_right = (
            math.ceil(stride * config.trim_right_ratio) if config.use_causal_conv else stride // 2
        )
        self.trim_left = stride - self.trim_right
        self.weight = nn.Parameter(torch.empty(stride * channels_out, channels_in, 1, 2))
        self.many_weights: bool = self.weight.numel() >= MANY_WEIGHTS
        self.bias = nn.Parameter(torch.empty(stride * channels_out))
        self.norm = nn.GroupNorm(1, channels_out) if config.norm_type == "time_group_norm" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels_in, N] -> [B, channels_out, stride N]."""
        batch, columns = x.size(0), (x.size(2) + 1) * self.stride
        y = self.product(x) if self.many_weights else self.convolution(x)
        y = y.reshape(batch, columns, self.channels_out).transpose(1, 2)
        return self.norm(y).narrow(2, self.trim_left, columns - self.trim_left - self.trim_right)

    def convolution(self, x: Tensor) -> Tensor:
        """[B, channels_in, N] -> [B, N + 1, stride x channels_out]."""
        return F.conv2d(x.unsqueeze(2), self.weight, self.bias, padding=[0, 1]).squeeze(2).transpose(1, 2)

    def product(self, x: Tensor) -> Tensor:
        """The same: oneDNN would rearrange the weights at every call, which a matrix product need not."""
        rows = F.pad(x.transpose(1, 2), [0, 0, 1, 1])
        pairs = torch.cat([rows[:, :-1], rows[:, 1:]], dim=2)  # x[t - 1] beside x[t]
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # as it lies in memory
        return onednn_linear(pairs, weight, self.bias)


class ResidualBlock(nn.Module):
    """Two convolutions through a narrower width, around a shortcut."""

    def __init__(self, config: Any, channels: int, dilation: int) -> None:
        super().__init__()
        narrow = channels // config.compress
        self.first = Conv(config, channels, narrow, config.residual_kernel_size, dilation=dilation)
        self.second = Conv(config, narrow, channels, 1)
        self.shortcut = Conv(config, channels, channels, 1) if config.use_conv_shortcut else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, N] -> the same shape."""
        y = self.second(F.elu(self.first(F.elu(x)), inplace=True))
        return y.add_(self.shortcut(x))


class LstmLayer(nn.Module):
    """One LSTM layer as plain parameters: nn.LSTM keeps a side list that moving the module misses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * width, width))
        self.weight_hh = nn.Parameter(torch.empty(4 * width, width))
        self.bias_ih = nn.Parameter(torch.empty(4 * width))
        self.bias_hh = nn.Parameter(torch.empty(4 * width))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, B, width], h and c [1, B, width] -> the output and the state after it."""
        weights = [self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh]
        return torch.lstm(x, [h, c], weights, True, 1, 0.0, False, False, False)


class Lstm(nn.Module):
    """Stacked LSTM layers with a skip around the stack."""

    def __init__(self, config: Any, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(LstmLayer(width) for _ in range(config.num_lstm_layers))

    @torch.jit.export
    def initial_state(self, like: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Zeros [layers, batch, width] twice, of the type and on the device of `like`."""
        shape = [len(self.layers), batch, self.width]
        return (
            torch.zeros(shape, dtype=like.dtype, device=like.device),
            torch.zeros(shape, dtype=like.dtype, device=like.device),
        )

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x [B, width, T] and (h, c), each [layers, B, width] -> the same shapes."""
        x = x.permute(2, 0, 1)
        y = x
        h, c = state
        last_h: list[Tensor] = []
        last_c: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            y, layer_h, layer_c = layer(y, h[i : i + 1].contiguous(), c[i : i + 1].contiguous())
            last_h.append(layer_h)
            last_c.append(layer_c)
        return (y + x).permute(1, 2, 0), (torch.cat(last_h), torch.cat(last_c))


class Quantiser(nn.Module):
    """Residual vector quantiser: each codebook codes what the ones before it left."""

    def __init__(self, num_codebooks: int, codebook_size: int, width: int) -> None:
        super().__init__()
        self.num_codebooks = num_codebooks
        self.tables = nn.ParameterList(
            nn.Parameter(torch.empty(codebook_size, width)) for _ in range(num_codebooks)
        )

    def forward(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] -> the sum of their entries [B, width, T]."""
        total = F.embedding(codes[:, 0], self.tables[0])
        for k, table in enumerate(self.tables):
            if k > 0:
                total = total + F.embedding(codes[:, k], table)
        return total.transpose(1, 2)

    @torch.jit.export
    def quantise(self, x: Tensor) -> Tensor:
        """[B, width, T] -> codes [B, K, T] int64: the nearest entry of each codebook in turn.

        The distance is summed in transformers' order, so that near ties fall the same way.
        """
        rest = x.transpose(1, 2)
        codes: list[Tensor] = []
        for table in self.tables:
            flat = rest.reshape(-1, rest.size(2))
            entries = table.t()
            squares = flat.pow(2).sum(1, keepdim=True)
            distance = squares - torch.matmul(2 * flat, entries) + entries.pow(2).sum(0, keepdim=True)
            nearest = (-distance).max(dim=-1).indices.view(rest.size(0), rest.size(1))
            rest = rest - F.embedding(nearest, table)
            codes.append(nearest)
        return torch.stack(codes, dim=1)
