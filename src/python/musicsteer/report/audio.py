"""Clips as the page loads them: encoded, and wrapped so that a page opened from a disk can read them.

A page under file:// may not fetch() its neighbours, and samples of an <audio> element opened there are hidden
from Web Audio; a script may be loaded from anywhere. So each clip is a script that hands over its bytes as
base64. The player needs the samples themselves: only then can clips be switched at the exact sample.
"""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

# FLAC loses nothing. Vorbis is about a fifth of its size, at any sample rate, but not played by Safari before
# 18.4. MP3 plays everywhere, and is for pages that are to be small.
CODECS = ("flac", "mp3", "vorbis")
_MP3_QUALITY = {"bitrate_mode": "VARIABLE", "compression_level": 0.6}
_VORBIS_BLOCK = 65536  # libsndfile overflows its stack when it encodes long Vorbis files in one call


class UnreadableAudio(Exception):
    """A clip's file is missing or is not audio; the message says which of the two."""


@dataclass(frozen=True)
class EncodedClip:
    """A clip's bytes in the page's codec; frames: how many samples it has, without an encoder's padding."""

    data: bytes
    frames: int
    sample_rate_hz: int

    def base64(self) -> str:
        """The bytes as text."""
        return base64.b64encode(self.data).decode("ascii")


def encode_clip(path: Path, codec: str) -> EncodedClip:
    """Read a WAV and encode it.

    Raises:
        UnreadableAudio: there is no such file, it is not audio, it holds no samples, or it is cut short.
    """
    if not path.is_file():
        raise UnreadableAudio("there is no such file")
    check_whole(path)
    try:
        with soundfile.SoundFile(path) as file:
            rate, subtype = file.samplerate, file.subtype
            samples = file.read(dtype="float64", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise UnreadableAudio(f"it can't be read as audio ({error})") from error
    if len(samples) == 0:
        raise UnreadableAudio("it holds no samples")
    return EncodedClip(encode(samples, rate, codec, subtype), len(samples), rate)


def encode(samples: NDArray[np.float64], rate: int, codec: str, subtype: str = "PCM_16") -> bytes:
    """Samples as a file's bytes. samples: [frames, channels]; subtype: what FLAC has to keep.

    Raises:
        UnreadableAudio: MP3 knows no such sample rate.
    """
    buffer = io.BytesIO()
    channels = samples.shape[1]
    if codec == "flac":
        bits = "PCM_16" if subtype == "PCM_16" else "PCM_24"
        with soundfile.SoundFile(buffer, "w", rate, channels, subtype=bits, format="FLAC") as file:
            file.write(samples)
    elif codec == "vorbis":
        with soundfile.SoundFile(buffer, "w", rate, channels, subtype="VORBIS", format="OGG") as file:
            for start in range(0, len(samples), _VORBIS_BLOCK):
                file.write(samples[start : start + _VORBIS_BLOCK])
    else:
        try:
            with soundfile.SoundFile(
                buffer, "w", rate, channels, subtype="MPEG_LAYER_III", format="MP3", **_MP3_QUALITY
            ) as file:
                file.write(samples)
        except soundfile.SoundFileError as error:
            raise UnreadableAudio(f"it can't be written as MP3 at {rate} Hz ({error})") from error
    return buffer.getvalue()


def check_whole(path: Path) -> None:
    """A WAV as long as its header says; libsndfile reads what there is of a shorter one without a word.

    Raises:
        UnreadableAudio: it is shorter.
    """
    with path.open("rb") as file:
        head = file.read(8)
    expected = 8 + int.from_bytes(head[4:], "little")
    if head[:4] == b"RIFF" and path.stat().st_size < expected:
        raise UnreadableAudio(f"it is cut short: {path.stat().st_size} of {expected} bytes")


def clip_script(clip_id: str, clip: EncodedClip) -> str:
    """The script that hands a clip over to the page."""
    return f"receiveClip({json.dumps(clip_id)},{json.dumps(clip.base64())},{clip.frames});\n"


def clip_element(clip_id: str, clip: EncodedClip) -> str:
    """The same as an element of a single file."""
    text = clip.base64()
    return f'<script type="text/plain" data-clip="{clip_id}" data-frames="{clip.frames}">{text}</script>\n'
