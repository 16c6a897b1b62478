"""Measure what an installation of Flyweight takes on disk, and write it as a result with a claim.

    python tools/install_size.py                # a table
    python tools/install_size.py --out benchmarks/results/install_size.json

Counts the files that each installed package lists as its own, bytecode that pip compiled included, in MB of 10^6 bytes.
What Flyweight requires is read from its metadata; what torch requires by itself is left out of the claim, with torch.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LIMIT_MB = 200
EXTRAS = ("onnxruntime", "ncnn", "openvino", "mnn", "samples")


def main(arguments: Sequence[str]) -> int:
    """Print the sizes, or write them as a result file."""
    parser = argparse.ArgumentParser(description="Measure what an installation of Flyweight takes on disk.")
    parser.add_argument("--out", type=Path, help="write the result as JSON to this file")
    options = parser.parse_args(arguments)
    result = measure()
    for row in result["packages"]:
        print(f"{row['mb']:8.1f} MB  {row['package']:<20} {row['version']:<16} {row['part']}")
    print(f"{result['claims'][0]['value']:8.1f} MB  core without torch and what torch requires (goal {LIMIT_MB})")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def measure() -> dict[str, Any]:
    """Return the sizes of all packages that Flyweight requires, each under the first part that needs it."""
    torch = requirements_of(["torch"])
    core = {name for name in requirements_of(["flyweight"]) if name not in torch}
    parts = {"core": core, "torch": torch}
    for extra in EXTRAS:
        parts[extra] = requirements_of([f"flyweight[{extra}]"]) - set().union(*parts.values())
    rows = [row(name, part) for part, names in parts.items() for name in names]
    core_mb = round(sum(r["mb"] for r in rows if r["part"] == "core"), 1)
    return {
        "name": "install_size",
        "command": "python tools/install_size.py --out benchmarks/results/install_size.json",
        "date": date.today().isoformat(),
        "environment": {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"},
        "claims": [
            {
                "claim": "core install without torch and what torch itself requires",
                "value": core_mb, "unit": "MB", "goal": f"<= {LIMIT_MB}", "holds": core_mb <= LIMIT_MB,
            }
        ],
        "packages": sorted(rows, key=lambda r: (list(parts).index(r["part"]), -r["mb"])),
    }  # fmt: skip


def row(name: str, part: str) -> dict[str, Any]:
    """Return one package's name, version, part and size in MB."""
    found = distribution(name)
    return {"package": name, "version": found.version, "part": part, "mb": round(size_bytes(found) / 1e6, 2)}


def size_bytes(package: Distribution) -> int:
    """Return the bytes of the files that a package lists as its own."""
    paths = (Path(str(entry.locate())) for entry in package.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def requirements_of(names: Iterable[str]) -> set[str]:
    """Return the names of packages that these require here, directly or not, and these themselves.

    Args:
        names: requirements as pip reads them, e.g. ``flyweight[ncnn]``.
    """
    todo = [Requirement(name) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        wanted = todo.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        todo += [
            r for text in distribution(wanted.name).requires or () if _applies(r := Requirement(text), wanted.extras)
        ]
    return {name for name, _ in seen}


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, ""))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
