"""One description of a run that both sides read: the engine through session_probe, transformers through
reference.py. What a run produces has the same names on both sides."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MUSICSTEER_BUILD_DIR", REPOSITORY / "build"))


@dataclass(frozen=True)
class Gate:
    """Open while the cosine of the conditional row's activation at `point` with `vector` [D] is below, or
    above, the threshold."""

    point: str
    vector: Tensor
    below: bool
    threshold: float

    @property
    def condition(self) -> str:
        return f"{self.point}{'<' if self.below else '>'}{self.threshold!r}"


@dataclass(frozen=True)
class Injection:
    """What one vector [D] does at one hook point."""

    point: str
    vector: Tensor
    strength: float
    rows: str = "both"
    mode: str = "add"
    value: float = 0.0
    schedule: str = "constant"
    probability: float = 1.0
    frame_seed: int = 0
    heads: tuple[int, ...] = ()  # none: all
    gate: Gate | None = None


@dataclass(frozen=True)
class Section:
    """From a frame on: another prompt, other steering, or both."""

    first_frame: int
    prompt: str | None = None
    injections: tuple[Injection, ...] | None = None


@dataclass(frozen=True)
class Request:
    """One clip of a batch."""

    prompt: str = ""
    unconditional: bool = False
    negative_prompt: str | None = None
    seed: int = 0
    forced_codes: Tensor | None = None  # [K, T0]
    melody: Tensor | None = None  # [F, 12] chroma
    injections: tuple[Injection, ...] = ()
    sections: tuple[Section, ...] = ()
    steering: Path | None = None  # for the engine: a steering file that says what the injections do

    @property
    def has_null_row(self) -> bool:
        return not self.unconditional


@dataclass(frozen=True)
class Run:
    """A batch and how it is generated; greedy unless top_k says otherwise."""

    requests: tuple[Request, ...]
    frames: int
    window: tuple[int, int] | None = None  # length and stride in frames; none: the model's
    guidance: float = 3.0
    top_k: int = 1
    top_p: float = 0.0
    temperature: float = 1.0
    prefill_chunk: int = 64
    text_length: int = 0
    score_batch: int = 8
    dump: tuple[str, ...] = ()
    faults: tuple[dict[str, Any], ...] = ()

    @property
    def guided(self) -> bool:
        return self.guidance != 1.0

    def given(self, codes: Tensor) -> Run:
        """The same run with codes [R, K, T0] given."""
        requests = [dataclasses.replace(r, forced_codes=c) for r, c in zip(self.requests, codes, strict=True)]
        return dataclasses.replace(self, requests=tuple(requests))

    def dumping(self, *names: str) -> Run:
        return dataclasses.replace(self, dump=names)


@dataclass(frozen=True)
class Output:
    """What one run of the engine produced: "codes", "logits", "decoder.0.resid_pre", ..."""

    tensors: dict[str, Tensor]
    forward_calls: int
    steps: int
    error: str | None

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]


@dataclass
class Results:
    """What a job produced."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)

    def run(self, name: str) -> Output:
        prefix = f"{name}."
        return Output(
            {
                key.removeprefix(prefix): value
                for key, value in self.tensors.items()
                if key.startswith(prefix)
            },
            int(self.metadata.get(f"{name}.forward_calls", -1)),
            int(self.metadata.get(f"{name}.steps", -1)),
            self.metadata.get(f"{name}.error"),
        )


class Tensors:
    """The tensors of a job under names of their own."""

    def __init__(self) -> None:
        self.by_name: dict[str, Tensor] = {}

    def name(self, tensor: Tensor) -> str:
        name = f"t{len(self.by_name)}"
        self.by_name[name] = tensor.clone().contiguous()
        return name


def describe_injection(injection: Injection, tensors: Tensors) -> dict[str, Any]:
    spec = {**vars(injection), "vector": tensors.name(injection.vector)}
    gate = spec.pop("gate")
    if gate is not None:
        spec["gate"] = {"condition": gate.condition, "vector": tensors.name(gate.vector)}
    return spec


def describe_section(section: Section, tensors: Tensors) -> dict[str, Any]:
    spec: dict[str, Any] = {"first_frame": section.first_frame}
    if section.prompt is not None:
        spec["prompt"] = section.prompt
    if section.injections is not None:
        spec["injections"] = [describe_injection(injection, tensors) for injection in section.injections]
    return spec


def describe_request(request: Request, tensors: Tensors) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "prompt": request.prompt,
        "unconditional": request.unconditional,
        "seed": request.seed,
        "injections": [describe_injection(injection, tensors) for injection in request.injections],
    }
    spec["sections"] = [describe_section(section, tensors) for section in request.sections]
    if request.steering is not None:
        spec["steering"] = str(request.steering)
    if request.negative_prompt is not None:
        spec["negative_prompt"] = request.negative_prompt
    if request.melody is not None:
        spec["melody"] = tensors.name(request.melody)
    if request.forced_codes is not None:
        spec["forced_codes"] = tensors.name(request.forced_codes)
    return spec


def describe_run(run: Run, tensors: Tensors) -> dict[str, Any]:
    plain = ("frames", "guidance", "top_k", "top_p", "temperature", "prefill_chunk", "text_length")
    plain += ("score_batch", "dump")
    spec: dict[str, Any] = {name: getattr(run, name) for name in plain}
    if run.window is not None:
        spec["window"], spec["stride"] = run.window
    spec["requests"] = [describe_request(request, tensors) for request in run.requests]
    spec["faults"] = [
        {key: tensors.name(value) if isinstance(value, Tensor) else value for key, value in fault.items()}
        for fault in run.faults
    ]
    return spec


@dataclass
class Engine:
    """The C++ side of a bundle. Each call is one process."""

    bundle: Path
    folder: Path  # for the files of a job
    timeout_s: float = 300.0

    def __call__(
        self,
        runs: dict[str, Run] | None = None,
        texts: dict[str, str] | None = None,
        encode: dict[str, Tensor] | None = None,
        decode: dict[str, Tensor] | None = None,
        hear: dict[str, Path] | None = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> Results:
        """Run a job; a failure of the probe itself is an AssertionError with what it said."""
        tensors = Tensors()
        files = {name: self.folder / name for name in ("job.json", "input.safetensors", "output.safetensors")}
        job = {
            "bundle": str(self.bundle),
            "threads": threads,
            "device": device,
            "input": str(files["input.safetensors"]),
            "output": str(files["output.safetensors"]),
            "texts": texts or {},
            "encode": {name: tensors.name(value) for name, value in (encode or {}).items()},
            "decode": {name: tensors.name(value) for name, value in (decode or {}).items()},
            "hear": {name: str(file) for name, file in (hear or {}).items()},
            "runs": {name: describe_run(run, tensors) for name, run in (runs or {}).items()},
        }
        save_file(tensors.by_name, files["input.safetensors"])
        files["job.json"].write_text(json.dumps(job), encoding="utf-8")
        probe = BUILD / "tests" / "session_probe"
        assert probe.exists(), (
            f"{probe} is missing: build the project, or name its folder in MUSICSTEER_BUILD_DIR"
        )
        done = subprocess.run(
            [probe, files["job.json"]],
            capture_output=True,
            text=True,
            timeout=self.timeout_s,
            env=os.environ | {"OMP_NUM_THREADS": str(threads), "GOMP_SPINCOUNT": "2000"},
            check=False,
        )
        assert done.returncode == 0, f"session_probe ended with {done.returncode}: {done.stderr.strip()}"
        with safe_open(files["output.safetensors"], "pt") as opened:
            metadata = opened.metadata() or {}
        return Results(load_file(files["output.safetensors"]), metadata)

    def run(self, run: Run) -> Output:
        """One run by itself."""
        return self({"run": run}).run("run")
