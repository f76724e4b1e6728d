"""The same measures by librosa, at the file's own rate; onsets and tempo at a hop of about 16 ms."""

from __future__ import annotations

import warnings
from pathlib import Path

import librosa
import numpy as np

# A prior that is not the default: librosa's names for --tempo-prior 90:0.4.
PRIOR = {"start_bpm": 90.0, "std_bpm": 0.4}


HOPS = {16000: 256, 22050: 256, 24000: 512, 32000: 512, 44100: 512, 48000: 1024}


def tempo_with_prior(path: Path) -> float:
    """The tempo under PRIOR."""
    samples, rate_hz = librosa.load(path, sr=None)
    framed = {"sr": rate_hz, "hop_length": HOPS[rate_hz]}
    envelope = librosa.onset.onset_strength(y=samples, **framed)
    return float(librosa.feature.tempo(onset_envelope=envelope, **framed, **PRIOR)[0])


def measure(path: Path) -> dict[str, float]:
    """Means over frames; the tempo is 0 where the onset envelope is, as librosa.beat.beat_track has it."""
    samples, rate_hz = librosa.load(path, sr=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # signals that are shorter than a frame, empty mel bands
        magnitude = np.abs(librosa.stft(samples))
        framed = {"sr": rate_hz, "hop_length": HOPS[rate_hz]}
        envelope = librosa.onset.onset_strength(y=samples, **framed)
        onsets = librosa.onset.onset_detect(onset_envelope=envelope, **framed)
        tempo = librosa.feature.tempo(onset_envelope=envelope, **framed)
    duration_s = len(samples) / rate_hz
    feature = librosa.feature
    return {
        "tempo_bpm": float(tempo[0]) if envelope.any() else 0.0,
        "onset_rate_hz": len(onsets) / duration_s,
        "spectral_centroid_hz": float(feature.spectral_centroid(S=magnitude, sr=rate_hz).mean()),
        "spectral_rolloff_hz": float(feature.spectral_rolloff(S=magnitude, sr=rate_hz).mean()),
        "spectral_bandwidth_hz": float(feature.spectral_bandwidth(S=magnitude, sr=rate_hz).mean()),
        "spectral_flatness": float(feature.spectral_flatness(S=magnitude).mean(dtype=np.float64)),
        "rms": float(feature.rms(y=samples).mean(dtype=np.float64)),
        "duration_s": duration_s,
        "sample_rate_hz": rate_hz,
    }
