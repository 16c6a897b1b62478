"""Print every claim of benchmarks/results/*.json as a table, those that fail included.

    python tools/claims.py [FOLDER]

A result file is ``{"name", "command", "date", "environment", "claims": [...], ...}``; a claim is ``{"claim", "value",
"unit", "goal", "holds"}`` and may hold more. Exit code 0 even where a claim fails (the table says so); 1 where a file
has another shape, names itself otherwise than its file, or says ``holds`` against its own figures.
"""

from __future__ import annotations

import json
import math
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULT_FIELDS: Mapping[str, type] = {"name": str, "command": str, "date": str, "environment": dict, "claims": list}
CLAIM_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "claim": str, "value": (int, float), "unit": str, "goal": str, "holds": bool,
}  # fmt: skip
COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq,
}  # fmt: skip
GOAL = re.compile(r"(>=|<=|==|>|<) (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


class ShapeError(Exception):
    """A result file that is not of the agreed shape."""


def main(arguments: Sequence[str]) -> int:
    """Print the table of a folder's claims."""
    folder = Path(arguments[0] if arguments else "benchmarks/results")
    if not folder.is_dir():
        print(f"claims: {folder} is not a folder.", file=sys.stderr)
        return 1
    results, damaged = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            results.append(read_result(path))
        except ShapeError as error:
            damaged.append(str(error))
    print(table(results))
    print("\n".join(damaged), file=sys.stderr, end="\n" if damaged else "")
    return 1 if damaged else 0


def read_result(path: Path) -> dict[str, Any]:
    """Read one result file.

    Raises:
        ShapeError: not JSON, or a field is missing, of another type, or at odds with another one.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ShapeError(f"{path}: not readable as JSON ({error}).") from error
    _check_fields(result, RESULT_FIELDS, str(path))
    if result["name"] != path.stem:
        raise ShapeError(f"{path}: its name is '{result['name']}', but must be '{path.stem}', as the file's.")
    if not result["claims"]:
        raise ShapeError(f"{path}: it has no claims. A result says what it shows.")
    for index, claim in enumerate(result["claims"]):
        _check_claim(claim, f"{path}: claim {index}")
    return dict(result)


def _check_claim(claim: Any, where: str) -> None:
    _check_fields(claim, CLAIM_FIELDS, where)
    value = claim["value"]
    if isinstance(value, bool) or not math.isfinite(value):
        raise ShapeError(f"{where}: value is {value!r}, but must be a finite number.")
    if (goal := GOAL.fullmatch(claim["goal"])) is None:
        raise ShapeError(f"{where}: goal is '{claim['goal']}', but must read like '>= 15' or '<= 0.5'.")
    if COMPARE[goal[1]](value, float(goal[2])) != claim["holds"]:
        raise ShapeError(f"{where}: holds is {claim['holds']}, but its value is {value} and its goal {claim['goal']}.")


def _check_fields(data: Any, fields: Mapping[str, type | tuple[type, ...]], where: str) -> None:
    if not isinstance(data, dict):
        raise ShapeError(f"{where}: expected an object, found a {type(data).__name__}.")
    for name, kind in fields.items():
        if name not in data:
            raise ShapeError(f"{where}: field '{name}' is missing.")
        if not isinstance(data[name], kind):
            raise ShapeError(f"{where}: {name} is a {type(data[name]).__name__}.")


def table(results: Sequence[Mapping[str, Any]]) -> str:
    """Return all claims as aligned lines, and a last line that counts them."""
    head = ("", "result", "value", "unit", "goal", "claim")
    rows = [
        ("holds" if c["holds"] else "FAILS", r["name"], f"{c['value']:.6g}", c["unit"], c["goal"], c["claim"])
        for r in results
        for c in r["claims"]
    ]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]]) for row in (head, *rows)
    ]
    failing = sum(row[0] == "FAILS" for row in rows)
    return "\n".join([*lines, f"{len(rows)} claims in {len(results)} results; {failing} do not hold."])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
