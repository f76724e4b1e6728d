"""Describe the machine that a benchmark runs on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

TELLING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16")


def read(path: str) -> str:
    """A file of the system, or nothing."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def field(text: str, name: str) -> str:
    """What stands behind `name :` in /proc/cpuinfo or /proc/meminfo."""
    return next(
        (line.split(":", 1)[1].strip() for line in text.splitlines() if line.split(":")[0].strip() == name),
        "",
    )


def cores() -> int:
    """Physical cores that this process may use, as far as the system says."""
    usable = os.sched_getaffinity(0)
    groups = {
        read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or cpu for cpu in usable
    }
    return len(groups)


def describe() -> dict[str, str]:
    """Name -> value, for people."""
    info = read("/proc/cpuinfo")
    flags = field(info, "flags").split()
    memory_kb = int(field(read("/proc/meminfo"), "MemTotal").split()[0] or 0)
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers")]
    return {
        "processor": field(info, "model name") or platform.machine(),
        "instructions": " ".join(flag for flag in TELLING_FLAGS if flag in flags) or "none of interest",
        "cores": str(cores()),
        "last-level cache": read("/sys/devices/system/cpu/cpu0/cache/index3/size").strip() or "unknown",
        "memory": f"{memory_kb / 1e6:.0f} GB",
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "versions": f"python {platform.python_version()}, {', '.join(versions)}",
    }
