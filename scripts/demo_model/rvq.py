"""The residual vector quantiser: codebooks by k-means over latents of the trained encoder.

Training encoder and codebooks together, as large codecs do, was tried and made things worse: with a few
hundred latents a step the moving averages of 1,024 codewords are noise. k-means sees fifty thousand at once,
and the codes are final while the decoder still learns.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import EncodecModel


def nearest(x: Tensor, codewords: Tensor) -> Tensor:
    """Index of the nearest codeword: [N, D], [V, D] -> [N]."""
    return (2 * x @ codewords.T - codewords.square().sum(1)).argmax(1)


def k_means(x: Tensor, size: int, iterations: int) -> Tensor:
    """[N, D] -> codewords [size, D]; a codeword that nothing is near to moves to a random vector."""
    centres = x[torch.randperm(len(x))[:size]].clone()
    for _ in range(iterations):
        index = nearest(x, centres)
        count = torch.bincount(index, minlength=size).float()
        centres = torch.zeros_like(centres).index_add_(0, index, x) / count.clamp(min=1)[:, None]
        empty = count == 0
        centres[empty] = x[torch.randint(len(x), (int(empty.sum()),))]
    return centres


@torch.no_grad()
def fit_codebooks(codec: EncodecModel, latents: Tensor, iterations: int = 15) -> list[float]:
    """Fills the codebooks one after the other from [N, D]; returns the share of variance left after each."""
    residual, left, variance = latents.clone(), [], latents.var(0).sum()
    for layer in codec.quantizer.layers:
        codebook = layer.codebook
        centres = k_means(residual, len(codebook.embed), iterations)
        codebook.embed.copy_(centres)
        codebook.embed_avg.copy_(centres)
        codebook.cluster_size.fill_(1.0)
        codebook.inited.fill_(True)
        residual = residual - centres[nearest(residual, centres)]
        left.append(float(residual.var(0).sum() / variance))
    return left


@torch.no_grad()
def quantise(codec: EncodecModel, latents: Tensor) -> Tensor:
    """[B, D, T] -> the same after all codebooks."""
    batch, width, frames = latents.shape
    residual = latents.permute(0, 2, 1).reshape(-1, width)
    quantised = torch.zeros_like(residual)
    for layer in codec.quantizer.layers:
        chosen = layer.codebook.embed[nearest(residual, layer.codebook.embed)]
        quantised, residual = quantised + chosen, residual - chosen
    return quantised.reshape(batch, frames, width).permute(0, 2, 1)
