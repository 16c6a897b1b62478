"""What this machine can do at most: MACs per second and bytes per second, measured in seconds and kept in a file.

The file lies in the user's cache folder (``$XDG_CACHE_HOME/flyweight``, else ``~/.cache/flyweight``), one per machine,
version of ONNX Runtime and number of threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flyweight import files
from flyweight.contracts import BUSY
from flyweight.errors import FileError, MeasurementError
from flyweight.measure._hardware import hardware
from flyweight.measure._process import measuring_environment
from flyweight.roofline import Machine

MOST_BYTES = 2**16  # of a file that holds a machine's figures


def machine(threads: int = 1, *, remeasure: bool = False, timeout_s: float = 120.0) -> Machine:
    """Return this machine's limits at ``threads`` threads: those on file, else measured in a fresh process.

    Args:
        remeasure: measure even if there is a file. A file that can't be read is measured anew, and one that can't be
            written is left. What was measured on a busy machine (``busy`` above BUSY) is returned, but not kept.

    Raises:
        MeasurementError: the process failed, or didn't end within ``timeout_s``.
    """
    if threads < 1:
        raise MeasurementError(f"threads is {threads}; it must be at least 1.")
    path = cache_file(threads)
    known = None if remeasure else _read(path)
    if known is not None:
        return known
    measured = _measure(threads, timeout_s)
    if measured.busy <= BUSY:  # limits of a machine that did something else are no limits
        _keep(path, measured)
    return measured


def cache_file(threads: int) -> Path:
    """Return where this machine's figures are kept."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flyweight"
    key = "\n".join((platform.node(), hardware(), _runtime_version()))
    return folder / f"machine-{hashlib.sha256(key.encode()).hexdigest()[:12]}-{threads}.json"


def _runtime_version() -> str:
    try:
        return version("onnxruntime")
    except PackageNotFoundError:
        return ""


def _read(path: Path) -> Machine | None:
    if not path.is_file():
        return None
    try:
        return Machine.from_json(files.read_json(path, MOST_BYTES))
    except FileError:  # of another version, or damaged: it takes seconds to make it anew
        return None


def _keep(path: Path, measured: Machine) -> None:
    try:
        files.write_json(path, measured.to_json())
    except FileError:  # a home that can't be written to: it is measured again next time
        return


def _measure(threads: int, timeout_s: float) -> Machine:
    command = [sys.executable, "-P", "-m", "flyweight.measure._machine", str(threads)]
    environment = {**measuring_environment(), "OPENBLAS_NUM_THREADS": str(threads)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MeasurementError(f"can't measure the machine's limits: {error}") from error
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise MeasurementError(
            f"measuring the machine's limits failed (exit code {done.returncode}). It wrote:\n{last}"
        )
    return Machine.from_json(json.loads(done.stdout))
