"""Measures one clip with librosa, and how clear its pulse is."""

from __future__ import annotations

import librosa
import numpy as np
from music import SAMPLE_RATE_HZ

PULSE_HOP = 160
ENVELOPE_HOP = 256  # 16 ms
SILENCE = 1e-3  # RMS: -60 dB of full scale, as in the program's measure of silence


def pulse(samples: np.ndarray) -> tuple[float, float]:
    """Beat period by autocorrelation of the onset envelope between 65 and 170 BPM: (BPM, clarity in 0 ... 1).

    A beat that is also supported at half its length and at twice its length wins, which avoids octave errors.
    """
    frames_per_second = SAMPLE_RATE_HZ / PULSE_HOP
    onsets = librosa.onset.onset_strength(y=samples, sr=SAMPLE_RATE_HZ, hop_length=PULSE_HOP)
    onsets, count = onsets - onsets.mean(), len(onsets)
    correlation = np.correlate(onsets, onsets, "full")[count - 1 :]
    correlation = (
        correlation / (correlation[0] + 1e-9) * count / np.maximum(count - np.arange(count), count // 4)
    )
    lags = np.arange(frames_per_second * 60 / 170, frames_per_second * 60 / 65, 0.1)

    def at(lag: np.ndarray) -> np.ndarray:
        return np.interp(lag, np.arange(count), correlation)

    score = at(lags) + 0.5 * at(lags / 2) + 0.3 * at(2 * lags)
    best = lags[int(np.argmax(score))]
    return 60 * frames_per_second / best, float(at(best))


def centroid(samples: np.ndarray, magnitude: np.ndarray) -> float:
    """Mean in Hz over the frames that sound; 0 if none does. samples: [N], magnitude: their STFT."""
    sounds = librosa.feature.rms(y=samples)[0] > SILENCE
    of_frames = librosa.feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE_HZ)[0]
    return float(of_frames[sounds].mean()) if sounds.any() else 0.0


def measure(samples: np.ndarray) -> dict[str, float]:
    """samples: [N] in (-1, 1) at 16 kHz. What librosa finds, and `pulse`'s pulse_bpm and clarity.

    tempo_bpm: librosa's tempo with its own prior and ENVELOPE_HOP. Of steady songs it reads 98 to 99 % right
    within 4 %. With librosa's hop too, tempo_default_bpm, it is 95 %, for neighbouring lags lie 6 % apart at
    120 BPM and farther in faster music.
    onset_rate (a second) uses ENVELOPE_HOP too: at librosa's 512 samples, 32 ms here, its peak picker counts
    most onsets twice. centroid_hz, rms and flatness are means of librosa's over frames; of the centroid, over
    frames that sound: what a codec makes of silence, however faint, has a centroid too.
    """
    samples = np.asarray(samples, dtype=np.float32)
    coarse = librosa.onset.onset_strength(y=samples, sr=SAMPLE_RATE_HZ)
    onsets = librosa.onset.onset_strength(y=samples, sr=SAMPLE_RATE_HZ, hop_length=ENVELOPE_HOP)
    fine = {"onset_envelope": onsets, "sr": SAMPLE_RATE_HZ, "hop_length": ENVELOPE_HOP}
    magnitude = np.abs(librosa.stft(samples))
    pulse_bpm, clarity = pulse(samples)
    return {
        "tempo_bpm": float(librosa.feature.tempo(**fine)[0]),
        "tempo_default_bpm": float(librosa.feature.tempo(onset_envelope=coarse, sr=SAMPLE_RATE_HZ)[0]),
        "onset_rate": len(librosa.onset.onset_detect(**fine)) * SAMPLE_RATE_HZ / len(samples),
        "centroid_hz": centroid(samples, magnitude),
        "rms": float(np.sqrt(np.mean(samples**2))),
        "flatness": float(librosa.feature.spectral_flatness(S=magnitude).mean()),
        "pulse_bpm": pulse_bpm,
        "clarity": clarity,
    }


def columns(rows: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """Measurements of many clips, one array [clips] a figure."""
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Chance that a clip of the first class has the larger value."""
    greater = positive[:, None] > negative[None]
    return float((greater + 0.5 * (positive[:, None] == negative[None])).mean())
