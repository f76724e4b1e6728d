"""A small grid of clips with every kind of steering, which changes of the program must not affect.

compare_builds.py makes it with two builds; tests/cli/test_golden_ids.py holds its IDs and records. Vectors
are written here byte by byte from whole numbers, so that their hashes do not depend on a library's version.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FRAMES = 40  # of each clip
SITES = (
    "resid_pre", "self_attn_heads", "self_attn_out", "resid_post_self",
    "cross_attn_out", "resid_post_cross", "mlp_out", "resid_post",
)  # fmt: skip
# Parts of a clip's ID that depend on the machine.
FIXED = ["--threads", "1", "--batch-size", "8"]


@dataclass(frozen=True)
class Model:
    """What the grid needs to know of a bundle."""

    name: str
    weights_sha256: str
    num_layers: int
    hidden_size: int
    duration_s: float  # of FRAMES frames

    @classmethod
    def of(cls, bundle: Path) -> Model:
        """As the bundle's manifest says."""
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        model, decoder, codec = manifest["model"], manifest["decoder"], manifest["codec"]
        return cls(
            model["name"], model["weights_sha256"], decoder["num_layers"], decoder["hidden_size"],
            FRAMES / codec["frame_rate_hz"],
        )  # fmt: skip


def direction(model: Model, salt: int, layer: int, site: int) -> list[int]:
    """[D] whole numbers from -8 to 8, which float32 holds exactly."""
    return [((i + 3) * (i + salt) + 5 * layer + 11 * site) % 17 - 8 for i in range(model.hidden_size)]


def vector_bytes(model: Model, concept: str, salt: int, sites: tuple[str, ...]) -> bytes:
    """A vector file of every layer at these sites, in eighths. Layer 1 has the largest effect size."""
    tensors: dict[str, Any] = {}
    layers: dict[str, Any] = {}
    data = b""
    for layer in range(model.num_layers):
        for site in sites:
            numbers = direction(model, salt, layer, SITES.index(site))
            name = f"decoder.{layer}.{site}"
            begin = len(data)
            data += struct.pack(f"<{len(numbers)}f", *(number / 8 for number in numbers))
            tensors[name] = {"dtype": "F32", "shape": [len(numbers)], "data_offsets": [begin, len(data)]}
            layers[name] = {
                "norm": math.sqrt(sum(number * number for number in numbers)) / 8,
                "mean_residual_norm": 8.0 + layer,
                "effect_size": 3.0 - abs(layer - 1.25),
            }
    fields = {
        "musicsteer": {"format": "musicsteer-vectors", "format_version": 1, "oldest_reader": 1},
        "labels": {"positive": "more", "negative": "less"},
        "counts": {"positive": 4, "negative": 4},
        "layers": layers,
        "duration_s": 0.5, "guidance_scale": 3.0, "top_k": 250, "top_p": 0.0, "temperature": 1.0, "seed": 0,
        "num_layers": model.num_layers, "hidden_size": model.hidden_size,
    }  # fmt: skip
    words = {
        "concept": concept, "method": "mean-diff", "positions": "generated", "rows": "conditional",
        "model": model.name, "weights_sha256": model.weights_sha256, "prompts_sha256": "0" * 64,
    }  # fmt: skip
    metadata = words | {key: json.dumps(value, sort_keys=True) for key, value in fields.items()}
    header = json.dumps({"__metadata__": metadata, **tensors}, sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def sweep_plans(model: Model) -> dict[str, dict[str, Any]]:
    """Folder -> plan file. Each entry of `ways` takes one kind of setting through its values."""
    first, last = model.duration_s / 4, model.duration_s / 2
    one = {"file": "a.safetensors"}
    heads = {"file": "heads.safetensors"}
    gate = {**one, "gate_file": "b.safetensors"}
    ways: list[dict[str, Any]] = [
        {**one, "strategies": ["per-layer", "one-to-all", "single"], "layers": ["all", 1, [0, 2]],
         "source_layers": [0, 2], "alphas": [-1, 0.5]},
        {**one, "strategies": "one-to-all,single"},  # the default source layer
        {**one, "rows": ["both", "conditional"], "units": ["difference", "unit", "residual"]},
        {"file": "sites.safetensors", "sites": list(SITES)},
        {**one, "mode": "add-renorm"},
        {**one, "mode": "ablate", "alphas": [0.5, 1]},
        {**one, "schedule": "decay,0.95,0.125"},
        {**one, "schedule": "linear,1,0"},
        {**one, "schedule": f"window,0,{first:g},{last:g},{model.duration_s:g}"},
        {**one, "probability": 0.5, "frame_seed": 7},
        {**one, "weights": "top-1"},
        {**one, "weights": "exponential,0.5"},
        heads,
        {**heads, "heads": [0, 2], "mode": "add-renorm"},
        {**gate, "gate": "decoder.0.resid_post<0.05"},
        {**gate, "gate": "decoder.1.resid_post>0", "layers": 2, "mode": "ablate"},
        {**gate, "gate": "decoder.2.resid_post<0", "rows": "conditional", "units": "residual"},
        {**heads, "heads": [1], "schedule": "linear,0,1", "probability": 0.75, "weights": "top-2",
         "rows": "conditional", "strategies": "one-to-all", "source_layers": 1, "units": "residual"},
    ]  # fmt: skip
    common = {"duration_s": model.duration_s, "alphas": [0, 0.5]}
    plain = {"vectors": ["a.safetensors"], "alphas": "-0.5:0.5:0.5", "duration_s": model.duration_s}
    words = 'slow, "calm" piano'
    return {
        "steered": {"prompts": ["fast drums"], "seeds": [3], "vectors": ways, **common},
        # Texts of different padded length, one not ASCII; the largest seed; another text to move away from.
        "guided": {"prompts": [words, words * 12, "café ♪"], "seeds": [0, 2**64 - 1], "kl": True,
                   "negative_prompt": "loud rock", "guidance_scale": 1.5, **plain},
        "unguided": {"prompts": ["organ"], "seeds": "1:3", "guidance_scale": 1, "top_k": 0, "top_p": 0.9,
                     "temperature": 0.7, "sample_format": "float", "kl": True, **plain},
        "greedy": {"prompts": ["organ"], "top_k": 1, "audio": False, "tempo_prior": "106:0.5", **plain},
    }  # fmt: skip


def generations(model: Model) -> dict[str, list[str]]:
    """Output -> arguments of `generate`: what a sweep cannot do."""
    two = ["--steer", "a.safetensors:alpha=0.5:rows=conditional", "--steer", "b.safetensors:alpha=-0.25"]
    clamped = ["--steer", "heads.safetensors:mode=clamp:value=1.5:heads=0,2-3:probability=0.5:frame-seed=9"]
    outputs = {
        "plain.wav": ["--prompt", "piano"],
        "null.wav": ["--unconditional", "--format", "pcm24", "--steer", "a.safetensors:alpha=0.5"],
        "two": ["--prompt", "piano", "--prompt", "drums", "--seeds", "0:2", *two],
        "apart": ["--prompt", "piano", "--seeds", "4,6", *two, "--orthogonalize"],
        "clamped.wav": ["--prompt", "piano", "--format", "float", *clamped],
    }
    common = ["--duration", f"{model.duration_s:g}", *FIXED]
    return {
        out: [
            *arguments,
            *(["--score"] if "--steer" in arguments else []),
            *["--save-codes", out.removesuffix(".wav") + ".codes", *common],
        ]
        for out, arguments in outputs.items()
    }


def write_inputs(folder: Path, bundle: Path) -> Model:
    """Vectors, plans, and a link `bundle`: records then name the same paths wherever the folder is."""
    model = Model.of(bundle)
    (folder / "bundle").symlink_to(bundle.resolve(), target_is_directory=True)
    vectors = {"a": (1, SITES[-1:]), "b": (5, SITES[-1:]), "heads": (2, SITES[1:2]), "sites": (3, SITES)}
    for name, (salt, sites) in vectors.items():
        (folder / f"{name}.safetensors").write_bytes(vector_bytes(model, name, salt, sites))
    for name, plan in sweep_plans(model).items():
        (folder / f"{name}.json").write_text(json.dumps(plan), encoding="utf-8")
    return model


def commands(model: Model) -> list[list[str]]:
    """The program's arguments, to be run in the folder of write_inputs."""
    sweeps = [
        ["sweep", "--plan", f"{name}.json", "--model", "bundle", "--out", name, *FIXED]
        for name in sweep_plans(model)
    ]
    return sweeps + [
        ["generate", "--model", "bundle", "--out", out, *arguments]
        for out, arguments in generations(model).items()
    ]
