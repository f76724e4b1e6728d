"""Words that several commands use."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """`what` with its count: "1 clip", "3 clips"."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def is_or_are(count: int) -> str:
    """The verb after `counted`."""
    return "is" if count == 1 else "are"
