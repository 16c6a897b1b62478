"""Times of single kernels, measured on a miss and kept in a file; and the networks that calibrate their sum.

The file lies in the user's cache folder, one per machine, version of ONNX Runtime and number of threads.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.contracts import Artifact
from flyweight.errors import FileError, MeasurementError, RuntimeMissingError
from flyweight.latency import Footprint, Sample
from flyweight.measure._process import measuring_environment
from flyweight.measure.machine import cache_file
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes._artifact import check_digest

MOST_BYTES = 2**25  # of a table's file
RUNTIME = "onnxruntime"


@dataclass(frozen=True)
class KernelTable:
    """Measured kernels of one machine, runtime version and number of threads, and its calibration networks.

    Attributes:
        us: time by key. samples: networks measured as a whole.
    """

    threads: int
    us: Mapping[str, float] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"kernels_us": dict(self.us), "samples": [sample.to_json() for sample in self.samples]}


def table_file(threads: int) -> Path:
    """Return where the table of this machine is kept."""
    path = cache_file(threads)
    return path.with_name(path.name.replace("machine-", "kernels-", 1))


def load_table(threads: int) -> KernelTable:
    """Return the table on file; an empty one where there is none, or where it can't be read."""
    path = table_file(threads)
    if not path.is_file():
        return KernelTable(threads)
    try:
        data = files.read_json(path, MOST_BYTES)
        us = {str(key): float(value) for key, value in data["kernels_us"].items()}
        samples = tuple(Sample.from_json(entry) for entry in data["samples"])
    except (FileError, KeyError, TypeError, ValueError, AttributeError):
        return KernelTable(threads)  # of another version, or damaged: it takes seconds to make it anew
    if not all(math.isfinite(value) and value > 0 for value in us.values()):
        return KernelTable(threads)
    return KernelTable(threads, us, samples)


def keep_table(table: KernelTable) -> None:
    """Write the table to its file.

    Raises:
        FileError: it can't be written.
    """
    files.write_json(table_file(table.threads), table.to_json())


def footprint_of(
    artifact: Artifact, macs: int, table: KernelTable, timeout_s: float = 600.0
) -> tuple[Footprint, KernelTable, int]:
    """Return an artifact's footprint, the table with what was missing, and how many kernels were measured for it.

    Raises:
        MeasurementError: the measuring process failed or didn't end in time; or the artifact is of another runtime.
        RuntimeMissingError: ONNX Runtime or onnx is not installed.
        FileError: the artifact's file is missing or not what was exported.
    """
    if artifact.runtime != RUNTIME:
        raise MeasurementError(f"latency is estimated for ONNX Runtime; this file is for {artifact.runtime}.")
    if reason := RUNTIMES.get(RUNTIME).missing():
        raise RuntimeMissingError(reason)
    check_digest(artifact)
    request = {"file": str(artifact.files[0]), "threads": table.threads, "known": sorted(table.us)}
    answer = _asked(request, timeout_s)
    fresh = {key: float(found["us"]) for key, found in answer["measured"].items()}
    us = {**table.us, **fresh}
    total = math.fsum(us[key] for key in answer["keys"])
    footprint = Footprint(len(answer["keys"]), total, int(answer["weight_bytes"]), macs)
    return footprint, KernelTable(table.threads, us, table.samples), len(fresh)


def _asked(request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "flyweight.measure._kernels"]
    try:
        done = subprocess.run(
            command, input=json.dumps(request), capture_output=True, text=True, timeout=timeout_s, check=False,
            env=measuring_environment(),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"can't measure the kernels of {request['file']}: {error}") from error
    if done.returncode:
        last = "\n".join(_said(done.stderr.splitlines()))
        raise MeasurementError(f"measuring the kernels of {request['file']} failed:\n{last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _said(lines: Sequence[str]) -> Sequence[str]:
    return [line for line in lines if line.strip()][-5:]
