"""Reads sweep folders: plan.json, runs.jsonl and where the clips are."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from musicsteer.report.conditions import Condition, Settings
from musicsteer.report.errors import ReportError
from musicsteer.report.measures import KL, MEASURES, NOT_SHOWN
from musicsteer.report.patches import Patch
from musicsteer.wording import counted

FORMAT = "musicsteer-sweep"
VERSION = 1


@dataclass(frozen=True)
class Clip:
    """One finished clip of a sweep."""

    record: dict[str, Any]
    folder: Path
    condition: Condition | None
    settings: Settings
    alpha: float

    @property
    def id(self) -> str:
        """Hash of everything that determines the clip."""
        return self.record["id"]

    @property
    def pair(self) -> tuple[str | None, int]:
        """Prompt and seed."""
        return self.record["prompt"], self.record["seed"]

    @property
    def audio_path(self) -> Path | None:
        """Where the WAV should be; None for a clip without audio."""
        name = self.record.get("file")
        if (
            not isinstance(name, str)
            or PurePosixPath(name).is_absolute()
            or ".." in PurePosixPath(name).parts
        ):
            return None
        return self.folder / name

    def measure(self, key: str) -> float:
        """A measure or the KL; NaN where it is undefined or absent. Unsteered clips have KL 0."""
        if key == KL.key:
            value = self.record.get(key)
            value = 0.0 if value is None and self.condition is None else value
        else:
            value = self.record["measures"].get(key)
        return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else math.nan


@dataclass
class Sweep:
    """The clips of one or several folders, and what there is to say about reading them."""

    plans: dict[Path, dict[str, Any]] = field(default_factory=dict)  # by folder
    clips: list[Clip] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def model(self) -> dict[str, Any]:
        """Name and weights hash of the model, the same for all clips."""
        return self.clips[0].record["model"]

    def measure_keys(self) -> list[str]:
        """Measures that at least one clip has: ours in the order of `MEASURES`, own ones, the KL last."""
        found = {key for clip in self.clips for key in clip.record["measures"]}
        ours = [measure.key for measure in MEASURES if measure.key in found]
        own = sorted(found - set(NOT_SHOWN) - {measure.key for measure in MEASURES})
        return ours + own + [KL.key] * any(KL.key in clip.record for clip in self.clips)


def read_sweeps(folders: list[Path]) -> Sweep:
    """Read folders as one sweep, an empty one if there are none; a clip that is in several counts once.

    Raises:
        ReportError: a folder is not a sweep, a record is not what it should be, no clip is finished, the
            same id stands for different audio or was measured in different ways, or the models differ.
    """
    sweep = Sweep()
    if not folders:
        return sweep
    seen: dict[str, Clip] = {}
    repeated = 0
    for folder in folders:
        sweep.plans[folder] = _read_plan(folder)
        for clip in _read_runs(folder, sweep.remarks):
            if (first := seen.get(clip.id)) is None:
                seen[clip.id] = clip
            elif first.record.get("audio_sha256") != clip.record.get("audio_sha256"):
                raise ReportError(
                    f"clip {clip.id} has different audio in {first.folder} and {clip.folder}: "
                    "they can't be in one report"
                )
            elif first.settings != clip.settings:
                raise ReportError(
                    f"clip {clip.id} was measured in different ways in {first.folder} and {clip.folder} "
                    f"({_differences(first, clip)}): make a report of each"
                )
            else:
                repeated += 1
    sweep.clips = list(seen.values())
    if not sweep.clips:
        raise ReportError(
            f"no finished clips in {', '.join(map(str, folders))}: runs.jsonl is missing or empty; "
            "run `musicsteer sweep` first"
        )
    if repeated:
        sweep.remarks.append(f"{counted(repeated, 'clip')} in several of the folders: counted once.")
    check_one_model(sweep, [])
    return sweep


def _differences(one: Clip, other: Clip) -> str:
    """ "tempo prior 120.0:1.0 and 106.0:0.5"."""
    parts, others = one.settings.parts(), other.settings.parts()
    return ", ".join(f"{key} {text} and {others[key]}" for key, text in parts.items() if text != others[key])


def check_one_model(sweep: Sweep, patches: list[Patch]) -> None:
    """Raises ReportError if clips and results of patching are not all of the same weights."""
    models = [(clip.record["model"], clip.folder) for clip in sweep.clips]
    models += [(patch.model, patch.path) for patch in patches]
    place_of: dict[str, str] = {}
    for model, place in models:
        place_of.setdefault(model["weights_sha256"], f"{model.get('name')} in {place}")
    if len(place_of) > 1:
        first, second = list(place_of.values())[:2]
        raise ReportError(f"results of different models ({first}; {second}): make a report of each")


def _read_plan(folder: Path) -> dict[str, Any]:
    """plan.json of a sweep."""
    path = folder / "plan.json"
    if not folder.is_dir():
        raise ReportError(
            f"{folder} is not a folder: expected one that `musicsteer sweep --out` wrote, or a patch's file"
        )
    if not path.is_file():
        raise ReportError(f"{folder} has no plan.json: expected a folder that `musicsteer sweep` wrote")
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} is not JSON: {error}") from error
    if not isinstance(plan, dict) or plan.get("format") != FORMAT:
        found = plan.get("format") if isinstance(plan, dict) else None
        raise ReportError(f"{path} has format {found!r}: expected {FORMAT!r}")
    oldest = plan.get("oldest_reader", plan.get("format_version"))
    if not isinstance(oldest, int) or oldest > VERSION:
        raise ReportError(f"{path} needs a reader of version {oldest}: this one reads {VERSION}")
    return plan


def _read_runs(folder: Path, remarks: list[str]) -> list[Clip]:
    """The clips of runs.jsonl; an incomplete last line, of a killed run, is skipped with a note."""
    path = folder / "runs.jsonl"
    if not path.is_file():
        return []
    lines = path.read_bytes().split(b"\n")
    while lines and not lines[-1].strip():
        lines.pop()
    clips = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                remarks.append(
                    f"The last line of {path} is incomplete, as a killed run leaves it, and was skipped."
                )
                break
            raise ReportError(f"{path}, line {number}: not JSON: {error}") from error
        clips.append(_to_clip(record, folder, f"{path}, line {number}"))
    return clips


def _to_clip(record: Any, folder: Path, where: str) -> Clip:
    """A checked record as a clip."""
    if not isinstance(record, dict):
        raise ReportError(f"{where}: expected an object, got {type(record).__name__}")
    expected = {"id": str, "seed": int, "steering": list, "model": dict, "measures": dict}
    for key, kind in expected.items():
        if not isinstance(record.get(key), kind):
            raise ReportError(f"{where}: expected {key!r} to be a {kind.__name__}, got {record.get(key)!r}")
    if not record["id"].isalnum():
        raise ReportError(f"{where}: expected 'id' to be hexadecimal, got {record['id']!r}")
    if "prompt" not in record or not isinstance(record["prompt"], (str, type(None))):
        raise ReportError(f"{where}: expected 'prompt' to be a text or null")
    if not isinstance(record["model"].get("weights_sha256"), str):
        raise ReportError(f"{where}: expected the model's 'weights_sha256'")
    for entry in record["steering"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("alpha"), (int, float)):
            raise ReportError(f"{where}: expected each entry of 'steering' to have a number 'alpha'")
    alpha = float(record["steering"][0]["alpha"]) if record["steering"] else 0.0
    return Clip(record, folder, Condition.of(record), Settings.of(record), alpha + 0.0)
