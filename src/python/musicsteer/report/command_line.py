"""A clip's record as the `musicsteer generate` command that makes it again."""

from __future__ import annotations

import shlex
from typing import Any

from musicsteer.report.conditions import effect_keys

# Flag of `musicsteer generate` for each field of a record that is a number or a word.
_FLAGS = {
    "duration_s": "--duration",
    "guidance_scale": "--guidance",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "temperature": "--temperature",
    "format": "--format",
}
_EXECUTION_FLAGS = {"batch_size": "--batch-size", "threads": "--threads", "device": "--device"}


def number_text(value: Any) -> str:
    """A number as the program reads it back unchanged: 3.0 -> "3", 0.1 -> "0.1"."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def steer_text(steering: dict[str, Any]) -> str:
    """One entry of a record's `steering` as the value of `--steer`."""
    keys = {
        # Mode clamp has no alpha.
        "alpha": None if steering.get("mode") == "clamp" else number_text(steering["alpha"]),
        "strategy": steering.get("strategy"),
        "layers": ",".join(map(str, steering.get("layers") or ())) or None,
        "source-layer": steering.get("source_layer"),
        "site": steering.get("site"),
        "rows": steering.get("rows"),
        "unit": None if steering.get("mode") in ("ablate", "clamp") else steering.get("unit"),
    }
    for key in effect_keys(steering):
        keys[key.replace("_", "-")] = effect_value(steering, key)
    given = [f"{key}={value}" for key, value in keys.items() if value is not None]
    return ":".join([steering.get("file") or "VECTOR.safetensors", *given])


def effect_value(steering: dict[str, Any], key: str) -> str:
    """One of the effect_keys as `--steer` takes it."""
    if key == "heads":
        return ",".join(map(str, steering[key]))
    if key == "gate":
        return f"{steering.get('gate_file') or 'GATE.safetensors'}@{steering[key]}"
    return number_text(steering[key])


def arguments_of(record: dict[str, Any], model: str, out: str, melody: str | None = None) -> list[str]:
    """The whole command as a list, the program's name first; melody: where the file of that hash lies."""
    arguments = ["musicsteer", "generate", "--model", model]
    if record.get("prompt") is None:
        arguments.append("--unconditional")
    else:
        arguments.append(f"--prompt={record['prompt']}")
    if record.get("negative_prompt") is not None:
        arguments.append(f"--negative-prompt={record['negative_prompt']}")
    if record.get("melody_sha256") is not None:
        arguments += ["--melody", melody or "MELODY.wav"]
    arguments += ["--seed", str(record["seed"])]
    for field, flag in _FLAGS.items():
        if record.get(field) is not None:
            arguments += [flag, number_text(record[field])]
    for field, flag in _EXECUTION_FLAGS.items():
        value = (record.get("execution") or {}).get(field)
        if value is not None:
            arguments += [flag, number_text(value)]
    for steering in record["steering"]:
        arguments += ["--steer", steer_text(steering)]
    return [*arguments, "--out", out]


def command_line(record: dict[str, Any], model: str, out: str, melody: str | None = None) -> str:
    """The whole command, quoted for a POSIX shell."""
    return shlex.join(arguments_of(record, model, out, melody))
