"""Write the README's figures and its picture from ``benchmarks/results/ladder.json``.

python tools/readme.py            # write
python tools/readme.py --check    # exit 1 where README.md or the picture is not what the result says
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flyweight.report._plots import Point, scatter

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks/results/ladder.json"
README = ROOT / "README.md"
PICTURE = ROOT / "docs/images/ladder.svg"
MARKS = re.compile(r"(<!-- ladder: .*? -->\n).*?(<!-- /ladder -->)", re.DOTALL)
RUNTIME_1, NCNN_1 = "onnxruntime_1", "ncnn_1"
STYLE = """<style>
svg { background: #fff; font: 12px sans-serif; }
text { fill: #333; font: 12px sans-serif; } .axis { font-weight: 600; }
.grid { stroke: #e2e2e2; fill: none; } .path { stroke: #9db8cc; fill: none; stroke-width: 1.5; }
.spread, .lead { stroke: #7c98ad; fill: none; } .frame { stroke: #888; fill: none; }
.dot { fill: #14598c; } .ctl { fill: #b3541e; } .name.c { fill: #b3541e; }
</style>"""


def main(arguments: Sequence[str]) -> int:
    """Write or check."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    wanted = {
        README: MARKS.sub(rf"\g<1>{section(result)}\g<2>", README.read_text(encoding="utf-8")),
        PICTURE: picture(result),
    }
    if "--check" in arguments:
        stale = [path.name for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
        if stale:
            print(f"stale: {', '.join(stale)}. Run: python tools/readme.py")
        return 1 if stale else 0
    for path, text in wanted.items():
        path.write_text(text, encoding="utf-8")
    return 0


def section(result: Mapping[str, Any]) -> str:
    """Return the README's text on the ladder, as Markdown."""
    rows = result["rungs"]
    seeds = len(result["claims"][0]["seeds"])
    first, environment = rows[0], result["environment"]
    packages = environment["packages"]
    lines = [
        "The embedded sample is the Earth from space with sea, land and lakes. A MobileNetV1 with an untuned decoder "
        "is cut, edit by edit,",
        f"where its time goes. Every figure is the exported file's: mean of {seeds} seeds (lowest to highest), "
        f"{result['recipe']['steps']} training steps a rung.",
        "",
        "![accuracy against time of every rung](docs/images/ladder.svg)",
        "",
        "| rung | edit | steps | mIoU land/water % | mIoU coast % | IoU lake % | ORT ms | faster | ncnn ms | file kB "
        "| smaller |",
        "|---|---|--:|---|---|--:|--:|--:|--:|--:|--:|",
        *(_row(row, first) for row in rows),
        "",
        f"Measured on {environment['hardware']}, 1 thread, batch 1: ONNX Runtime "
        f"{packages['onnxruntime']}, ncnn "
        f"{packages['ncnn']}; medians of {first['timings'][RUNTIME_1]['n']} runs in a fresh process that takes turns",
        "with v0's. Steps are training steps along a rung's lineage. The *control* stands beside the ladder: v0 with "
        "the last rung's skips,",
        "trained as many steps as the last rung.",
        "",
        _lakes(rows),
        "",
        f"What was claimed, and what came out (`{result['command']}`):",
        "",
        *(_claim(claim) for claim in result["claims"]),
    ]
    return "\n".join(lines) + "\n"


def picture(result: Mapping[str, Any]) -> str:
    """Return accuracy against time as an SVG that stands alone."""
    rows = result["rungs"]
    points = [
        Point(
            name=row["name"], x=row["timings"][RUNTIME_1]["median_ms"]["mean"], y=100 * row["grouped_miou"]["mean"],
            control=row["control"], low=row["timings"][RUNTIME_1]["median_ms"]["min"],
            high=row["timings"][RUNTIME_1]["median_ms"]["max"],
        )
        for row in rows
    ]  # fmt: skip
    svg = scatter(
        points, "ONNX Runtime, 1 thread: median ms", "mIoU land/water, %", "accuracy against time of every rung"
    )
    head, tag, rest = svg.partition(">")
    head = head if "xmlns=" in head else head.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return f"{head}{tag}{STYLE}{rest}\n"


def _lakes(rows: Sequence[Mapping[str, Any]]) -> str:
    named = {row["name"]: row for row in rows}
    chosen = [named["control"], named["v2.2.2"], rows[-1]]
    lake = [f"{100 * row['iou']['lake']['mean']:.1f} %" for row in chosen]
    miou = [f"{100 * row['miou']['mean']:.1f} %" for row in chosen]
    return (
        "The headline takes sea and lake together. Lakes are under 1 % of the pixels, and most are a few pixels wide: "
        f"the control finds them\nwith an IoU of {lake[0]}, v2.2.2, trained rung by rung, with {lake[1]}, the last "
        f"rung, trained in one go, with {lake[2]}.\nThe mIoU of three classes is {miou[0]}, {miou[1]} and {miou[2]}."
    )


def _row(row: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    ort, ncnn = row["timings"][RUNTIME_1], row["timings"].get(NCNN_1)
    name = f"*{row['name']}*" if row["control"] else row["name"]
    cells = (
        name, row["change"], str(row["total_steps"]), _percent(row["grouped_miou"]), _percent(row["coast_miou"]),
        f"{100 * row['iou']['lake']['mean']:.1f}",
        f"{ort['median_ms']['mean']:.2f}",
        f"{ort['speedup']['mean']:.1f}×", f"{ncnn['median_ms']['mean']:.2f}" if ncnn else "–",
        f"{row['bytes']['mean'] / 1000:,.0f}", f"{first['bytes']['mean'] / row['bytes']['mean']:.1f}×",
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _percent(spread: Mapping[str, float]) -> str:
    return f"{100 * spread['mean']:.1f} ({100 * spread['min']:.1f}–{100 * spread['max']:.1f})"


def _claim(claim: Mapping[str, Any]) -> str:
    verdict = "holds" if claim["holds"] else "**does not hold**"
    return f"- {claim['claim']}: {claim['value']:g} {claim['unit']} (goal {claim['goal']}): {verdict}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
