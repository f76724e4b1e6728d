"""What the codec is trained on: error of the waveform first, of mel spectrograms later."""

from __future__ import annotations

import math

import librosa
import torch
from music import SAMPLE_RATE_HZ
from torch import Tensor, nn

FFT_SIZES = (128, 256, 512, 1024, 2048)
MEL_BANDS = (16, 24, 40, 64, 96)
MEL_FLOOR = 6e-3


def relative_error(y: Tensor, x: Tensor) -> Tensor:
    """Mean over the batch of squared error over power, [B, N] each; quiet clips count little."""
    return ((y - x).square().mean(1) / (x.square().mean(1) + 1e-4)).mean()


def emphasised(x: Tensor) -> Tensor:
    """First-order high-pass, [B, N] -> [B, N - 1]."""
    return x[:, 1:] - 0.9 * x[:, :-1]


def emphasised_error(y: Tensor, x: Tensor) -> Tensor:
    """`relative_error` after `emphasised`, which weighs high partials up."""
    y, x = emphasised(y), emphasised(x)
    return ((y - x).square().mean(1) / (x.square().mean(1) + 1e-5)).mean()


class MelLoss(nn.Module):
    """L1 of log-mel spectrograms and relative L2 of linear ones, at five resolutions."""

    def __init__(self) -> None:
        super().__init__()
        for size, bands in zip(FFT_SIZES, MEL_BANDS, strict=True):
            self.register_buffer(f"window_{size}", torch.hann_window(size))
            mel = librosa.filters.mel(sr=SAMPLE_RATE_HZ, n_fft=size, n_mels=bands, norm=None)
            self.register_buffer(f"mel_{size}", torch.tensor(mel).float())

    def _magnitude(self, x: Tensor, size: int) -> Tensor:
        window = getattr(self, f"window_{size}")
        spectrum = torch.view_as_real(torch.stft(x, size, size // 4, window=window, return_complex=True))
        return (spectrum.square().sum(-1) + 1e-9).sqrt()

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """y, x: [B, N] -> scalar."""
        total = torch.zeros(())
        for size in FFT_SIZES:
            y_magnitude = self._magnitude(y, size)
            with torch.no_grad():
                x_magnitude = self._magnitude(x, size)
            mel, scale = getattr(self, f"mel_{size}"), 4 / math.sqrt(size)
            y_log = torch.log(mel @ y_magnitude * scale + MEL_FLOOR)
            x_log = torch.log(mel @ x_magnitude * scale + MEL_FLOOR)
            difference = (y_magnitude - x_magnitude).square().sum((1, 2)).sqrt()
            linear = (difference / (x_magnitude.square().sum((1, 2)).sqrt() + 1e-2)).mean()
            total = total + (y_log - x_log).abs().mean() + 0.5 * linear
        return total / len(FFT_SIZES)
