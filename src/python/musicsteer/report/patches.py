"""Reads what `musicsteer patch` wrote: shares recovered, or costs of ablation, by layer and site."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicsteer.report.errors import ReportError
from musicsteer.report.statistics import FEW_PAIRS
from musicsteer.wording import counted

FORMAT = "musicsteer-patch"
VERSION = 1
# What a result is called in the file and on the page.
QUANTITIES = {"recovered": "Recovered", "cost_nats": "Cost, nats a code"}
TITLES = {
    "replace": "share of the difference between the prompts that is recovered",
    "ablate-zero": "cost of zeros in place of activations",
    "ablate-mean": "cost of means in place of activations",
}

Matrix = list[list[float | None]]


@dataclass(frozen=True)
class Patch:
    """One file of results.

    name: what it is called on the page; quantity: a key of `QUANTITIES`; layers: columns, "all" for all at
    once; value, low, high: [site][layer], None where there is none.
    """

    path: Path
    name: str
    content: dict[str, Any]
    quantity: str
    layers: list[str]
    sites: list[str]
    value: Matrix
    low: Matrix
    high: Matrix

    @property
    def model(self) -> dict[str, Any]:
        """Name and weights hash of the model."""
        return self.content["model"]

    @property
    def clips(self) -> list[dict[str, Any]]:
        """The pairs of prompts, or the clips that were ablated."""
        return self.content.get("pairs") or self.content.get("clips") or []

    @property
    def counted(self) -> str:
        """ "16 pairs" or "1 clip"."""
        return counted(len(self.clips), "pair" if self.quantity == "recovered" else "clip")

    def title(self) -> str:
        """The file and what its numbers are."""
        return f"{self.name}: {TITLES.get(self.content.get('method'), 'results of patching')}"

    def detail(self) -> str:
        """What the numbers rest on."""
        clips, window = self.clips, self.content.get("window")
        first = clips[0] if clips else {}
        prompts = [str(first[key]) for key in ("source", "target", "prompt") if key in first]
        parts = [
            self.counted + (f", such as “{'” in place of “'.join(prompts)}”" if prompts else ""),
            f"clips of {self.content['duration_s']:g} s" if "duration_s" in self.content else "",
            f"replaced from {window} s" if window else "replaced in all frames",
        ]
        return "; ".join(filter(None, parts))

    def full_scale(self) -> float:
        """Where colours are strongest: 1 for shares, else the largest cost of a single layer."""
        if self.quantity == "recovered":
            return 1.0
        single = [index for index, layer in enumerate(self.layers) if layer != "all"]
        sizes = [abs(row[index]) for row in self.value for index in single if row[index] is not None]
        return max(sizes, default=0.0) or 1.0

    def remarks(self) -> Iterator[str]:
        """What keeps the numbers from being trusted, a sentence each."""
        values = [value for row in self.value for value in row if value is not None]
        lows = [low for row in self.low for low in row if low is not None]
        if not values:
            yield (
                f"{self.name} recovers nothing: the source prompts make their own codes no likelier than the "
                "target prompts do."
            )
        elif not lows:
            more = "prompts" if self.quantity == "cost_nats" else "pairs or longer clips"
            yield f"{self.name} has no intervals: it takes more {more}."
        elif len(self.clips) < FEW_PAIRS:
            yield f"{self.name} rests on {self.counted}, few to judge by."


def read_patches(paths: list[Path]) -> list[Patch]:
    """Read result files, each once.

    Raises:
        ReportError: a file is not what `musicsteer patch` writes.
    """
    unique = list({path.resolve(): path for path in paths}.values())
    stems = [path.stem for path in unique]
    return [_read(path, path.stem if stems.count(path.stem) == 1 else str(path)) for path in unique]


def _read(path: Path, name: str) -> Patch:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ReportError(f"{path} is not JSON: expected a file that `musicsteer patch` wrote") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise ReportError(f"{path} has format {found!r}: expected {FORMAT!r}, or a sweep's folder")
    oldest = content.get("oldest_reader", content.get("format_version"))
    if not isinstance(oldest, int) or oldest > VERSION:
        raise ReportError(f"{path} needs a reader of version {oldest}: this one reads {VERSION}")
    try:
        if not isinstance(content["model"]["weights_sha256"], str):
            raise TypeError("expected the model's 'weights_sha256' to be text")
        return _from_results(path, name, content)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ReportError(f"{path} is not a result of `musicsteer patch`: {error!r}") from error


def _from_results(path: Path, name: str, content: dict[str, Any]) -> Patch:
    results = content["results"]
    quantity = next(key for key in QUANTITIES if key in results[0])
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        layer = "all" if result["layer"] is None else str(int(result["layer"]))
        cells[str(result["site"]), layer] = result[quantity]
    sites = list(dict.fromkeys(site for site, _ in cells))
    layers = list(dict.fromkeys(layer for _, layer in cells))

    def matrix(key: str) -> Matrix:
        return [[_number(cells.get((site, layer), {}).get(key)) for layer in layers] for site in sites]

    return Patch(path, name, content, quantity, layers, sites, matrix("value"), matrix("low"), matrix("high"))


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, bool) or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def patch_data(patch: Patch) -> dict[str, Any]:
    """Results as the page's script reads them."""
    return {
        "name": patch.name,
        "title": patch.title(),
        "detail": patch.detail(),
        "quantity": patch.quantity,
        "label": QUANTITIES[patch.quantity],
        "counted": patch.counted,
        "fullScale": patch.full_scale(),
        "layers": patch.layers,
        "sites": patch.sites,
        "value": patch.value,
        "low": patch.low,
        "high": patch.high,
    }
