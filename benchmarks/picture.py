"""How long the picture of a large network takes, how small its text is, and how large the page of a profile gets.

    python -m benchmarks.picture

The picture is made by the command line in a process of its own, start and tracing included, three times by turns for
each format, every operator a box. Writes ``benchmarks/results/picture.json``.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._claims import claimed
from flyweight import files, flow
from flyweight.build import skeleton
from flyweight.profile import profile_spec
from flyweight.report.picture import counted_costs, drawn
from flyweight.report.profile_page import Profiled, render_profile
from flyweight.report.value import LayerRow
from flyweight.zoo import ZOO

LARGE = "nasnet_mobile"
FORMATS = ("svg", "pdf", "png")
ROUNDS = 3
TEXT = re.compile(r'font-size[=:]"?([0-9.]+)')


def main(arguments: Sequence[str]) -> int:
    """Draw, measure; write and print."""
    if arguments:
        print(f"no arguments are known; got {' '.join(arguments)}", file=sys.stderr)
        return 2
    module, _ = skeleton(ZOO.get(LARGE).spec)
    counted = profile_spec(ZOO.get(LARGE).spec)
    whole = drawn(counted.graph, LARGE, counted_costs(counted, "macs"), fold="none")
    text_px = min(float(size) for size in TEXT.findall(whole.svg()))
    network = {
        "name": LARGE, "modules": sum(1 for _ in module.modules()), "operators": len(counted.graph.nodes),
        "boxes": sum(1 for box in whole.layout.boxes if box.unit.nodes), "smallest_text_px": text_px,
        "width_px": whole.layout.width, "height_px": whole.layout.height,
    }  # fmt: skip
    runs = timed()
    pages = [page(name) for name in first_members()]
    now = flow.environment(0)
    result = {
        "name": "picture",
        "command": "python -m benchmarks.picture",
        "date": now["date"],
        "environment": now,
        "network": network,
        "runs": runs,
        "pages": pages,
        "claims": claims(network, runs, pages),
    }
    files.write_json(Path("benchmarks/results/picture.json"), result)
    for claim in result["claims"]:
        print(claim)
    return 0


def timed() -> list[dict[str, Any]]:
    """Return seconds and bytes of every format, by turns."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS):
            for kind in FORMATS:
                out = Path(folder) / f"net.{kind}"
                command = [sys.executable, "-m", "flyweight", "draw", LARGE, "-o", str(out), "--fold", "none"]
                begun = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds = time.perf_counter() - begun
                found.append({"format": kind, "round": number, "seconds": seconds, "bytes": out.stat().st_size})
                print(found[-1], flush=True)
    return found


def first_members() -> list[str]:
    """Return the first network of every file of the zoo."""
    first: dict[str, str] = {}
    for name, origin in sorted(ZOO.origins.items()):
        first.setdefault(origin, name)
    return list(first.values())


def page(name: str) -> dict[str, Any]:
    """Return the size of a network's page, with its picture."""
    counted = profile_spec(ZOO.get(name).spec)
    rows = [LayerRow(r.module, r.op, r.output_shape, r.macs or 0, r.params) for r in counted.rows]
    text = render_profile(Profiled(name, counted.graph.tensors[counted.graph.inputs[0]].shape, rows, counted))
    return {"name": name, "bytes": len(text.encode())}


def claims(
    network: dict[str, Any], runs: Sequence[dict[str, Any]], pages: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the claims, each with its goal and whether it holds."""
    what = f"{network['name']}, {network['modules']} modules, {network['boxes']} boxes"
    made = [(f"modules of {network['name']}", network["modules"], "modules", ">= 500")]
    for kind in FORMATS:
        median = statistics.median(run["seconds"] for run in runs if run["format"] == kind)
        made.append((f"picture as {kind.upper()} in a fresh process, median of {ROUNDS}: {what}", median, "s", "<= 10"))
    largest = max(pages, key=lambda found: found["bytes"])
    made += [
        (f"smallest text: {what}", network["smallest_text_px"], "px", ">= 8"),
        (f"largest page of a profile, {len(pages)} networks: {largest['name']}", largest["bytes"] / 1e6, "MB", "<= 2"),
    ]  # fmt: skip
    return [claimed(*one) for one in made]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
