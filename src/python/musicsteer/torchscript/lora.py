"""Merging a LoRA adapter, as peft writes it, into the model that it was trained on."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from musicsteer.torchscript.source import CheckpointError

CONFIG = "adapter_config.json"
# Settings that do not change what an adapter's weights mean, and those that are read below.
HARMLESS = {
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora",  # read
    "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "modules_to_save",
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "eva_config", "runtime_config",  # training and running
    "megatron_core", "qalora_group_size",  # without megatron_config and use_qalora
}  # fmt: skip
# Settings with the values that can be merged. Other initialisations (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA)
# change the base model's weights as well.
PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
    "bias": ("none", None),
}
PREFIX = "base_model.model."
# What peft puts behind a module's name, for linears and for embeddings.
FACTORS = re.compile(r"(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<factor>[AB])(\.weight)?")


@dataclass
class Adapter:
    """A LoRA folder in memory."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def fail(self, what: str) -> CheckpointError:
        """An error that names the folder."""
        return CheckpointError(f"{self.folder}: {what}")


def read_adapter(folder: Path) -> Adapter:
    """Read a folder with adapter_config.json and adapter_model.safetensors (or .bin).

    Raises:
        CheckpointError: one is missing or damaged, or it is another kind of adapter.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not a LoRA adapter: it has no {CONFIG}")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if (folder / "adapter_model.safetensors").is_file():
            tensors = load_file(folder / "adapter_model.safetensors")
        else:
            tensors = torch.load(folder / "adapter_model.bin", map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder} has no adapter_model.safetensors") from error
    except (ValueError, SafetensorError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / CONFIG} is not an adapter's configuration: expected a JSON object")
    adapter = Adapter(folder, config, tensors)
    check_settings(adapter)
    return adapter


def check_settings(adapter: Adapter) -> None:
    """Refuse an adapter that computes something else than is merged here, or may: a setting nobody knows.

    Raises:
        CheckpointError: naming the setting and its value.
    """
    for key, value in {"peft_type": None, **adapter.config}.items():
        is_plain = value in PLAIN[key] if key in PLAIN else key in HARMLESS or not value
        if not is_plain:
            raise adapter.fail(
                f"{key} is {value!r}, which cannot be merged here; merge it with peft "
                "(merge_and_unload, then save_pretrained) and export the merged folder"
            )


def of_pattern(config: dict[str, Any], key: str, module: str, default: float) -> float:
    """The number that peft's `rank_pattern` or `alpha_pattern` gives a module, or the default."""
    for pattern, value in (config.get(key) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def scale_of(config: dict[str, Any], module: str) -> float:
    """What B A is multiplied by."""
    rank = of_pattern(config, "rank_pattern", module, config["r"])
    alpha = of_pattern(config, "alpha_pattern", module, config["lora_alpha"])
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


@torch.no_grad()
def merge(model: Any, folder: Path) -> None:
    """Add an adapter's updates to the weights of `model`, and take over modules that it trained whole.

    Adapters of the whole model and of its decoder alone are both read.

    Raises:
        CheckpointError: it does not fit the model, or holds what cannot be merged.
    """
    adapter = read_adapter(folder)
    weights = model.state_dict()
    factors: dict[str, dict[str, Tensor]] = {}
    for name, tensor in adapter.tensors.items():
        path = name.removeprefix(PREFIX)
        if found := FACTORS.fullmatch(path):
            module = place_of(adapter, weights, found["module"], found["module"] + ".weight")
            factors.setdefault(module, {})[found["factor"] + (found["kind"] or "")] = tensor.float()
            continue
        whole = place_of(adapter, weights, path, path.replace(".modules_to_save", ""))
        if weights[whole].shape != tensor.shape:
            raise adapter.fail(f"{name} has the shape {list(tensor.shape)}, the model's {whole} another")
        weights[whole].copy_(tensor)
    if not adapter.tensors:
        raise adapter.fail("holds no weights")
    for name, pair in factors.items():
        update = product(adapter, name, pair)
        if update.shape != weights[name].shape:
            raise adapter.fail(
                f"changes {name} by {list(update.shape)}, where the model has {list(weights[name].shape)}: "
                "it was made for another model"
            )
        weights[name].add_(scale_of(adapter.config, name.removesuffix(".weight")) * update)


def place_of(adapter: Adapter, weights: dict[str, Tensor], name: str, weight: str) -> str:
    """The model's name of a weight, where the adapter is of the whole model or of its decoder."""
    for candidate in (weight, f"decoder.{weight}"):
        if candidate in weights:
            return candidate
    raise adapter.fail(f"changes {name}, which the model does not have: it was made for another model")


def product(adapter: Adapter, name: str, pair: dict[str, Tensor]) -> Tensor:
    """What the two factors add to a weight, before scaling."""
    if set(pair) == {"A", "B"}:
        return pair["B"] @ pair["A"]
    if set(pair) == {"Aembedding_", "Bembedding_"}:
        return (pair["Bembedding_"] @ pair["Aembedding_"]).t()
    raise adapter.fail(f"has only one factor for {name}")
