"""What a reader should take from the figures, in words: the headline, each rung's gain, layers that stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flyweight.report import _figures as figures
from flyweight.report import _format as fmt
from flyweight.report.value import LayerRow, Report, Rung

POINT = 0.01  # one point of a score of 0..1
WORSE, LITTLE, GAIN = "worse", "little", "gain"


@dataclass(frozen=True)
class Remark:
    """One rung against its parent; ``flag`` is 'worse', 'little', 'gain' or '' and says how to mark it."""

    rung: str
    against: str
    text: str
    flag: str


@dataclass(frozen=True)
class Headline:
    """The report in one sentence, and the figures in it as (figure, words) pairs."""

    sentence: str
    figures: tuple[tuple[str, str], ...]


def headline(report: Report) -> Headline:
    """Compare the last rung with the first, and with the control."""
    steps = figures.ladder(report)
    if len(steps) < 2:
        words = f"Only {steps[0].name} is finished so far." if steps else "No rung is finished yet."
        return Headline(words, ())
    first, last = steps[0], steps[-1]
    speed, size = figures.faster(report, last), figures.smaller(report, last)
    runtime = figures.runtime_title(figures.primary(report))
    parts = []
    if speed:
        parts.append(f"runs {_times(speed, 'faster', 'slower')} {_than(speed)} {first.name} in {runtime} at 1 thread")
    if size:
        parts.append(f"its file is {_times(size, 'smaller', 'larger')}")
    sentence = f"{last.name} {' and '.join(parts)}. " if parts else f"{last.name} stands at the end of the ladder. "
    shown = [
        _figure(value, *words) for value, *words in ((speed, "faster", "slower"), (size, "smaller", "larger")) if value
    ]
    metric_words, metric_figures = _scores(report, first, last)
    return Headline((sentence + metric_words).strip(), (*shown, *metric_figures))


def _times(value: float, more: str, less: str) -> str:
    if fmt.ratio(max(value, 1 / value)) == "1.00×":
        return {"faster": "as fast", "smaller": "the same size"}[more]
    return f"{fmt.ratio(value)} {more}" if value >= 1 else f"{fmt.ratio(1 / value)} {less}"


def _figure(value: float, more: str, less: str) -> tuple[str, str]:
    figure, _, words = _times(value, more, less).partition(" ")
    return (figure, words) if figure.endswith("×") else ("1.00×", f"{figure} {words}")


def _than(speed: float) -> str:
    return "as" if _times(speed, "faster", "slower") == "as fast" else "than"


def _scores(report: Report, first: Rung, last: Rung) -> tuple[str, list[tuple[str, str]]]:
    title = report.headline_title or report.headline
    own, base = figures.score(report, last), figures.score(report, first)
    if own is None:
        return f"Its {title} was not measured.", []
    words = f"Its {title} on the test split is {fmt.metric(own)}"
    shown = []
    if base is not None:
        words += f", against {fmt.metric(base)} ({fmt.points(own - base)} points)"
        shown.append((fmt.points(own - base), f"points of {title}"))
    for control in figures.controls(report)[:1]:  # the fair one; others stand in the table
        if (other := figures.score(report, control)) is not None:
            words += f"; the control ({control.title}) reaches {fmt.metric(other)} ({fmt.points(own - other)} points)"
            shown.append((fmt.points(own - other), "points against the control"))
    return words + ".", shown


def remarks(report: Report) -> tuple[Remark, ...]:
    """Return one remark per rung: its score, time and size against the rung it was edited from."""
    found = []
    for rung in figures.ladder(report):
        parent = figures.parent_of(report, rung)
        if parent is not None:
            found.append(_remark(report, rung, parent))
    return tuple(found)


def _remark(report: Report, rung: Rung, parent: Rung) -> Remark:
    delta = _difference(figures.score(report, rung), figures.score(report, parent))
    speed = _quotient(figures.faster(report, rung), figures.faster(report, parent))
    size = _quotient(figures.file_bytes(report, parent), figures.file_bytes(report, rung))
    parts = []
    if delta is not None:
        parts.append(f"{fmt.points(delta)} points")
    if speed is not None:
        parts.append(_times(speed, "faster", "slower"))
    if size is not None:
        parts.append(_times(size, "smaller", "larger"))
    verdict, flag = _verdict(delta, speed or 1.0, size or 1.0)
    text = ", ".join(parts) or "nothing to compare"
    return Remark(rung.name, parent.name, f"{text}: {verdict}" if verdict else text, flag)


def _verdict(delta: float | None, speed: float, size: float) -> tuple[str, str]:
    """Return the words for a step and its flag."""
    cheaper = speed >= 1.1 or size >= 1.1
    if delta is None:
        return "", ""
    if delta < -POINT:
        return ("more than a point lost" if cheaper else "more than a point lost for little gained"), WORSE
    if not cheaper and delta < POINT / 5:
        return "little gained", LITTLE
    if delta >= POINT and speed > 0.8:
        return "accuracy won" + (" for almost no time" if speed < 1.1 else ""), GAIN
    return "", ""


def _difference(own: float | None, other: float | None) -> float | None:
    return None if own is None or other is None else own - other


def _quotient(own: float | None, other: float | None) -> float | None:
    return own / other if own and other else None


def disagreements(rows: Sequence[LayerRow], most: int = 5) -> tuple[str, ...]:
    """Name the layers whose share of the time is three times their share of the MACs, or more; the dearest first.

    Only layers with MACs and at least 2 % of the measured time are named.
    """
    timed = [row for row in rows if row.time_us and row.time_us > 0 and row.macs > 0]
    time, macs = sum(row.time_us or 0.0 for row in timed), sum(row.macs for row in timed)
    if len(timed) < 3:
        return ()
    usual = median(row.macs / (row.time_us or 1.0) for row in timed)
    excess = [row for row in timed if (row.time_us or 0) >= 0.02 * time and _share(row, time, macs) >= 3]
    excess.sort(key=lambda row: -(row.time_us or 0.0))
    return tuple(_disagreement(row, time, macs, usual) for row in excess[:most])


def _share(row: LayerRow, time: float, macs: int) -> float:
    return ((row.time_us or 0.0) / time) / (row.macs / macs)


def _disagreement(row: LayerRow, time: float, macs: int, usual: float) -> str:
    took = row.time_us or 0.0
    return (
        f"{row.module} ({row.op}): {fmt.percent(took / time)} of the time for {fmt.percent(row.macs / macs)} of the "
        f"MACs. "
        f"Its {fmt.count(row.macs)} MACs take as long as {fmt.count(took * usual)} do in the median layer."
    )
