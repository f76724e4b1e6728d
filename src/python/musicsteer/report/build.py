"""Makes the files of a report: a folder, a single file, or a single file that is small."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from musicsteer.report.audio import (
    EncodedClip,
    UnreadableAudio,
    clip_element,
    clip_script,
    encode_clip,
)
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import Clip, Sweep
from musicsteer.report.page import LEFT_OUT, Unheard, pairs_to_hear, render
from musicsteer.report.patches import Patch

PLOTLY = "plotly.min.js"
SMALL_BYTES = 3_000_000


@dataclass(frozen=True)
class Weight:
    """What a report weighs, in bytes."""

    html: int
    plotly: int
    audio: int
    clips: int


def encode_all(clips: list[Clip], codec: str, keep: Callable[[Clip, EncodedClip], None]) -> Unheard:
    """Encode every clip and hand it to `keep`; returns the ids of those without audio, and why."""
    unheard: Unheard = {}
    show = sys.stderr.isatty()
    for number, clip in enumerate(clips, start=1):
        path = clip.audio_path
        try:
            if path is None:
                raise UnreadableAudio("the sweep kept no audio")
            keep(clip, encode_clip(path, codec))
        except UnreadableAudio as error:
            unheard[clip.id] = str(error)
        if show:
            print(f"\rencoding clips: {number} of {len(clips)}", end="", file=sys.stderr, flush=True)
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    return unheard


def build_folder(sweep: Sweep, patches: list[Patch], folder: Path, codec: str) -> Weight:
    """index.html, the plotting script, and a script for each clip under audio/."""
    audio = folder / "audio"
    (audio if sweep.clips else folder).mkdir(parents=True)
    sizes: list[int] = []

    def keep(clip: Clip, encoded: EncodedClip) -> None:
        script = clip_script(clip.id, encoded)
        (audio / f"{clip.id}.js").write_text(script, encoding="ascii")
        sizes.append(len(script))

    unheard = encode_all(sweep.clips, codec, keep)
    plotly = get_plotlyjs().encode()
    (folder / PLOTLY).write_bytes(plotly)
    html = render(sweep, patches, unheard, PLOTLY).encode()
    (folder / "index.html").write_bytes(html)
    return Weight(len(html), len(plotly), sum(sizes), len(sizes))


def clip_elements(clips: list[Clip], codec: str) -> tuple[dict[str, str], Unheard]:
    """Clips as elements of the page, by id, and those without audio."""
    elements: dict[str, str] = {}

    def keep(clip: Clip, encoded: EncodedClip) -> None:
        elements[clip.id] = clip_element(clip.id, encoded)

    unheard = encode_all(clips, codec, keep)
    return elements, unheard


def build_single_file(sweep: Sweep, patches: list[Patch], file: Path, codec: str) -> Weight:
    """The page with everything inside, the clips at its end, so that it shows before they have arrived."""
    elements, unheard = clip_elements(sweep.clips, codec)
    clips, plotly = list(elements.values()), get_plotlyjs()
    return _write(file, render(sweep, patches, unheard, plotly, clips), clips, plotly)


def build_small_file(sweep: Sweep, patches: list[Patch], file: Path, codec: str) -> Weight:
    """The same without plots, and with the clips of as many pairs as fit SMALL_BYTES.

    Raises:
        ReportError: not even those of one pair fit.
    """
    unheard = {clip.id: LEFT_OUT for clip in sweep.clips}
    room = SMALL_BYTES - len(render(sweep, patches, unheard, "", []).encode())
    clips: list[str] = []
    for pair in pairs_to_hear(sweep):
        elements, missing = clip_elements([clip for clip in sweep.clips if clip.pair == pair], codec)
        room -= _size(elements.values())
        if room < 0:
            break
        clips += elements.values()
        unheard = {key: why for key, why in (unheard | missing).items() if key not in elements}
    if room < 0 and not clips:
        raise ReportError(
            f"not one prompt and seed fits into {SMALL_BYTES / 1e6:g} MB with its clips: shorten or thin them"
            " out, or leave out --small"
        )
    return _write(file, render(sweep, patches, unheard, "", clips), clips, "")


def _size(texts: Iterable[str]) -> int:
    return sum(map(len, texts))


def _write(file: Path, html: str, clips: list[str], plotly: str) -> Weight:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as out:
        out.write(html)
    audio, script = _size(clips), len(plotly.encode())
    return Weight(file.stat().st_size - audio - script, script, audio, len(clips))
