"""What the system tells of the processor: name, cores, vector instructions, last cache, and how long it has worked."""

from __future__ import annotations

import os
from pathlib import Path

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def hardware() -> str:
    """Return the processor's name, its usable cores and its best int8 instructions, e.g. ``AVX-512 VNNI``."""
    fields = _cpuinfo()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    names = {"avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI", "avx2": "AVX2", "asimddp": "Arm dot product"}
    best = next((label for flag, label in names.items() if flag in _flags(fields)), "")
    model = fields.get("model name") or os.uname().machine
    return ", ".join(part for part in (model, f"{cores} core{'s' * (cores > 1)}", best) if part)


def float32_lanes() -> int:
    """Return how many float32 numbers one vector register holds; 4 where nothing wider is known (SSE, Neon)."""
    flags = _flags(_cpuinfo())
    return 16 if "avx512f" in flags else 8 if "avx" in flags else 4


def last_cache_bytes() -> int:
    """Return the size of the last cache level; 0 where the system doesn't tell."""
    try:
        sizes = [(path / "size").read_text().strip() for path in _CACHES.glob("index*")]
    except OSError:
        return 0
    return max((int(size[:-1]) * _UNITS[size[-1]] for size in sizes if size[-1:] in _UNITS), default=0)


def machine_cpu_s() -> float:
    """Return the CPU time that all processes have used since the machine started, in seconds; 0 where it isn't told."""
    try:
        fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    except OSError:  # not Linux
        return 0.0
    idle = sum(fields[3:5])  # idle, and waiting for a disk
    return (sum(fields[:8]) - idle) / os.sysconf("SC_CLK_TCK")


def _cpuinfo() -> dict[str, str]:
    try:
        return dict(_field(line) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    except OSError:  # not Linux
        return {}


def _flags(fields: dict[str, str]) -> set[str]:
    return set((fields.get("flags") or fields.get("Features") or "").split())


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
