"""How long every architecture of the zoo takes to build, with weights and without, and which memory it takes.

    python -m benchmarks.build_time

One network after the other in this process, the smallest first; memory beyond the weights is the growth of the
process' peak while the network is built, less its parameters and buffers. Writes
``benchmarks/results/build_time.json``.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks._claims import claimed
from flyweight import files
from flyweight.build import build, skeleton
from flyweight.flow import environment
from flyweight.zoo import ZOO


def main(arguments: Sequence[str]) -> int:
    """Build, time, write."""
    parser = argparse.ArgumentParser(description="Seconds and memory that building every architecture takes.")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/build_time.json"), help="file to write")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    build(ZOO.get("mobilenet_v2_0.35_96").spec)  # the blocks are imported
    rows = [_row(name) for name in sorted(ZOO.origins, key=_params)]
    now = environment(0)
    slowest, meta = (max(rows, key=lambda row: float(row[key])) for key in ("cpu_s", "meta_cpu_s"))
    result = {
        "name": "build_time", "command": "python -m benchmarks.build_time", "date": now["date"], "environment": now,
        "rows": rows,
        "claims": [
            claimed(f"slowest of {len(rows)} architectures to build with weights ({slowest['name']})", slowest["cpu_s"],
                  "CPU-s", "<= 1"),
            claimed(f"slowest to build without weights ({meta['name']})", meta["meta_cpu_s"], "CPU-s", "<= 1"),
            claimed("largest growth of the process beyond the weights of a network",
                  max(row["beyond_weights_mb"] for row in rows), "MB", "<= 64", 1),
        ],
    }  # fmt: skip
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print("holds" if claim["holds"] else "FAILS", claim["claim"], claim["value"], claim["unit"], claim["goal"])
    return 0


def _params(name: str) -> int:
    return sum(parameter.numel() for parameter in skeleton(ZOO.get(name).spec)[0].parameters())


def _row(name: str) -> dict[str, Any]:
    spec = ZOO.get(name).spec
    gc.collect()
    before = _peak_bytes()
    module, first = _timed(lambda: build(spec))
    weights = sum(t.numel() * t.element_size() for t in (*module.parameters(), *module.buffers()))
    beyond = max(_peak_bytes() - before - weights, 0)
    del module
    _, meta = _timed(lambda: skeleton(spec)[0])
    return {
        "name": name,
        "cpu_s": first,
        "meta_cpu_s": meta,
        "weight_mb": weights / 1e6,
        "beyond_weights_mb": beyond / 1e6,
    }


def _timed(make: Callable[[], nn.Module]) -> tuple[nn.Module, float]:
    """Return what was made, and the CPU seconds of the fastest of three runs: what disturbs only adds to them."""
    seconds = []
    for _ in range(3):
        module = None  # the one before is gone when the next is made
        started = time.process_time()
        module = make()
        seconds.append(time.process_time() - started)
    assert module is not None
    return module, min(seconds)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
