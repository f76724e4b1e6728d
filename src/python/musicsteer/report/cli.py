"""The command line of the report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plotly.offline import get_plotlyjs

from musicsteer.report.audio import CODECS, EncodedClip, UnreadableAudio, clip_script, encode_clip
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import Clip, Sweep, check_one_model, read_sweeps
from musicsteer.report.output import check_replaceable, replacing
from musicsteer.report.page import render
from musicsteer.report.patches import Patch, read_patches

PLOTLY = "plotly.min.js"
LARGE_PAGE_BYTES = 100_000_000

EXAMPLES = """
examples:
  musicsteer report runs/tempo --out report/
  musicsteer report runs/tempo runs/brightness --out report/ --force
  musicsteer report runs/tempo --single-file --out tempo.html
  musicsteer report tempo-patch.json runs/tempo --out report/
"""


@dataclass(frozen=True)
class Options:
    """What was asked for. codec: "flac" or "vorbis"."""

    runs: list[Path]
    out: Path
    single_file: bool
    codec: str
    force: bool


@dataclass(frozen=True)
class Weight:
    """What a report weighs, in bytes."""

    html: int
    plotly: int
    audio: int
    clips: int


def parse_arguments(arguments: list[str] | None) -> Options:
    """The command line as options."""
    parser = argparse.ArgumentParser(
        prog="musicsteer report",
        description="Make a page to listen to sweeps and to see what steering did: players that switch the "
        "strength while the music plays, curves with intervals, tables; and heatmaps of activation patching. "
        "It works without network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUNS",
        help="folders that `musicsteer sweep` wrote, and JSON files of `musicsteer patch`, of one model",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder to make, with index.html in it; with --single-file also a file that ends in .html",
    )
    parser.add_argument(
        "--single-file", action="store_true", help="everything in one HTML file, the clips included"
    )
    parser.add_argument(
        "--audio",
        choices=sorted(CODECS),
        help="flac loses nothing; vorbis is about a fifth of its size, and no longer the very same samples "
        "[flac; vorbis with --single-file]",
    )
    parser.add_argument("--force", action="store_true", help="replace an older report at --out")
    given = parser.parse_args(arguments)
    codec = given.audio or ("vorbis" if given.single_file else "flac")
    return Options(given.runs, Path(given.out.absolute()), given.single_file, codec, given.force)


def check_options(options: Options) -> None:
    """Raises ReportError if `--out` can't be what it is, before any work is done."""
    if options.out.suffix.lower() in (".html", ".htm") and not options.single_file:
        raise ReportError(f"{options.out} names a file: give a folder, or --single-file")
    for run in options.runs:
        run, out = run.resolve(), options.out.resolve()
        if out == run or out in run.parents:
            kind = "the file" if run.is_file() else "the sweep"
            raise ReportError(f"--out {options.out} holds {kind} {run}: give another folder")
    check_replaceable(options.out, options.force)


def encode_all(sweep: Sweep, codec: str, keep: Callable[[Clip, EncodedClip], None]) -> dict[str, str]:
    """Encode every clip and hand it to `keep`; returns the ids of those without audio, and why."""
    unreadable: dict[str, str] = {}
    show = sys.stderr.isatty()
    for number, clip in enumerate(sweep.clips, start=1):
        path = clip.audio_path
        try:
            if path is None:
                raise UnreadableAudio("the sweep kept no audio")
            keep(clip, encode_clip(path, codec))
        except UnreadableAudio as error:
            unreadable[clip.id] = str(error)
        if show:
            print(f"\rencoding clips: {number} of {len(sweep.clips)}", end="", file=sys.stderr, flush=True)
    if show:
        print("\r\033[K", end="", file=sys.stderr)
    return unreadable


def build_folder(sweep: Sweep, patches: list[Patch], folder: Path, codec: str) -> Weight:
    """index.html, the plotting script, and a script for each clip under audio/."""
    audio = folder / "audio"
    (audio if sweep.clips else folder).mkdir(parents=True)
    sizes: list[int] = []

    def keep(clip: Clip, encoded: EncodedClip) -> None:
        script = clip_script(clip.id, encoded)
        (audio / f"{clip.id}.js").write_text(script, encoding="ascii")
        sizes.append(len(script))

    unreadable = encode_all(sweep, codec, keep)
    plotly = get_plotlyjs().encode()
    (folder / PLOTLY).write_bytes(plotly)
    html = render(sweep, patches, unreadable, CODECS[codec], PLOTLY).encode()
    (folder / "index.html").write_bytes(html)
    return Weight(len(html), len(plotly), sum(sizes), len(sizes))


def build_single_file(sweep: Sweep, patches: list[Patch], file: Path, codec: str) -> Weight:
    """The page with everything inside, the clips at its end, so that it shows before they have arrived."""
    clips: list[str] = []

    def keep(clip: Clip, encoded: EncodedClip) -> None:
        clips.append(f'<script type="text/plain" data-clip="{clip.id}">{encoded.base64()}</script>\n')

    unreadable = encode_all(sweep, codec, keep)
    plotly = get_plotlyjs()
    html = render(sweep, patches, unreadable, CODECS[codec], plotly, clips)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8") as out:
        out.write(html)
    audio, script = sum(map(len, clips)), len(plotly.encode())
    return Weight(file.stat().st_size - audio - script, script, audio, len(clips))


def megabytes(size: int) -> str:
    """12345678 -> "12.3 MB"."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.0f} kB"


def make_report(options: Options) -> None:
    """Everything, in order.

    Raises:
        ReportError: one sentence.
    """
    check_options(options)
    sweep = read_sweeps([run for run in options.runs if not run.is_file()])
    patches = read_patches([run for run in options.runs if run.is_file()])
    check_one_model(sweep, patches)
    page = options.out
    with replacing(options.out, options.force) as place:
        if not options.single_file:
            weight = build_folder(sweep, patches, place, options.codec)
            page = options.out / "index.html"
        elif options.out.suffix.lower() in (".html", ".htm"):
            weight = build_single_file(sweep, patches, place, options.codec)
        else:
            weight = build_single_file(sweep, patches, place / "index.html", options.codec)
            page = options.out / "index.html"
    for remark in sweep.remarks:
        print(f"note: {remark}", file=sys.stderr)
    if weight.clips < len(sweep.clips):
        print(
            f"note: {len(sweep.clips) - weight.clips} clips have no audio that can be read", file=sys.stderr
        )
    if options.single_file and page.stat().st_size > LARGE_PAGE_BYTES:
        print(
            f"note: {page} is {megabytes(page.stat().st_size)}: browsers take long to open it; "
            "a folder loads only the clips that are played",
            file=sys.stderr,
        )
    print(page)
    sizes = f"page {megabytes(weight.html)}, plots {megabytes(weight.plotly)}"
    if sweep.clips:
        audio = f"{weight.clips} clips as {options.codec} {megabytes(weight.audio)}"
        print(f"{len(sweep.clips)} clips; {sizes}, {audio}")
    else:
        print(f"{len(patches)} results of patching; {sizes}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        make_report(options)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or options.out}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; nothing was left behind", file=sys.stderr)
        return 130
    return 0
