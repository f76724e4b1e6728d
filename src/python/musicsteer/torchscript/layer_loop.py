"""The program's loop over the layers, in Python, with a bundle's modules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicsteer.torchscript.decoder import text_bias
from musicsteer.torchscript.melody import NUM_CHROMA
from musicsteer.torchscript.parity_case import Case


@dataclass
class Modules:
    """The modules of a bundle (scripted or not) and its manifest."""

    text_encoder: Any
    decoder: Any
    codec: Any
    manifest: dict[str, Any]

    @classmethod
    def of(cls, modules: dict[str, Any], manifest: dict[str, Any]) -> Modules:
        """Modules by file name."""
        return cls(*(modules[f"{name}.pt"] for name in ("text_encoder", "decoder", "codec")), manifest)

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Modules:
        """Load the files of a bundle onto a device, as the program does."""
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = ("text_encoder.pt", "decoder.pt", "codec.pt")
        return cls.of({file: torch.jit.load(str(folder / file), device) for file in files}, manifest)


class LayerLoop:
    """The program's loop over the layers, in Python: owns the caches and fires every hook point."""

    def __init__(self, modules: Modules, case: Case, columns: int) -> None:
        self.modules, self.case = modules, case
        self.columns: dict[str, list[Tensor]] = {}
        dims = modules.manifest["decoder"]
        self.layers = list(modules.decoder.layers.children())
        if len(self.layers) != dims["num_layers"]:
            raise ValueError(f"{len(self.layers)} layers where the manifest says {dims['num_layers']}")
        self.slots = self.prefix_slots()
        shape = [len(case.prompt_of_row), dims["num_heads"], self.slots + columns, dims["head_size"]]
        half = modules.manifest["precision"]["decoder"] != "f32"
        # NaN shows any read beyond what was written.
        empty = torch.full(shape, torch.nan, dtype=torch.float16 if half else torch.float32)
        self.caches = [(empty.clone(), empty.clone()) for _ in self.layers]
        self.position = 0

    def prefix_slots(self) -> int:
        """Slots of the cache in front of the codes."""
        return 0

    def hook(self, layer: int, site: str, x: Tensor) -> Tensor:
        """Steer, then record."""
        for steer in self.case.steer:
            if (steer.layer, steer.site) == (layer, site):
                x = steer.apply(x)
        self.columns.setdefault(f"decoder.{layer}.{site}", []).append(x.clone())
        return x

    def begin(self, states: Tensor) -> dict[str, Tensor]:
        """Give every row its text, of states [P, S, Dt]. Returns the tensors to compare."""
        text = self.modules.decoder.project_text(states, self.case.mask)
        mask, texts = self.case.mask.to(torch.bool), self.case.prompt_of_row
        self.text_rows = mask.any(dim=1)[texts].nonzero().flatten()
        texts = texts[self.text_rows]
        self.text_bias = text_bias(mask[texts])
        self.cross = [tuple(part[texts] for part in layer.cross_kv(text)) for layer in self.layers]
        return {"text.projected": text[self.case.prompt_of_row]}

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position -> [B, T, D]."""
        return self.modules.decoder.embed(codes, self.position)

    def self_attn(self, i: int, x: Tensor) -> Tensor:
        """[B, T, D] -> heads [B, T, H, hd]."""
        return self.layers[i].self_attn(x, *self.caches[i], self.position)

    def cross_attn(self, i: int, x: Tensor) -> Tensor:
        """[B, T, D] -> what is added to it."""
        z = self.layers[i].cross_attn(x, *self.cross[i], self.text_bias, self.text_rows)
        self.columns.setdefault(f"decoder.{i}.cross_attn_heads", []).append(z.flatten(2))
        return self.layers[i].cross_out(z)

    def step(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position -> logits [B, K, T, V]."""
        decoder = self.modules.decoder
        x = self.embed(codes)
        for i, layer in enumerate(self.layers):
            x = self.hook(i, "resid_pre", x)
            if i == 0:
                self.columns.setdefault("decoder.embed", []).append(x.clone())
            z = self.self_attn(i, x)
            self.columns.setdefault(f"decoder.{i}.self_attn_heads", []).append(z.flatten(2))
            x = self.hook(i, "resid_post_self", x + self.hook(i, "self_attn_out", layer.self_out(z)))
            x = self.hook(i, "resid_post_cross", x + self.hook(i, "cross_attn_out", self.cross_attn(i, x)))
            x = self.hook(i, "resid_post", x + self.hook(i, "mlp_out", layer.mlp(x)))
        x = decoder.final_norm(x)
        self.columns.setdefault("decoder.final_norm", []).append(x)
        self.position += codes.size(2)
        return decoder.logits(x)


class PrefixLoop(LayerLoop):
    """The same for a model with a prefix: each row's own, with its end at the first code."""

    def prefix_slots(self) -> int:
        """Those of the longest prefix."""
        return self.modules.manifest["conditioning"]["chroma_length"] + self.case.ids.size(1)

    def begin(self, states: Tensor) -> dict[str, Tensor]:
        """Read every row's prefix; a null text is as long as the prompt whose place it takes."""
        case, rows = self.case, len(self.case.prompt_of_row)
        self.length = torch.zeros(rows, dtype=torch.int64)
        self.bias = torch.zeros(rows, 1, 1, self.caches[0][0].size(2))
        found: list[Tensor] = []
        for row in range(rows):
            is_null = row >= rows // 2
            text = case.prompt_of_row[
                row - rows // 2 if is_null else row
            ]  # a null text is as long as its prompt
            count = int(case.mask[text].sum())
            mask = torch.full([1, count], not is_null)
            x = self.modules.decoder.embed_prefix(
                self.chroma(is_null), states[text : text + 1, :count] * mask.unsqueeze(-1), mask
            )
            found.append(x)
            free = self.slots - x.size(1)
            self.length[row] = x.size(1)
            self.bias[row, :, :, :free] = -torch.inf
            self.read(row, x, free)
        half = rows // 2
        return {f"prefix.{r}": torch.cat([found[r], found[half + r]]) for r in range(half)}

    def chroma(self, is_null: bool) -> Tensor:
        """The melody [1, F, 12], or what stands for none."""
        if self.case.melody is not None and not is_null:
            return self.case.melody.unsqueeze(0)
        return torch.eye(NUM_CHROMA)[:1].unsqueeze(0)

    def read(self, row: int, x: Tensor, free: int) -> None:
        """Run the layers on a prefix [1, length, D], into the row's slots from `free` on."""
        for layer, (keys, values) in zip(self.layers, self.caches, strict=True):
            own = [torch.empty_like(cache[:1, :, : x.size(1)]) for cache in (keys, values)]
            x = x + layer.self_out(layer.self_attn(x, *own, 0))
            x = x + layer.mlp(x)
            for cache, part in zip((keys, values), own, strict=True):
                cache[row, :, :free] = 0
                cache[row, :, free : self.slots] = part[0]

    def embed(self, codes: Tensor) -> Tensor:
        """Codes [B, K, T] at the current position, counted from each row's prefix -> [B, T, D]."""
        return self.modules.decoder.embed(codes, self.length + self.position)

    def self_attn(self, i: int, x: Tensor) -> Tensor:
        """[B, T, D] -> heads [B, T, H, hd]."""
        first = self.slots + self.position
        return self.layers[i].self_attn(x, *self.caches[i], first, self.bias[..., : first + x.size(1)])

    def cross_attn(self, i: int, x: Tensor) -> Tensor:
        """Nothing."""
        return torch.zeros_like(x)


def loop_over_layers(modules: Modules, case: Case, columns: int) -> LayerLoop:
    """The loop for the bundle's kind of conditioning."""
    kind = {"cross": LayerLoop, "prefix": PrefixLoop}[modules.manifest["conditioning"]["type"]]
    return kind(modules, case, columns)
