"""The measures that a report shows: names, units, and how a change of each is told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One number of a clip.

    key: as records spell it; name: as users do, in `--target` and in tables.
    change: "ratio" for quantities whose change is told in percent of the value at alpha 0; "difference" for
    those whose zero is arbitrary or common (decibels, shares, counts), told in the measure's own unit.
    scale: what stored values are multiplied by when they are shown.
    """

    key: str
    name: str
    unit: str
    digits: int
    change: str
    scale: float = 1.0

    @property
    def label(self) -> str:
        """The name at the start of a line."""
        return {"rms": "RMS", "kl": "KL"}.get(self.name, self.name.capitalize())

    @property
    def change_unit(self) -> str:
        """Unit of a change against alpha 0."""
        if self.change == "ratio":
            return "%"
        return {"LUFS": "LU", "dBTP": "dB", "%": "points"}.get(self.unit, self.unit)


MEASURES = (
    Measure("tempo_bpm", "tempo", "BPM", 1, "ratio"),
    Measure("onset_rate_hz", "onsets", "per s", 2, "ratio"),
    Measure("spectral_centroid_hz", "centroid", "Hz", 0, "ratio"),
    Measure("spectral_rolloff_hz", "rolloff", "Hz", 0, "ratio"),
    Measure("spectral_bandwidth_hz", "bandwidth", "Hz", 0, "ratio"),
    Measure("spectral_flatness", "flatness", "", 4, "ratio"),
    Measure("rms", "rms", "", 4, "ratio"),
    Measure("loudness_lufs", "loudness", "LUFS", 1, "difference"),
    Measure("true_peak_dbtp", "peak", "dBTP", 1, "difference"),
    Measure("silence_share", "silence", "%", 1, "difference", 100.0),
    Measure("clipped_samples", "clipped", "samples", 1, "difference"),
)
KL = Measure("kl_nats", "kl", "nats", 4, "difference")
# Of a record's measures, what is none.
NOT_SHOWN = ("duration_s", "sample_rate_hz", "tempo_prior")


class _Measures(dict[str, Measure]):
    """Measures by key; one that is not ours is somebody's own, of `--measure-command`."""

    def __missing__(self, key: str) -> Measure:
        return Measure(key, key, "", 4, "difference")


BY_KEY = _Measures({measure.key: measure for measure in (*MEASURES, KL)})

# What is easily heard, one of each kind: the columns of tables.
MAIN = ("tempo_bpm", "onset_rate_hz", "spectral_centroid_hz", "loudness_lufs")
# A vector's curve opens on the one of these that it moves most; loudness is matched when clips are played.
OPENING = MAIN[:3]
