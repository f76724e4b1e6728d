"""Sweeps as tables of pandas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicsteer.report.conditions import labels_of
from musicsteer.report.curves import conditions_of
from musicsteer.report.loading import read_sweeps

if TYPE_CHECKING:
    import pandas

UNSTEERED = "unsteered"
# Of a clip's first vector; what has its default is missing in the record, and in the table.
_STEERING = ("concept", "alpha", "strategy", "layers", "source_layer", "site", "rows", "unit", "mode")


def read_sweep(*folders: str | Path) -> pandas.DataFrame:
    """The clips of one or several folders that `musicsteer sweep` wrote, a row each.

    `condition` says how a clip is steered, without the strength. It is "unsteered" for the clips without any
    steering, which have alpha 0 and belong to every condition with the same prompt and seed. Settings are
    those of the first vector. A measure that a clip does not have is NaN; `audio` is None without a WAV.

    Raises:
        ImportError: pandas is not installed.
        musicsteer.report.errors.ReportError: a folder is not a sweep, or the models differ.
    """
    try:
        import pandas
    except ImportError:
        raise ImportError("read_sweep needs pandas: pip install pandas") from None
    sweep = read_sweeps([Path(folder) for folder in folders])
    conditions = conditions_of(sweep)
    labels = dict(zip(conditions, labels_of(conditions), strict=True))
    rows: list[dict[str, Any]] = []
    for clip in sweep.clips:
        steering = clip.record["steering"][0] if clip.record["steering"] else {}
        row: dict[str, Any] = {"id": clip.id, "prompt": clip.record["prompt"], "seed": clip.record["seed"]}
        row["condition"] = UNSTEERED if clip.condition is None else labels[clip.condition]
        row |= {key: steering.get(key) for key in _STEERING} | {"alpha": clip.alpha}
        row |= {key: clip.measure(key) for key in sweep.measure_keys()}
        rows.append(row | {"audio": clip.audio_path})
    return pandas.DataFrame(rows)
