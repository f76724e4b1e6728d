"""The command line of the report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from musicsteer.command_parser import command_parser
from musicsteer.report.audio import CODECS
from musicsteer.report.build import Weight, build_folder, build_single_file, build_small_file
from musicsteer.report.errors import ReportError
from musicsteer.report.loading import Sweep, check_one_model, read_sweeps
from musicsteer.report.output import check_replaceable, replacing
from musicsteer.report.patches import Patch, read_patches
from musicsteer.report.terminal import format_tables
from musicsteer.wording import counted

LARGE_PAGE_BYTES = 100_000_000

EXAMPLES = """examples:
  musicsteer report runs/tempo --out report/
  musicsteer report runs/tempo runs/brightness --out report/ --force
  musicsteer report runs/tempo --single-file --out tempo.html
  musicsteer report runs/tempo --small --out listen.html
  musicsteer report runs/tempo --table
  musicsteer report tempo-patch.json runs/tempo --out report/
"""


@dataclass(frozen=True)
class Options:
    """What was asked for. out: None for a table without a page; codec: one of CODECS."""

    runs: list[Path]
    out: Path | None
    table: bool
    single_file: bool
    small: bool
    codec: str
    force: bool


def parse_arguments(arguments: list[str] | None) -> Options:
    """The command line as options."""
    parser = command_parser(
        "report",
        "Make a page to listen to sweeps and to see what steering did: players that switch the "
        "strength while the music plays, curves with intervals, tables; and heatmaps of activation patching. "
        "It works without network.",
        EXAMPLES,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUNS",
        help="folders that `musicsteer sweep` wrote, and JSON files of `musicsteer patch`, of one model",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        type=Path,
        help="folder to make, with index.html in it; with --single-file or --small also a file, .html",
    )
    parser.add_argument(
        "--table", action="store_true", help="print means and changes with their intervals; needs no --out"
    )
    parser.add_argument(
        "--single-file", action="store_true", help="everything in one HTML file, the clips included"
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="one HTML file of at most 3 MB, without the large plots, and with the clips of as many prompts "
        "and seeds as fit",
    )
    parser.add_argument(
        "--audio",
        metavar="NAME",
        choices=CODECS,
        help="of the clips: flac loses nothing; vorbis is about a fifth of its size, and no longer the very "
        "same samples; mp3 also plays in old versions of Safari [flac; vorbis with --single-file; mp3 with "
        "--small]",
    )
    parser.add_argument("--force", action="store_true", help="replace an older report at --out")
    given = parser.parse_args(arguments)
    if given.out is None and not given.table:
        parser.error("give --out for a page, or --table for a table")
    codec = given.audio or ("mp3" if given.small else "vorbis" if given.single_file else "flac")
    out = None if given.out is None else Path(given.out.absolute())
    single_file = given.single_file or given.small
    return Options(given.runs, out, given.table, single_file, given.small, codec, given.force)


def check_name(path: Path) -> None:
    """Raises ReportError if a page, which is UTF-8, can't name the path."""
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise ReportError(f"{str(path)!a}: its name is not UTF-8: rename it") from None


def check_out(out: Path, options: Options) -> None:
    """Raises ReportError if `--out` can't be what it is, before any work is done."""
    if out.suffix.lower() in (".html", ".htm") and not options.single_file:
        raise ReportError(f"{out} names a file: give a folder, or --single-file")
    for run in map(Path.resolve, options.runs):
        if out.resolve() == run or out.resolve() in run.parents:
            kind = "the file" if run.is_file() else "the sweep"
            raise ReportError(f"--out {out} holds {kind} {run}: give another folder")
    check_replaceable(out, options.force)


def megabytes(size: int) -> str:
    """12345678 -> "12.3 MB"."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.0f} kB"


def run(options: Options) -> None:
    """Everything, in order.

    Raises:
        ReportError: one sentence.
    """
    for path in (*options.runs, *([options.out] if options.out else [])):
        check_name(path)
    if options.out is not None:
        check_out(options.out, options)
    sweep = read_sweeps([run for run in options.runs if not run.is_file()])
    patches = read_patches([run for run in options.runs if run.is_file()])
    check_one_model(sweep, patches)
    if options.table:
        if not any(clip.condition for clip in sweep.clips):
            raise ReportError("no clip is steered: there is nothing to tabulate")
        print(format_tables(sweep), end="")
    if options.out is not None:
        make_page(sweep, patches, options.out, options)
    for remark in sweep.remarks:
        print(f"note: {remark}", file=sys.stderr)


def make_page(sweep: Sweep, patches: list[Patch], out: Path, options: Options) -> None:
    """The page, and on stdout where it is and what it weighs."""
    is_file = out.suffix.lower() in (".html", ".htm")
    page = out if is_file else out / "index.html"
    with replacing(out, options.force) as place:
        if options.single_file:
            build = build_small_file if options.small else build_single_file
            weight = build(sweep, patches, place if is_file else place / "index.html", options.codec)
        else:
            weight = build_folder(sweep, patches, place, options.codec)
    report_weight(sweep, patches, page, weight, options)


def report_weight(sweep: Sweep, patches: list[Patch], page: Path, weight: Weight, options: Options) -> None:
    """Where the page is and what it weighs, and what is missing or too large."""
    if weight.clips < len(sweep.clips):
        unheard = counted(len(sweep.clips) - weight.clips, "clip")
        why = (
            f"without {unheard}, so that the page stays small"
            if options.small
            else f"the audio of {unheard} cannot be read"
        )
        print(f"note: {why}", file=sys.stderr)
    if options.single_file and page.stat().st_size > LARGE_PAGE_BYTES:
        print(
            f"note: {page} is {megabytes(page.stat().st_size)}: browsers take long to open it; "
            "a folder loads only the clips that are played",
            file=sys.stderr,
        )
    print(page)
    sizes = f"page {megabytes(weight.html)}, plots {megabytes(weight.plotly)}"
    if sweep.clips:
        audio = f"{counted(weight.clips, 'clip')} as {options.codec} {megabytes(weight.audio)}"
        print(f"{counted(len(sweep.clips), 'clip')}; {sizes}, {audio}")
    else:
        print(f"{counted(len(patches), 'result')} of patching; {sizes}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse_arguments(arguments)
    try:
        run(options)
    except ReportError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {error.filename or options.out or options.runs[0]}: {error.strerror or error}",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; nothing was left behind", file=sys.stderr)
        return 130
    return 0
