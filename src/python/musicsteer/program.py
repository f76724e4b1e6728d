"""The C++ program: where it is, and an installation's command `musicsteer`, which starts it.

Nothing here imports LibTorch or anything large, because every command starts with this.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_INSTALLED = os.path.join(_HERE, "bin", "musicsteer")


def program_path() -> str:
    """The program: MUSICSTEER if set, else the one in this package, else build/ of the sources."""
    if chosen := os.environ.get("MUSICSTEER"):
        return chosen
    if os.path.exists(_INSTALLED):
        return _INSTALLED
    return os.path.join(_HERE, "..", "..", "..", "build", "musicsteer")


def shipped_checkpoint(name: str) -> str | None:
    """The folder of a checkpoint that comes with the package, such as "demo"; None if there is none."""
    for root in (_HERE, os.path.join(_HERE, "..", "..", "..")):
        folder = os.path.normpath(os.path.join(root, "models", name))
        if name and os.sep not in name and os.path.isfile(os.path.join(folder, "config.json")):
            return folder
    return None


def main() -> int:
    """Replace this process by the program; returns only if it cannot be run."""
    # Where it finds commands written in Python, such as musicsteer-export.
    os.environ["MUSICSTEER_EXEC_PATH"] = os.path.dirname(os.path.abspath(sys.argv[0]))
    program = program_path()
    try:
        os.execv(program, ["musicsteer", *sys.argv[1:]])
    except OSError as error:
        print(f"error: {program} cannot be run: {error.strerror}", file=sys.stderr)
    return 1
