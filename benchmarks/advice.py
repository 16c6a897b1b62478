"""Advice on networks of the zoo, each finding applied alone, exported and measured: how often the sign is right, and
how far the predicted gain is from the measured one.

    python -m benchmarks.advice [--names mobilenet_v2_1.0,resnet_18]

The findings that ``flyweight advise --verify`` measures by default count: the first ``--top``, one strength of each.
Resumable; in parts, so that measuring can have quiet minutes: ``--part export`` the originals, ``layers`` measure them,
``edit`` export what is advised, ``times`` measure that, each with ``--names``. The call without a part does what is
missing and writes ``benchmarks/results/advice.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flyweight
from benchmarks._claims import claimed
from flyweight import files
from flyweight.advise import Advice, Finding, chosen
from flyweight.cli._progress import shown
from flyweight.contracts import Candidate
from flyweight.flow import environment, open_model
from flyweight.rung import kept
from flyweight.verify import Verified, advice_on, original, prepare, verify

NETWORKS = {  # name: input in px, so that a run of each takes 2 to 30 ms on one core
    "mobilenet_v1_deconv": 160, "mobilenet_v2_1.0": 160, "mobilenet_v3_small_1.0": 224, "shufflenet_v2_1.0": 224,
    "squeezenet_1.1": 160, "resnet_18": 112,
}  # fmt: skip
CODE = ("advise", "verify", "transforms", "measure", "blocks", "build", "count", "graph")
PARTS = ("export", "layers", "edit", "times")
LEAST_NETWORKS, RIGHT, ERROR = 6, 0.8, 0.3
N_LAYERS, N = 40, 60


def main(arguments: Sequence[str]) -> int:
    """Do a part for the networks named, or all parts for all, and write and print."""
    options = _options(arguments)
    rows = []
    for name in options.names.split(",") if options.names else NETWORKS:
        with shown(options.quiet) as progress:
            rows.append(row(name, options.out / name, options.top, options.part, progress))
    if options.part:
        return 0
    now = environment(0)
    result = {
        "name": "advice",
        "command": "python -m benchmarks.advice" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": now,
        "threads": 1,
        "top": options.top,
        "networks": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(f"{'holds' if claim['holds'] else 'FAILS'} {claim['claim']}: {claim['value']} {claim['unit']}")
    return 0


def row(name: str, folder: Path, top: int, part: str | None, progress: Any) -> dict[str, Any]:
    """Return a network's findings beside what was measured; nothing after ``part``, of what is done to get there."""
    if not part or part == "times":
        return dict(kept(folder / "row.json", code(top), lambda: _row(name, folder, top, None, progress)))
    return _row(name, folder, top, part, progress)


def code(top: int) -> str:
    """Return a digest of all code that advice and its check are made of: a row of other code is made anew."""
    places = sorted(Path(flyweight.__file__).parent.rglob("*.py"))
    parts = [path.read_bytes() for path in places if path.parent.name in CODE or path.stem in CODE]
    return f"{hashlib.sha256(b''.join(parts)).hexdigest()}, {top} findings"


def _row(name: str, folder: Path, top: int, part: str | None, progress: Any) -> dict[str, Any]:
    candidate = open_model(name, resolution=NETWORKS.get(name))
    original(candidate, folder)
    if part == "export":
        return {}
    advice = advice_on(candidate, folder, n=N_LAYERS)
    findings = chosen(advice.findings)[:top]
    if part == "layers":
        return {}
    prepare(candidate, findings, folder, progress)
    return {} if part == "edit" else _judged(name, candidate, advice, findings, folder, progress)


def _judged(
    name: str, candidate: Candidate, advice: Advice, findings: Sequence[Finding], folder: Path, progress: Any
) -> dict[str, Any]:
    found = list(verify(candidate, findings, folder, n=N, progress=progress))
    return {
        "name": name, "input": list(candidate.input_shape), "time_ms": advice.time_ms, "macs": advice.macs,
        **summary(found), "findings": [verified.to_json() for verified in found],
    }  # fmt: skip


def summary(found: Sequence[Verified]) -> dict[str, Any]:
    """Return the figures that the claims are about; a finding that could not be measured is not right in sign."""
    known = [verified for verified in found if not verified.failed]
    return {
        "count": len(found), "failed": len(found) - len(known),
        "sign_right": sum(verified.sign_right for verified in found) / max(len(found), 1),
        "median_error": statistics.median(verified.error for verified in known),
        "inside_interval": sum(verified.inside for verified in known) / max(len(known), 1),
    }  # fmt: skip


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims, failing ones included."""
    found = [finding["measured"] for row in rows for finding in row["findings"]]
    known = [measured for measured in found if "gain_ms" in measured]
    right = sum(bool(measured.get("sign_right")) for measured in found) / len(found)
    error = statistics.median(measured["relative_error"] for measured in known)
    inside = sum(measured["inside_interval"] for measured in known) / len(known)
    text = f"{len(found)} findings on {len(rows)} networks"
    return [
        claimed("networks", float(len(rows)), "networks", f">= {LEAST_NETWORKS}"),
        claimed(f"{text}: sign of the gain as predicted", right, "share", f">= {RIGHT}"),
        claimed(f"{text}: median error of the predicted gain", error, "of the measured gain", f"<= {ERROR}"),
        claimed(f"{text}: measured gain inside the predicted 90 % interval", inside, "share", ">= 0.9"),
    ]


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Advice beside what its edits measure.")
    parser.add_argument("--names", help="networks, apart by commas (default: six)")
    parser.add_argument("--top", type=int, default=10, help="findings a network (default 10)")
    parser.add_argument("--part", choices=PARTS, help="stop behind this part")
    parser.add_argument("--out", type=Path, default=Path("runs/advice"), help="folder of what is exported and measured")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/advice.json"), help="file to write")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
