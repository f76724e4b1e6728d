"""Hooks in transformers' decoder that steer it and record every hook point."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from musicsteer.torchscript.parity_case import Steer


def site_modules(layer: Any) -> dict[str, tuple[Any, bool]]:
    """Hook point -> (module of transformers' layer, whether it is its input rather than its output)."""
    sites = {
        "resid_pre": (layer, True),
        "self_attn_heads": (layer.self_attn.out_proj, True),
        "self_attn_out": (layer.self_attn, False),
        "resid_post_self": (layer.final_layer_norm, True),
        "resid_post_cross": (layer.final_layer_norm, True),
        "mlp_out": (layer.fc2, False),
        "resid_post": (layer, False),
    }
    if hasattr(layer, "encoder_attn"):  # melody checkpoints have no cross-attention
        sites["resid_post_self"] = (layer.encoder_attn_layer_norm, True)
        sites["cross_attn_heads"] = (layer.encoder_attn.out_proj, True)
        sites["cross_attn_out"] = (layer.encoder_attn, False)
    return sites


def first(value: Any) -> Tensor:
    """The tensor, or the first of a tuple."""
    return value[0] if isinstance(value, tuple) else value


def steer_module(module: Any, of_input: bool, steer: Steer) -> Any:
    """Register the forward (pre-)hook in transformers that does what `steer` says."""

    def edited(x: Tensor) -> Tensor:  # a prefix, which the first call takes too, is left alone
        return torch.cat([x[:, :-1], steer.apply(x[:, -1:])], dim=1)

    def on_input(_: Any, arguments: tuple[Any, ...]) -> Any:
        return (edited(arguments[0]), *arguments[1:])

    def on_output(_: Any, __: Any, output: Any) -> Any:
        return (edited(output[0]), *output[1:]) if isinstance(output, tuple) else edited(output)

    return module.register_forward_pre_hook(on_input) if of_input else module.register_forward_hook(on_output)


def steered_through(site: str, has_cross: bool) -> str:
    """The site through which transformers is steered: an added vector reaches a sum through any summand, and
    the norms' inputs can't be edited there."""
    if site == "resid_post_self":
        return "self_attn_out"
    if site in ("resid_post_cross", "cross_attn_out"):
        return "cross_attn_out" if has_cross else "self_attn_out"
    return site


class Recorder:
    """Hooks in transformers' decoder: steering first, so that what is recorded is what was edited.

    The columns of a prefix are kept apart.
    """

    def __init__(self, model: Any, steers: list[Steer]) -> None:
        self.columns: dict[str, list[Tensor]] = {}
        self.handles: list[Any] = []
        inner = model.decoder.model.decoder
        self.prefix = torch.empty(0)
        for steer in steers:
            sites = site_modules(inner.layers[steer.layer])
            site = steered_through(steer.site, "cross_attn_out" in sites)
            self.handles.append(steer_module(*sites[site], steer))
        self.watch(inner.layers[0], True, "decoder.embed")
        for i, layer in enumerate(inner.layers):
            for site, (module, of_input) in site_modules(layer).items():
                self.watch(module, of_input, f"decoder.{i}.{site}")
        self.watch(inner.layer_norm, False, "decoder.final_norm")

    def watch(self, module: Any, of_input: bool, name: str) -> None:
        """Keep what goes into or comes out of `module` under `name`."""

        def keep(*arguments: Any) -> None:
            value = first(arguments[1] if of_input else arguments[2])
            if name == "decoder.embed" and value.size(1) > 1:
                self.prefix = value[:, :-1].detach().clone()
            self.columns.setdefault(name, []).append(value[:, -1:].detach().clone())

        register = module.register_forward_pre_hook if of_input else module.register_forward_hook
        self.handles.append(register(keep))

    def finish(self) -> dict[str, Tensor]:
        """Remove every hook; the columns of each name joined: [B, T, ...]."""
        for handle in self.handles:
            handle.remove()
        return {name: torch.cat(parts, dim=1) for name, parts in self.columns.items()}
