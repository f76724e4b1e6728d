"""EnCodec as a scriptable module: samples -> codes, and codes -> samples in three calls.

Architecture: `EncodecModel` in transformers' modeling_encodec.py: a convolutional encoder and decoder, each
with an LSTM at its narrow end, around a residual vector quantiser. The last stages of the decoder, whose
activations are large, run in tiles that stay in a core's cache.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from musicsteer.torchscript.codec_layers import PAD_MODES, Conv, Lstm, Quantiser, ResidualBlock, UpConv
from musicsteer.torchscript.common import UnsupportedCheckpoint, adopt
from musicsteer.torchscript.reach import Reach, reach_of

PRECISIONS = {"f32": torch.float32, "bf16": torch.bfloat16}
TILE_FLOATS = 1 << 19  # of a tile's widest activation: larger ones leave the cache, smaller ones repeat work


def encoder_modules(config: Any) -> list[nn.Module]:
    """Samples -> latent, in the order of transformers' EncodecEncoder.layers."""
    width = config.num_filters
    modules: list[nn.Module] = [Conv(config, config.audio_channels, width, config.kernel_size)]
    for ratio in reversed(config.upsampling_ratios):
        for j in range(config.num_residual_layers):
            modules.append(ResidualBlock(config, width, config.dilation_growth_rate**j))
        modules += [nn.ELU(), Conv(config, width, 2 * width, 2 * ratio, stride=ratio)]
        width *= 2
    modules += [
        Lstm(config, width),
        nn.ELU(),
        Conv(config, width, config.hidden_size, config.last_kernel_size),
    ]
    return modules


def decoder_modules(config: Any) -> list[nn.Module]:
    """Latent -> samples, in the order of transformers' EncodecDecoder.layers."""
    width = config.num_filters * 2 ** len(config.upsampling_ratios)
    modules: list[nn.Module] = [
        Conv(config, config.hidden_size, width, config.kernel_size),
        Lstm(config, width),
    ]
    for ratio in config.upsampling_ratios:
        modules += [nn.ELU(), UpConv(config, width, width // 2, ratio)]
        width //= 2
        for j in range(config.num_residual_layers):
            modules.append(ResidualBlock(config, width, config.dilation_growth_rate**j))
    return [*modules, nn.ELU(), Conv(config, width, config.audio_channels, config.last_kernel_size)]


def check_config(config: Any, num_codebooks: int) -> None:
    """Refuse by name what the modules cannot express.

    Raises:
        UnsupportedCheckpoint: naming the setting.
    """
    refusals = [
        (config.model_type != "encodec", f"model_type is '{config.model_type}'; known: encodec"),
        (config.normalize, "normalize is true: every clip would need a scale with its codes"),
        (config.chunk_length_s is not None, f"chunk_length_s is {config.chunk_length_s}: overlapping chunks"),
        (
            config.pad_mode not in PAD_MODES,
            f"pad_mode is '{config.pad_mode}'; known: {', '.join(PAD_MODES)}",
        ),
        (
            config.codebook_dim != config.hidden_size,
            f"codebook_dim {config.codebook_dim} differs from hidden_size {config.hidden_size}",
        ),
        (
            config.num_quantizers < num_codebooks,
            f"target_bandwidths give {config.num_quantizers} codebooks, the decoder needs {num_codebooks}",
        ),
    ]
    for refused, reason in refusals:
        if refused:
            raise UnsupportedCheckpoint(f"audio_encoder.{reason}")


def tail_start(config: Any) -> int:
    """Where the late half of the decoder's stages begins in `decoder_modules`."""
    return 2 + (len(config.upsampling_ratios) // 2) * (2 + config.num_residual_layers)


def in_frames(reach: Reach, config: Any) -> Reach:
    """A reach in samples as one in frames."""
    if not reach.bounded:
        return reach
    hop = math.prod(config.upsampling_ratios)
    return Reach(math.ceil(reach.left / hop), math.ceil(reach.right / hop))


def tile_columns(config: Any, reach: Reach) -> int:
    """How many input columns the late stages take at a time; 0 if they cannot be cut."""
    late = len(config.upsampling_ratios) // 2
    widest = config.num_filters * math.prod(config.upsampling_ratios[late:])
    # At least its reach: a tile whose ends are the input's own must be padded as the whole is.
    return max(TILE_FLOATS // widest, 4 * max(reach.left, reach.right) + 8) if reach.bounded else 0


class Codec(nn.Module):
    """Encode, and decode in three calls: up to the LSTM, the LSTM with the caller's state, and the rest."""

    def __init__(self, config: Any, num_codebooks: int) -> None:
        """Build from transformers' EncodecConfig, with the first `num_codebooks` codebooks."""
        super().__init__()
        check_config(config, num_codebooks)
        encoder, decoder = encoder_modules(config), decoder_modules(config)
        self.encoder = nn.Sequential(*encoder[:-3])
        self.encoder_lstm = encoder[-3]
        self.encoder_out = nn.Sequential(*encoder[-2:])
        self.quantiser = Quantiser(num_codebooks, config.codebook_size, config.codebook_dim)
        self.decoder_in = decoder[0]
        self.decoder_lstm = decoder[1]
        late = tail_start(config)
        self.head, self.tail = nn.Sequential(*decoder[2:late]), nn.Sequential(*decoder[late:])
        self.tail_hop = math.prod(config.upsampling_ratios[len(config.upsampling_ratios) // 2 :])
        tail_reach = reach_of(decoder[late:], config)
        self.tail_left, self.tail_right = tail_reach.left, tail_reach.right
        self.tile = tile_columns(config, tail_reach)
        reaches = (
            reach_of(decoder[:1], config),
            reach_of(decoder[2:], config),
            in_frames(reach_of(encoder[:-3], config), config),
            reach_of(encoder[-2:], config),
        )
        self.reaches = [side for reach in reaches for side in (reach.left, reach.right)]

    @classmethod
    def from_hf(cls, model: Any, precision: str = "f32") -> Codec:
        """Take the weights of a MusicgenForConditionalGeneration's audio encoder, weight norm folded.

        `precision` is that of the decoder's convolutions and LSTM; encoding is always float32.
        """
        config, decoder_config = model.config.audio_encoder, model.config.decoder
        num_codebooks = decoder_config.num_codebooks // decoder_config.audio_channels
        with torch.device("meta"):
            codec = cls(config, num_codebooks)
        theirs = model.audio_encoder
        modules: dict[str, nn.Module] = {}
        count, late = len(theirs.encoder.layers), tail_start(config)
        for i, module in enumerate(theirs.encoder.layers):
            last = i - (count - 3)
            modules[
                f"encoder.{i}" if last < 0 else ("encoder_lstm", "encoder_out.0", "encoder_out.1")[last]
            ] = module
        for i, module in enumerate(theirs.decoder.layers):
            if i < 2:
                modules[("decoder_in", "decoder_lstm")[i]] = module
            else:
                modules[f"head.{i - 2}" if i < late else f"tail.{i - late}"] = module
        weights: dict[str, Tensor] = {}
        for k in range(num_codebooks):
            weights[f"quantiser.tables.{k}"] = theirs.quantizer.layers[k].codebook.embed
        for prefix, module in modules.items():
            kind = torch.float32 if prefix.startswith("encoder") else PRECISIONS[precision]
            for name, tensor in plain_weights(module).items():
                weights[f"{prefix}.{name}"] = tensor.to(kind)
        adopt(codec, weights)
        return codec

    @torch.jit.export
    def encode(self, samples: Tensor) -> Tensor:
        """Samples [B, C, N] float32 -> codes [B, K, T] int64, T = ceil(N / hop)."""
        x = self.encoder(samples)
        x, _ = self.encoder_lstm(x, self.encoder_lstm.initial_state(x, x.size(0)))
        return self.quantiser.quantise(self.encoder_out(x))

    @torch.jit.export
    def reach(self) -> list[int]:
        """How many frames besides its own a frame of `lstm_input` reads (left, right), one of `decode_wave`,
        one of `encoder` and one of `encoder_out`; -1 each where that is the whole clip."""
        return self.reaches

    @torch.jit.export
    def initial_state(self, batch: int) -> tuple[Tensor, Tensor]:
        """The LSTM state before the first frame: zeros [layers, batch, width] twice."""
        return self.decoder_lstm.initial_state(self.decoder_in.weight, batch)

    @torch.jit.export
    def lstm_input(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] -> what the LSTM reads, [B, width, T]."""
        return self.decoder_in(self.quantiser(codes).to(self.decoder_in.weight.dtype))

    @torch.jit.export
    def run_lstm(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """[B, width, T] -> latent [B, width, T] and the LSTM state after it."""
        return self.decoder_lstm(x, state)

    @torch.jit.export
    def decode_wave(self, latent: Tensor) -> Tensor:
        """Latent [B, width, T] -> samples [B, C, hop T] float32."""
        return self.decode_tail(self.head(latent.to(self.decoder_in.weight.dtype))).float()

    def decode_tail(self, x: Tensor) -> Tensor:
        """The late stages, a tile at a time: the tile and its reach on both sides, which is cut off again."""
        columns, hop = x.size(2), self.tail_hop
        tiles = columns // max(1, self.tile) if self.tile > 0 else 1
        if tiles < 2:
            return self.tail(x)
        waves: list[Tensor] = []
        for i in range(tiles):
            start, end = columns * i // tiles, columns * (i + 1) // tiles
            left, right = max(0, start - self.tail_left), min(columns, end + self.tail_right)
            y = self.tail(x.narrow(2, left, right - left))
            waves.append(y.narrow(2, (start - left) * hop, (end - start) * hop))
        return torch.cat(waves, dim=2)


def one_column_in_stride_out(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """A transposed convolution's weight [in, out, 2 stride] and bias as those of an UpConv."""
    channels_in, channels_out, kernel = weight.shape
    taps = weight.view(channels_in, channels_out, 2, kernel // 2)
    taps = taps.permute(3, 1, 0, 2).reshape(-1, channels_in, 1, 2).flip(3)  # the later half meets x[t - 1]
    return {"weight": taps, "bias": bias.repeat(kernel // 2)}


def plain_weights(module: Any) -> dict[str, Tensor]:
    """The weights of one of transformers' EnCodec modules under the names of ours."""
    kind = type(module).__name__
    if kind in ("EncodecConv1d", "EncodecConvTranspose1d"):
        # `conv.weight` is computed from its norm and direction where weight norm is on: the folding.
        weights = {"weight": module.conv.weight.detach(), "bias": module.conv.bias}
        if kind == "EncodecConv1d":
            weights["weight"] = weights["weight"].unsqueeze(2)
        else:
            weights = one_column_in_stride_out(weights["weight"], weights["bias"])
        weights["weight"] = weights["weight"].contiguous(memory_format=torch.channels_last)
        if module.norm_type == "time_group_norm":
            weights |= {"norm.weight": module.norm.weight, "norm.bias": module.norm.bias}
        return weights
    if kind == "EncodecLSTM":
        names = {
            "weight_ih": "weight_ih_l",
            "weight_hh": "weight_hh_l",
            "bias_ih": "bias_ih_l",
            "bias_hh": "bias_hh_l",
        }
        return {
            f"layers.{i}.{ours}": getattr(module.lstm, f"{stem}{i}")
            for i in range(module.lstm.num_layers)
            for ours, stem in names.items()
        }
    parts: dict[str, Any] = {}
    if kind == "EncodecResnetBlock":
        parts = {"first": module.block[1], "second": module.block[3]}
        if type(module.shortcut).__name__ == "EncodecConv1d":
            parts["shortcut"] = module.shortcut
    return {
        f"{part}.{name}": tensor
        for part, inner in parts.items()
        for name, tensor in plain_weights(inner).items()
    }
