"""How long ``flyweight --help`` and ``import flyweight`` take in a fresh process, and whether either imports torch.

    python benchmarks/startup.py [--n 20]

Writes ``benchmarks/results/startup.json``.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from flyweight import files
from flyweight.flow import environment

CASES = {
    "--help": [sys.executable, "-m", "flyweight", "--help"],
    "import": [sys.executable, "-c", "import flyweight"],
    "nothing": [sys.executable, "-c", "pass"],
}
TORCH = "import sys; sys.argv = ['flyweight', '--help']\nfrom flyweight.cli import main\n"
TORCH += "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules, file=sys.stderr)"


def main(arguments: Sequence[str]) -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description="Start-up time.")
    parser.add_argument("--n", type=int, default=20, help="fresh processes per case (default 20)")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/startup.json"), help="file to write")
    options = parser.parse_args(arguments)
    samples: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(options.n):
        for name, command in CASES.items():  # taking turns, so that all meet the same machine
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            samples[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    done = subprocess.run([sys.executable, "-c", TORCH], check=True, capture_output=True, text=True)
    imports_torch = done.stderr.strip().endswith("True")
    now = environment(0)
    result = {
        "name": "startup",
        "command": "python benchmarks/startup.py" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": now,
        "median_s": medians,
        "samples_s": samples,
        "claims": [
            {
                "claim": f"flyweight --help, wall time of a fresh process (median of {options.n})",
                "value": round(medians["--help"], 3),
                "unit": "s",
                "goal": "<= 0.5",
                "holds": round(medians["--help"], 3) <= 0.5,
            },
            {
                "claim": "flyweight --help imports torch (0 no, 1 yes)",
                "value": int(imports_torch),
                "unit": "",
                "goal": "<= 0",
                "holds": not imports_torch,
            },
        ],
    }
    files.write_json(options.result, result)
    print({name: round(value, 3) for name, value in medians.items()}, "imports torch:", imports_torch)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
