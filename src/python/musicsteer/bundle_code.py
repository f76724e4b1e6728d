"""A check of a bundle's code before Python loads it: `torch.jit.load` itself runs whatever a module holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

from musicsteer.torchscript.bundle import BundleError
from musicsteer.torchscript.checkpoint import one_line


def check_code(bundle: Path, binary: Path) -> None:
    """Let the program check that the bundle's modules only compute.

    Raises:
        BundleError: they do more, or the program cannot be run; with a line that says so.
    """
    command = [str(binary), "inspect", "--no-verify", str(bundle)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise BundleError(f"{binary} checks a bundle's code, but cannot be run: {one_line(error)}") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"{binary} inspect says no more"])[-1]
        raise BundleError(last.removeprefix("error: "))
