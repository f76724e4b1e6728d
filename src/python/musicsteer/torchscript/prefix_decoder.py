"""The decoder of MusicGen's melody checkpoints: melody and text are a prefix in front of the codes.

Architecture: `MusicgenMelodyForConditionalGeneration` in transformers' modeling_musicgen_melody.py. Layers
without cross-attention; the prefix is chroma, projected and repeated to a fixed length, then projected text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from musicsteer.torchscript.common import UnsupportedCheckpoint
from musicsteer.torchscript.decoder import LAYER_WEIGHTS, Layer, Trunk, adopt_weights
from musicsteer.torchscript.melody import NUM_CHROMA

# Texts for which positions are there beside the longest clip: the tokens that T5 was trained on.
TEXT_POSITIONS = 512


class PrefixDecoder(Trunk):
    """Everything around the layers, prefix included."""

    def __init__(self, config: Any) -> None:
        """Build from transformers' MusicgenMelodyConfig."""
        # transformers lengthens its table when it is too short.
        length = config.decoder.max_position_embeddings + config.chroma_length + TEXT_POSITIONS
        super().__init__(config.decoder, Layer, length)
        if config.num_chroma != NUM_CHROMA:
            raise UnsupportedCheckpoint(f"num_chroma is {config.num_chroma}; expected {NUM_CHROMA}")
        self.chroma_length: int = config.chroma_length
        width = config.decoder.hidden_size
        self.text_projection: nn.Module = nn.Identity()
        if config.text_encoder.hidden_size != width:
            self.text_projection = nn.Linear(config.text_encoder.hidden_size, width)
        self.chroma_projection: nn.Module = nn.Identity()
        if width != NUM_CHROMA:
            self.chroma_projection = nn.Linear(NUM_CHROMA, width)

    @classmethod
    def from_hf(cls, model: Any) -> PrefixDecoder:
        """Point at the weights of a MusicgenMelodyForConditionalGeneration."""
        with torch.device("meta"):
            decoder = cls(model.config)
        modules = {}
        if isinstance(decoder.text_projection, nn.Linear):
            modules["text_projection"] = model.enc_to_dec_proj
        if isinstance(decoder.chroma_projection, nn.Linear):
            modules["chroma_projection"] = model.audio_enc_to_dec_proj
        table = model.decoder.model.decoder.embed_positions
        positions = table.get_embedding(*decoder.positions.shape)
        adopt_weights(decoder, model, LAYER_WEIGHTS, modules, positions)
        return decoder

    @torch.jit.export
    def embed_prefix(self, chroma: Tensor, states: Tensor, mask: Tensor) -> Tensor:
        """Chroma [P, F, 12], text states [P, S, Dt] and mask [P, S] -> [P, chroma_length + S, D].

        Positions from 0 on are included. Short chroma is repeated, long chroma cut; text is zero where its
        mask is.
        """
        melody = self.chroma_projection(chroma)
        repeats = (self.chroma_length + melody.size(1) - 1) // melody.size(1)
        melody = melody.tile([1, repeats, 1]).narrow(1, 0, self.chroma_length)
        text = self.text_projection(states).masked_fill(~mask.to(torch.bool).unsqueeze(-1), 0.0)
        x = torch.cat([melody, text], dim=1)
        return x + self.positions.narrow(0, 0, x.size(1))

    @torch.jit.export
    def embed(self, codes: Tensor, position: Tensor) -> Tensor:
        """Codes [B, K, T] int64, those of each row at its own `position` [B].. -> [B, T, D]."""
        columns = torch.arange(codes.size(2), device=codes.device)
        places = (position.unsqueeze(1) + columns.unsqueeze(0)).flatten()
        x = self.sum_of_codes(codes)
        return x + self.positions.index_select(0, places).view(x.size(0), x.size(1), x.size(2))
