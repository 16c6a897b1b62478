"""Time ``make demo`` in a fresh clone, installation aside: the README's first command from nothing to its report.

    python benchmarks/demo.py

Writes ``benchmarks/results/demo.json``. Needs git and what ``make demo`` needs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flyweight import files
from flyweight.flow import environment
from flyweight.report import load_report

LIMIT_MINUTES = 15
RESULT = Path("benchmarks/results/demo.json")


def main() -> int:
    """Clone, install, run, write."""
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "flyweight"
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        install_s = _seconds(["make", "install"], clone)
        demo_s = _seconds(["make", "demo"], clone)
        report = load_report(clone / "runs/demo")
    minutes = round(demo_s / 60, 2)
    now = environment(0)
    claim = {
        "claim": "make demo in a fresh clone, installation aside",
        "value": minutes,
        "unit": "minutes",
        "goal": f"<= {LIMIT_MINUTES}",
        "holds": minutes <= LIMIT_MINUTES,
    }
    result = {
        "name": "demo",
        "command": "python benchmarks/demo.py",
        "date": now["date"],
        "environment": now,
        "install_s": install_s,
        "demo_s": demo_s,
        "rungs": [
            [rung.name, rung.artifacts["onnxruntime"].metrics[report.headline], rung.artifacts["onnxruntime"].bytes]
            for rung in report.rungs
        ],
        "claims": [claim],
    }
    files.write_json(RESULT, result)
    print(claim)
    return 0


def _seconds(command: list[str], folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
