"""Makes docs/images/length.png: the spectrogram of a 75 s clip of three sections, steered on a schedule.

    python scripts/bench/length_picture.py out/demo/bundle out/demo/brightness.safetensors length.png

White marks above it show where sections begin, grey ones where windows begin to play.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("MUSICSTEER", ROOT / "build" / "musicsteer"))
DURATION_S, SECTIONS_S = 75, (25, 50)
ROWS, COLUMNS_A_SECOND, MARKS = 128, 12, 10


def make_clip(bundle: Path, vector: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """The clip and its record."""
    rising = {"file": str(vector.resolve()), "alpha": 1.0, "layers": "2", "schedule": "linear,-0.3,0.3"}
    sections = [{"at_s": 25, "prompt": "a synth lead with drums"}, {"at_s": 50, "prompt": "organ music"}]
    (folder / "song.json").write_text(json.dumps({"steering": [rising], "sections": sections}))
    call = [PROGRAM, "generate", "--model", bundle, "--prompt", "piano music"]
    steer = ["--steer", folder / "song.json", "--duration", str(DURATION_S), "--threads", "1"]
    subprocess.run([*call, *steer, "--out", folder / "clip.wav"], check=True)
    return folder / "clip.wav", json.loads((folder / "clip.json").read_text())


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """An image [rows, columns] of grey as a PNG."""
    rows, columns = image.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in image)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines, 9))
        + chunk(b"IEND", b"")
    )


def picture(wav: Path, starts_s: list[float]) -> npt.NDArray[np.uint8]:
    """Mel bands from low (bottom) to high, 80 dB from black to white, below the marks."""
    samples, rate = librosa.load(wav, sr=None)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=rate, n_fft=2048, hop_length=rate // COLUMNS_A_SECOND, n_mels=ROWS
    )
    level = librosa.power_to_db(mel, ref=np.max, top_db=80)[::-1]
    image = np.vstack([np.zeros((MARKS, level.shape[1])), 255 * (1 + level / 80)]).astype(np.uint8)
    for at_s, grey in [*((s, 130) for s in starts_s), *((s, 255) for s in SECTIONS_S)]:
        column = round(at_s * COLUMNS_A_SECOND)
        image[: MARKS - 2, column : column + 2] = grey
    return image.repeat(2, axis=0)


def main() -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder of a model bundle")
    parser.add_argument("vector", type=Path, metavar="VECTOR", help="vector file of brightness")
    parser.add_argument("target", type=Path, metavar="PNG", help="picture to write")
    given = parser.parse_args()
    try:
        rate = json.loads((given.bundle / "manifest.json").read_text())["codec"]["frame_rate_hz"]
        with tempfile.TemporaryDirectory() as folder:
            wav, record = make_clip(given.bundle, given.vector, Path(folder))
            length, stride = (record["windows"][key] / rate for key in ("frames", "stride"))
            starts = [float(at_s) for at_s in np.arange(length, DURATION_S, stride)]
            given.target.write_bytes(png(picture(wav, starts)))
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        return int(error.returncode)  # the program has said why
    return 0


if __name__ == "__main__":
    sys.exit(main())
