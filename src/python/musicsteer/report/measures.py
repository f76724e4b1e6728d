"""The measures that a report shows: names, units, and how a change of each is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One number of a clip.

    change: "ratio" for quantities whose change is told in percent of the value at alpha 0; "difference" for
    those whose zero is arbitrary or common (decibels, shares, counts), told in the measure's own unit.
    scale: what stored values are multiplied by when they are shown.
    """

    key: str
    label: str
    unit: str
    digits: int
    change: str
    scale: float = 1.0

    @property
    def change_unit(self) -> str:
        """Unit of a change against alpha 0."""
        if self.change == "ratio":
            return "%"
        return {"LUFS": "LU", "dBTP": "dB", "%": "points"}.get(self.unit, self.unit)


MEASURES = (
    Measure("tempo_bpm", "Tempo", "BPM", 1, "ratio"),
    Measure("onset_rate_hz", "Onset rate", "per s", 2, "ratio"),
    Measure("spectral_centroid_hz", "Spectral centroid", "Hz", 0, "ratio"),
    Measure("spectral_rolloff_hz", "Spectral rolloff", "Hz", 0, "ratio"),
    Measure("spectral_bandwidth_hz", "Spectral bandwidth", "Hz", 0, "ratio"),
    Measure("spectral_flatness", "Spectral flatness", "", 4, "ratio"),
    Measure("rms", "RMS", "", 4, "ratio"),
    Measure("loudness_lufs", "Loudness", "LUFS", 1, "difference"),
    Measure("true_peak_dbtp", "True peak", "dBTP", 1, "difference"),
    Measure("silence_share", "Silence", "%", 1, "difference", 100.0),
    Measure("clipped_samples", "Clipped samples", "samples", 1, "difference"),
)
KL = Measure("kl_nats", "KL to unsteered", "nats", 4, "difference")

# What a concept is expected to move; the first of these concepts that was swept decides.
_MEASURE_OF_CONCEPT = {
    "tempo": "tempo_bpm",
    "brightness": "spectral_centroid_hz",
    "density": "onset_rate_hz",
    "energy": "rms",
}


def measure_of(concept: str) -> str | None:
    """Key of the measure that a concept should move, or None where there is no such measure."""
    return _MEASURE_OF_CONCEPT.get(concept)


def default_measure(concepts: Iterable[str], available: Iterable[str]) -> str | None:
    """Key of the measure to show first, among those that the clips have."""
    keys = list(available)
    wanted = [measure_of(concept) for concept in concepts]
    return next((key for key in wanted if key in keys), keys[0] if keys else None)
