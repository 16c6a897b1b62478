"""What every rendering reads off a Report: scores, times, ratios, and the columns of the ladder table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flyweight.report import _format as fmt
from flyweight.report.value import Report, Rung, RungArtifact, RungTiming

RUNTIME_TITLES = {"onnxruntime": "ONNX Runtime", "ncnn": "ncnn"}
RUNTIME_SHORT = {"onnxruntime": "ORT"}
DOUBT = "*"  # beside a time taken on a busy machine, or one that spreads widely
METRIC_TITLES = {"coast_miou": "mIoU along the coast", "miou": "mIoU", "pixel_accuracy": "pixel accuracy"}


def runtime_title(runtime: str) -> str:
    """Return a runtime's name for readers."""
    return RUNTIME_TITLES.get(runtime, runtime)


def ladder(report: Report) -> tuple[Rung, ...]:
    """Return the rungs of the ladder, without the controls."""
    return tuple(rung for rung in report.rungs if not rung.control)


def controls(report: Report) -> tuple[Rung, ...]:
    """Return the controls."""
    return tuple(rung for rung in report.rungs if rung.control)


def runtimes(report: Report) -> tuple[str, ...]:
    """Return every runtime that has an artifact or a timing, ONNX Runtime first."""
    names = {name for rung in report.rungs for name in rung.artifacts}
    names |= {timing.runtime for rung in report.rungs for timing in rung.timings}
    return tuple(sorted(names, key=lambda name: (name != "onnxruntime", name)))


def primary(report: Report) -> str:
    """Return the runtime whose artifact is quoted: ONNX Runtime where there is one."""
    return next(iter(runtimes(report)), "onnxruntime")


def artifact(report: Report, rung: Rung) -> RungArtifact | None:
    """Return the artifact that is quoted."""
    return rung.artifacts.get(primary(report))


def number(metrics: Mapping[str, object], key: str) -> float | None:
    """Return a metric that is a finite number, else None."""
    value = metrics.get(key)
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type]


def score(report: Report, rung: Rung, key: str = "") -> float | None:
    """Return a metric of the quoted artifact on the test split; the headline's by default."""
    found = artifact(report, rung)
    return number(found.metrics, key or report.headline) if found else None


def file_bytes(report: Report, rung: Rung) -> float | None:
    """Return the bytes of the quoted artifact."""
    found = artifact(report, rung)
    return float(found.bytes) if found and found.bytes > 0 else None


def timing(report: Report, rung: Rung, runtime: str = "", threads: int = 1) -> RungTiming | None:
    """Return a timing; of the quoted runtime at 1 thread by default."""
    return rung.timing(runtime or primary(report), threads)


def median_ms(report: Report, rung: Rung) -> float | None:
    """Return the quoted time, in milliseconds."""
    found = timing(report, rung)
    return found.median_ms if found and found.median_ms > 0 else None


def faster(report: Report, rung: Rung) -> float | None:
    """Return the speed-up over the first rung, as it was measured interleaved with it."""
    found = timing(report, rung)
    return found.speedup if found and found.speedup > 0 else None


def smaller(report: Report, rung: Rung) -> float | None:
    """Return the first rung's bytes over this one's."""
    first, own = file_bytes(report, ladder(report)[0]) if ladder(report) else None, file_bytes(report, rung)
    return first / own if first and own else None


def parent_of(report: Report, rung: Rung) -> Rung | None:
    """Return the rung that this one was edited from; the one before it where the parent is not in the report."""
    named = [other for other in report.rungs if other.name == rung.parent and other is not rung]
    steps = ladder(report)
    if named or rung not in steps:
        return named[0] if named else None
    index = steps.index(rung)
    return steps[index - 1] if index else None


@dataclass(frozen=True)
class Column:
    """One column of the ladder table.

    ``title`` is broken into short lines, ``name`` is in full. ``kind``: 'counted', 'measured' or '' for words.
    ``keep``: the narrower the page, the more columns with a low ``keep`` are left out. ``text`` gives the cell,
    ``sort`` the number to sort by.
    """

    title: str
    name: str
    kind: str
    keep: int
    text: Callable[[Rung], str]
    sort: Callable[[Rung], float | None] | None = None


def columns(report: Report) -> tuple[Column, ...]:
    """Return the ladder table's columns, from left to right; without those for which no rung has a figure."""
    main = primary(report)
    found = [
        Column("rung", "rung", "", 100, lambda r: r.name),
        Column("change", "change", "", 60, lambda r: r.title or r.change),
        Column("input\npx", "input", "counted", 44, lambda r: "×".join(map(str, r.input_size))),
        *_score_columns(report),
        *(_time_column(name, threads, name == main) for name in runtimes(report) for threads in (1, 2)),
        _figure("times\nfaster", "times faster", "measured", 98, lambda r: faster(report, r), fmt.ratio),
        _figure("file\nkB", "file", "counted", 70, lambda r: file_bytes(report, r), fmt.kilobytes),
        _figure("times\nsmaller", "times smaller", "counted", 97, lambda r: smaller(report, r), fmt.ratio),
        _figure("MACs", "MACs", "counted", 65, lambda r: float(r.macs), fmt.count),
        _figure("params", "parameters", "counted", 50, lambda r: float(r.params), fmt.count),
        _figure("RSS\nMB", "RSS", "measured", 40, lambda r: _rss(report, r), fmt.megabytes),
    ]
    return tuple(c for c in found if c.keep == 100 or any(c.text(r) not in (fmt.MISSING, "") for r in report.rungs))


def metric_title(report: Report, key: str) -> str:
    """Return a metric's name for readers; of the classes, how many there are."""
    if key == report.headline:
        return report.headline_title or key
    names = report.data.get("class_names")
    if key == "miou" and isinstance(names, list | tuple) and names:
        return f"mIoU, {len(names)} classes"
    return METRIC_TITLES.get(key, key.replace("_", " "))


def _score_columns(report: Report) -> list[Column]:
    names = report.data.get("class_names")
    classes = f"mIoU\n{len(names)} cl." if isinstance(names, list | tuple) and names else "mIoU"
    titles = {"miou": classes, "coast_miou": "mIoU\ncoast"}
    titles[report.headline] = _short_lines(report.headline_title or report.headline)
    keep = {"miou": 45, "coast_miou": 55, report.headline: 99}
    return [
        _score_column(report, key, titles[key], keep[key])
        for key in dict.fromkeys((report.headline, "coast_miou", "miou"))
    ]


def _score_column(report: Report, key: str, title: str, keep: int) -> Column:
    return _figure(title, metric_title(report, key), "measured", keep, lambda r: score(report, r, key), fmt.metric)


def _short_lines(title: str) -> str:
    return title.replace("/", "/\n").replace(" ", "\n") if len(title) < 24 else title.replace(" ", "\n")


def _figure(
    title: str,
    name: str,
    kind: str,
    keep: int,
    value: Callable[[Rung], float | None],
    text: Callable[[float | None], str],
) -> Column:
    return Column(title, name, kind, keep, lambda rung: text(value(rung)), value)


def _time_column(runtime: str, threads: int, main: bool) -> Column:
    keep = (96 if main else 35) - (66 if main else 10) * (threads - 1)
    title = f"{RUNTIME_SHORT.get(runtime, runtime)}\n{threads} thr\nms"
    name = f"{RUNTIME_SHORT.get(runtime, runtime)} at {threads} thread{'s' if threads > 1 else ''}"
    return Column(
        title,
        name,
        "measured",
        keep,
        lambda r: _time(r.timing(runtime, threads)),
        lambda r: _median(r, runtime, threads),
    )


def doubtful(report: Report) -> bool:
    """Tell whether a timing is to be read with care."""
    return any(timing.doubt for rung in report.rungs for timing in rung.timings)


def _time(timing: RungTiming | None) -> str:
    """Return a median, marked where it is to be read with care."""
    return fmt.significant(timing.median_ms if timing else None) + (DOUBT if timing and timing.doubt else "")


def _median(rung: Rung, runtime: str, threads: int) -> float | None:
    found = rung.timing(runtime, threads)
    return found.median_ms if found else None


def _rss(report: Report, rung: Rung) -> float | None:
    found = timing(report, rung)
    return float(found.peak_rss_bytes) if found else None
