"""Keeps freed memory in the process: large tensors come and go at every operator."""

from __future__ import annotations

import ctypes

# <malloc.h>
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Tells glibc not to give memory back to the system; elsewhere, does nothing.

    By default every large tensor is mapped anew and its pages are cleared: a third of the time of encoding,
    and more where many processes run.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, LARGEST_INT)
    mallopt(M_TOP_PAD, 64 << 20)
