"""Puts a report in its place: all of it or nothing, and nothing replaced that was not asked for."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from musicsteer.report.errors import ReportError

# In every page's head; a folder or file is only replaced if it carries this.
GENERATOR = '<meta name="generator" content="musicsteer report">'


def _is_report(path: Path) -> bool:
    page = path / "index.html" if path.is_dir() else path
    try:
        with page.open(encoding="utf-8", errors="replace") as file:
            return GENERATOR in file.read(4096)
    except OSError:
        return False


def check_replaceable(out: Path, force: bool) -> None:
    """Raises ReportError if `out` exists and may not be replaced."""
    if not os.path.lexists(out):
        return
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()):
        return
    if not force:
        raise ReportError(f"{out} exists: give another --out, or --force to replace it")
    if not _is_report(out):
        raise ReportError(f"{out} exists and is not a report, so it is not replaced: give another --out")


@contextlib.contextmanager
def replacing(out: Path, force: bool) -> Iterator[Path]:
    """A path beside `out` to build at, renamed to `out` at the end; removed if anything fails.

    Raises:
        ReportError: `out` may not be replaced, now or when the report is ready.
    """
    check_replaceable(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        built = workplace / "new"
        yield built
        check_replaceable(out, force)
        if os.path.lexists(out):
            out.rename(workplace / "old")
        try:
            built.rename(out)
        except OSError:
            if (workplace / "old").exists():
                (workplace / "old").rename(out)
            raise
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
