"""The demo model's codec: transformers' EncodecModel, kept local in time, and how it is initialised.

Every code should say what sounds in its own 40 ms and nothing else, so that a held note repeats one code and
the language model meets few distinct frames. Hence the LSTMs that EnCodec's layout demands are zero (an LSTM
with zero weights adds exactly nothing to its skip connection) and stay so, and the convolutions at the frame
rate are short.
"""

from __future__ import annotations

from pathlib import Path

import torch
from music import FRAME_RATE_HZ, HOP, SAMPLE_RATE_HZ
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import EncodecConfig, EncodecModel

RATIOS = (10, 8, 8)
CONVOLUTIONS = (nn.Conv1d, nn.ConvTranspose1d)


def build_codec(
    codebooks: int = 4,
    codebook_size: int = 1024,
    filters: int = 32,
    latent: int = 128,
    ratios: tuple[int, ...] = RATIOS,
) -> EncodecModel:
    """An untrained codec: [B, 1, N] samples <-> [B, latent, N / HOP] <-> [B, codebooks, N / HOP] codes."""
    # transformers has as many codebooks as fit the bandwidth.
    bits = codebook_size.bit_length() - 1
    bandwidth_kbps = bits * FRAME_RATE_HZ * codebooks / 1000
    config = EncodecConfig(
        sampling_rate=SAMPLE_RATE_HZ,
        audio_channels=1,
        normalize=False,
        target_bandwidths=[bandwidth_kbps],
        hidden_size=latent,
        codebook_dim=latent,
        codebook_size=codebook_size,
        num_filters=filters,
        num_residual_layers=1,
        upsampling_ratios=list(ratios),
        kernel_size=7,
        last_kernel_size=3,
        norm_type="weight_norm",
        use_causal_conv=False,
        pad_mode="reflect",
        num_lstm_layers=1,
        use_conv_shortcut=False,
        chunk_length_s=None,
    )
    codec = EncodecModel(config)
    assert len(codec.quantizer.layers) == codebooks, (len(codec.quantizer.layers), codebooks)
    assert torch.tensor(ratios).prod() == HOP
    with torch.no_grad():
        for module in codec.modules():
            if isinstance(module, nn.LSTM):
                for parameter in module.parameters():
                    parameter.zero_()
                    parameter.requires_grad_(False)
    return codec


def trainable(codec: EncodecModel, decoder_only: bool = False) -> list[nn.Parameter]:
    """What the optimiser moves, in a fixed order."""
    parts = [codec.decoder] if decoder_only else [codec.encoder, codec.decoder]
    return [p for part in parts for p in part.parameters() if p.requires_grad]


def is_matrix(parameter: nn.Parameter) -> bool:
    """Whether Muon should take it: a kernel with at least 16 rows and columns."""
    return parameter.dim() >= 2 and min(parameter.shape[0], parameter[0].numel()) >= 16


@torch.no_grad()
def initialise(codec: EncodecModel, samples: Tensor) -> None:
    """Layer-sequential unit variance on `samples` [B, 1, N]: the default scales do not train."""
    for module in codec.modules():
        if isinstance(module, CONVOLUTIONS) and module.bias is not None:
            module.bias.zero_()
    signal = samples
    for network, last_std in ((codec.encoder, 1.0), (codec.decoder, 0.1)):
        for index, layer in enumerate(network.layers):
            target = last_std if index == len(network.layers) - 1 else 1.0
            signal = _fit(layer, signal, target)


def _fit(layer: nn.Module, signal: Tensor, target_std: float) -> Tensor:
    """Scales one layer's convolutions to the standard deviation, a residual block's last to half."""
    convolutions = [m for m in layer.modules() if isinstance(m, CONVOLUTIONS)]
    for index, convolution in enumerate(convolutions):
        seen = {}
        hook = convolution.register_forward_hook(lambda _m, _i, out, seen=seen: seen.update(std=out.std()))
        layer(signal)
        hook.remove()
        residual = len(convolutions) > 1 and index == len(convolutions) - 1
        convolution.parametrizations.weight.original0.mul_(
            target_std * (0.5 if residual else 1) / seen["std"]
        )
    return layer(signal)


@torch.no_grad()
def encode_clips(codec: EncodecModel, samples: Tensor) -> Tensor:
    """[B, N] samples -> [B, K, T] codes."""
    return codec.encode(samples[:, None], bandwidth=codec.config.target_bandwidths[-1]).audio_codes[0]


class FastEncoder:
    """`encode_clips` for many clips on one core: plain weights, and pieces that stay in the caches.

    The encoder looks no further than CONTEXT_FRAMES to either side, so pieces with that much more around
    them give the same codes (1.5 times as fast as whole clips of 400 frames).
    """

    PIECE_FRAMES, CONTEXT_FRAMES = 50, 2

    def __init__(self, codec: EncodecModel) -> None:
        self.codec = codec
        for module in codec.encoder.modules():
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """[N] samples -> [K, T] codes."""
        frames, latents = len(samples) // HOP, []
        for first in range(0, frames, self.PIECE_FRAMES):
            start = max(0, first - self.CONTEXT_FRAMES)
            end = min(frames, first + self.PIECE_FRAMES + self.CONTEXT_FRAMES)
            piece = self.codec.encoder(samples[None, None, start * HOP : end * HOP])
            latents.append(piece[:, :, first - start : first - start + self.PIECE_FRAMES])
        bandwidth = self.codec.config.target_bandwidths[-1]
        return self.codec.quantizer.encode(torch.cat(latents, 2), bandwidth)[:, 0]


@torch.no_grad()
def decode_clips(codec: EncodecModel, codes: Tensor) -> Tensor:
    """[B, K, T] codes -> [B, N] samples."""
    return codec.decode(codes[None], [None])[0][:, 0]


def load_checkpoint(path: Path) -> EncodecModel:
    """The codec of a checkpoint of train_codec.py, in the shape its codebooks say."""
    state = torch.load(path)["model"]
    codebooks = len({key for key in state if key.endswith("codebook.embed")})
    size, latent = state["quantizer.layers.0.codebook.embed"].shape
    filters = state["encoder.layers.0.conv.bias"].shape[0]
    codec = build_codec(codebooks, size, filters, latent)
    codec.load_state_dict(state)
    return codec.eval()
