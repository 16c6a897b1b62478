"""Write docs/support.md: every network of the zoo in every runtime, as it was measured.

python tools/support_page.py            # write
python tools/support_page.py --check    # exit 1 where docs/support.md is not what the results say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyweight.zoo import ZOO

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "support.md"
# the whole zoo in the runtimes of the core; members of many families in the others, some from environments of their own
RESULTS = tuple(ROOT / "benchmarks" / "results" / name for name in ("support.json", "support_mobile.json"))
HEAD = """# The zoo in every runtime

<!-- written by tools/support_page.py from benchmarks/results/support.json and support_mobile.json -->

Each network of the zoo, at its own input size and with norms as after training, is exported in float32 to each
runtime, and the file's outputs are compared with PyTorch's on noise and on two satellite tiles. A figure is the
largest difference over PyTorch's largest output; up to {allowed:.0e} counts as equal. What is refused, differs or
crashes stands below with the reason. `·` has not been measured yet. Core ML runs on Apple's systems only: `converted`
says that its package was made and read back with the operators, the input and the output that were converted, and that
nothing is known of what it computes.

```console
$ flyweight bench squeezenet_1.1 --runtimes onnxruntime,ncnn,openvino,mnn,litert,executorch
```

`python -m benchmarks.support` measures what is missing, `python tools/support_page.py` writes this page. Measured
{date} on {hardware}: {versions}.

"""


def main(arguments: Sequence[str]) -> int:
    """Write the page, or check it."""
    text = page()
    if "--check" in arguments:
        return 0 if PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """Return the page's text."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS]
    rows = {(row["network"], row["runtime"]): row for result in reversed(results) for row in result["rows"]}
    result = {**results[0], "rows": [rows[key] for key in sorted(rows)]}
    runtimes = list(dict.fromkeys(row["runtime"] for row in result["rows"]))
    runtimes.sort(key=lambda name: -sum(1 for _, runtime in rows if runtime == name))
    versions = ", ".join(sorted({f"{row['runtime']} {row['version']}" for row in result["rows"]}))
    hardware, date = result["environment"]["hardware"], result["date"][:10]
    head = HEAD.format(allowed=result["allowed"], date=date, hardware=hardware, versions=versions)
    return head + summary(rows, runtimes) + matrix(rows, runtimes) + refusals(result["rows"])


def summary(rows: dict[tuple[str, str], dict[str, Any]], runtimes: Sequence[str]) -> str:
    """Return a line per runtime: how many networks are equal, differ, are refused or crash, and how many are left."""
    lines = ["| runtime | measured | equal | converted | refused | differ | crash |", "|---|---|---|---|---|---|---|"]
    for runtime in runtimes:
        own = [row["outcome"] for (_, name), row in rows.items() if name == runtime]
        counts = [own.count(outcome) for outcome in ("equal", "converted", "refused", "differs", "crashed")]
        lines.append(f"| {runtime} | {len(own)} of {len(ZOO.origins)} | {' | '.join(map(str, counts))} |")
    return "\n".join(lines) + "\n\n"


def matrix(rows: dict[tuple[str, str], dict[str, Any]], runtimes: Sequence[str]) -> str:
    """Return the table of all networks that were measured in at least one runtime, and how many are left by family."""
    lines = [f"| network | input | {' | '.join(runtimes)} |", "|---|---|" + "---|" * len(runtimes)]
    left = []
    for name in sorted(ZOO.origins):
        found = [rows.get((name, runtime)) for runtime in runtimes]
        known = next((row for row in found if row), None)
        if known is None:
            left.append(ZOO.origins[name].rpartition(".")[2])
            continue
        size = "x".join(map(str, known["input"]))
        lines.append(f"| `{name}` | {size} | {' | '.join(cell(row) for row in found)} |")
    families = ", ".join(f"{family} {left.count(family)}" for family in dict.fromkeys(left))
    rest = f"\nNot measured yet: {len(left)} networks ({families}).\n" if left else ""
    return "\n".join(lines) + "\n" + rest


def cell(row: dict[str, Any] | None) -> str:
    """Return one cell: the difference, or what happened instead."""
    if row is None:
        return "·"
    if row["outcome"] == "equal":
        return f"{row['largest_difference']:.1e}"
    if row["outcome"] == "converted":
        return "converted"
    figure = f" {row['largest_difference']:.1e}" if "largest_difference" in row else ""
    return f"**{row['outcome']}**{figure}"


def refusals(rows: Sequence[dict[str, Any]]) -> str:
    """Return the reasons of all that is not equal."""
    told = [row for row in rows if row["outcome"] not in ("equal", "converted")]
    if not told:
        return ""
    lines = ["", "## What is not equal, and why", "", "| network | runtime | why |", "|---|---|---|"]
    for row in told:
        why = row.get("reason", "differs by more than is allowed").replace("|", "\\|")
        lines.append(f"| `{row['network']}` | {row['runtime']} | {why} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
