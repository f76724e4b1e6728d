"""Adapters that peft writes here and now: merged as peft merges them, or refused."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "parity"))

from checkpoints import SHAPES, build  # noqa: E402

from musicsteer.torchscript import lora  # noqa: E402
from musicsteer.torchscript.source import CheckpointError  # noqa: E402

peft = pytest.importorskip("peft")

TARGETS = {"target_modules": ["q_proj", "v_proj"], "r": 4, "lora_alpha": 8}
# Fields of peft 0.21.2 that are refused unless they are empty.
REFUSED = {
    "alora_invocation_tokens", "arrow_config", "corda_config", "ensure_weight_tying", "fan_in_fan_out",
    "kasa_config", "layer_replication", "loftq_config", "lora_bias", "lora_ga_config", "megatron_config",
    "monteclora_config", "target_parameters", "trainable_token_indices", "use_bdlora", "use_dora",
    "use_qalora", "velora_config",
}  # fmt: skip


def merged_by_peft(folder: Path, **settings: Any) -> dict[str, torch.Tensor]:
    """Save an adapter with random weights; what peft itself makes of it and the base model."""
    torch.manual_seed(0)
    model = peft.get_peft_model(build(SHAPES[0]), peft.LoraConfig(**TARGETS | settings))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.add_(0.05 * torch.randn(weight.shape, generator=draw))
    model.save_pretrained(folder)
    return peft.PeftModel.from_pretrained(build(SHAPES[0]), folder).merge_and_unload().state_dict()


@pytest.mark.parametrize("initial", [True, False, "gaussian", "eva", "orthogonal"])
def test_an_initialisation_that_leaves_the_base_model_alone_is_merged(tmp_path: Path, initial: Any) -> None:
    expected = merged_by_peft(tmp_path, init_lora_weights=initial)
    model = build(SHAPES[0])
    lora.merge(model, tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.allclose(expected[name], tensor, rtol=0, atol=1e-6), name


@pytest.mark.parametrize("initial", ["pissa", "olora"])
def test_an_initialisation_that_changes_the_base_model_is_refused(tmp_path: Path, initial: str) -> None:
    merged_by_peft(tmp_path, init_lora_weights=initial)
    with pytest.raises(CheckpointError, match=f"init_lora_weights is '{initial}', which cannot be merged"):
        lora.merge(build(SHAPES[0]), tmp_path)


def test_every_setting_of_peft_is_known() -> None:
    """One that a later peft adds has to be put in HARMLESS, PLAIN or REFUSED, after reading what it does."""
    assert {field.name for field in fields(peft.LoraConfig)} == lora.HARMLESS | lora.PLAIN.keys() | REFUSED
