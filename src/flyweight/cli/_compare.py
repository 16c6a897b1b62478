"""Two networks side by side as text: totals, and layers as rows of the terminal's table, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.cli._tables import MISSING, dims, si

if TYPE_CHECKING:
    from flyweight.compare import Comparison, Layer, Pair
    from flyweight.contracts import Candidate, Measurement, Progress

TIMED_RUNS = 60
FULL_WIDTH, OUTPUT_WIDTH = 150, 110  # cells; narrower terminals get A → B in one column, and then no shapes
CSV_COLUMNS = (
    "module_a", "module_b", "ops_a", "ops_b", "output_a", "output_b", "macs_a", "macs_b", "params_a", "params_b",
    "param_bytes_a", "param_bytes_b", "bytes_moved_a", "bytes_moved_b", "time_us_a", "time_us_b",
)  # fmt: skip


@dataclass(frozen=True)
class Clock:
    """Measured times of both networks: per module path in µs, of the whole in ms, and what is to be said of them."""

    layers_us: tuple[dict[str, float] | None, dict[str, float] | None] = (None, None)
    whole: tuple[Measurement, Measurement] | None = None

    @property
    def medians_ms(self) -> tuple[float | None, float | None]:
        """The medians of the whole networks."""
        return (self.whole[0].median_ms, self.whole[1].median_ms) if self.whole else (None, None)

    @property
    def doubt(self) -> str:
        """What is wrong with the times, '' where nothing is."""
        return next((m.doubt for m in self.whole if m.doubt), "") if self.whole else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """How they were measured."""
        if not self.whole:
            return ()
        m = self.whole[0]
        threads = "1 thread" if m.threads == 1 else f"{m.threads} threads"
        how = f"measured: {m.runtime} {m.runtime_version}, {threads}, taking turns, medians of {m.n} runs, {m.hardware}"
        wrong = {"busy": "the machine was busy", "unsteady": "times were unsteady"}.get(self.doubt)
        return (how, f"measured: {wrong}; measure again on a quiet machine") if wrong else (how,)


def measured(a: Candidate, b: Candidate, threads: int, progress: Progress) -> Clock:
    """Export both to ONNX Runtime and time them, whole and layer by layer, taking turns; errors as each step says."""
    from flyweight.measure import measure_layers, measure_pair
    from flyweight.rung import exported

    progress.start("export and time", 4)
    with tempfile.TemporaryDirectory() as scratch:
        artifacts = [exported(c, "onnxruntime", Path(scratch) / side) for c, side in ((a, "a"), (b, "b"))]
        progress.advance(1, "exported")
        whole = measure_pair(artifacts[0], artifacts[1], threads=threads, n=TIMED_RUNS)
        progress.advance(1, "timed")
        layers: list[list[dict[str, float]]] = [[], []]
        for _ in range(2):
            for side, artifact in enumerate(artifacts):
                found = measure_layers(artifact, threads=threads, n=TIMED_RUNS // 2)
                layers[side] += [found.by_module()] if found else []
            progress.advance(1, "timed layer by layer")
    progress.finish()
    return Clock((_mean(layers[0]), _mean(layers[1])), whole)


def _mean(turns: Sequence[dict[str, float]]) -> dict[str, float] | None:
    return {name: sum(t.get(name, 0.0) for t in turns) / len(turns) for name in turns[0]} if turns else None


def totals(found: Comparison) -> list[list[str]]:
    """Return a row for each total: A, B, and the difference."""
    a, b = found.total_a, found.total_b
    rows = [
        _total("MACs", a.macs, b.macs, si),
        _total("parameters", a.params, b.params, si),
        _total("weights, bytes", a.param_bytes, b.param_bytes, si),
        _total("moved, bytes", a.bytes_moved, b.bytes_moved, si),
        _total("peak activations, bytes", a.peak_bytes, b.peak_bytes, si),
        _total("modules", a.layers, b.layers, lambda v: f"{v:.0f}"),
    ]
    if a.time_ms is not None and b.time_ms is not None:
        rows.append(_total("time, ms (measured)", a.time_ms, b.time_ms, lambda v: f"{v:.3g}"))
    return rows


def _total(name: str, a: float, b: float, text: Callable[[float], str]) -> list[str]:
    return [name, text(a), text(b), _signed(b - a, text), _percent(a, b)]


def _signed(value: float, text: Callable[[float], str]) -> str:
    return f"{'+' if value > 0 else '-' if value < 0 else ''}{text(abs(value))}"


def _percent(a: float, b: float) -> str:
    return f"{(b / a - 1) * 100:+.1f} %" if a else MISSING


def columns(timed: bool) -> list[str]:
    """Return the headers of the layers' table."""
    return [
        "layer",
        "operator",
        "output",
        *(f"{name} {side}" for name in _figures(timed) for side in ("A", "B", "B-A")),
    ]


def _figures(timed: bool) -> tuple[str, ...]:
    return ("MACs", "params", "µs") if timed else ("MACs", "params")


def chosen(found: Comparison, every: bool, top: int) -> tuple[list[Pair], int]:
    """Return the pairs to show, in order, and how many that differ are left out: those that differ least."""
    if every:
        return list(found.pairs), 0
    unlike = [pair for pair in found.pairs if not pair.same]
    kept = sorted(unlike, key=lambda pair: -_weight(pair))[:top]
    return [pair for pair in unlike if pair in kept], max(len(unlike) - top, 0)


def _weight(pair: Pair) -> float:
    """How much a pair differs: by time where it was measured, else by MACs, then by parameters."""
    return (
        1e12 * abs(_of(pair.b, "time_us") - _of(pair.a, "time_us"))
        + abs(_of(pair.b, "macs") - _of(pair.a, "macs"))
        + 1e-3 * abs(_of(pair.b, "params") - _of(pair.a, "params"))
        + 1e-9 * abs(_of(pair.b, "bytes_moved") - _of(pair.a, "bytes_moved"))
    )


def _of(layer: Layer | None, name: str) -> float:
    return float(getattr(layer, name) or 0) if layer is not None else 0.0


def layer_rows(pairs: Sequence[Pair], timed: bool) -> list[list[str]]:
    """Return the cells of the layers' table."""
    return [[pair.title, _operators(pair), _outputs(pair), *chain(*_cells(pair, timed))] for pair in pairs]


def table_for(pairs: Sequence[Pair], timed: bool, width: int) -> tuple[list[str], list[list[str]], int]:
    """Return headers, rows and the number of text columns of the layers' table that fits ``width`` cells best."""
    if width >= FULL_WIDTH:
        return columns(timed), layer_rows(pairs, timed), 3
    texts = ["layer", "operator", *(["output"] if width >= OUTPUT_WIDTH else [])]
    rows = []
    for pair in pairs:
        figures = [a if a == b else f"{a} → {b}" for a, b, _ in _cells(pair, timed)]
        rows.append([*[pair.title, _operators(pair), _outputs(pair)][: len(texts)], *figures])
    return [*texts, *_figures(timed)], rows, len(texts)


def _cells(pair: Pair, timed: bool) -> list[tuple[str, str, str]]:
    """Return A, B and B - A of each figure."""
    cells = []
    for name in ("macs", "params", *(["time_us"] if timed else [])):
        a, b = (getattr(side, name) if side is not None else None for side in (pair.a, pair.b))
        text = partial(_figure, name=name)
        cells.append((text(a), text(b), _signed((b or 0) - (a or 0), text)))
    return cells


def _figure(value: float | None, name: str) -> str:
    if value is None:
        return MISSING
    return f"{value:.0f}" if name == "time_us" else si(value)


def _operators(pair: Pair) -> str:
    a, b = ("+".join(side.ops) if side is not None else "" for side in (pair.a, pair.b))
    if not a or not b:
        return f"{a or b} (only in {'A' if a else 'B'})"
    return a if a == b else f"{a} → {b}"


def _outputs(pair: Pair) -> str:
    return " → ".join(dict.fromkeys(dims(side.output_shape) for side in (pair.a, pair.b) if side is not None))


def headline(found: Comparison) -> list[str]:
    """Return the lines above the tables."""
    return [
        f"A: {found.name_a}, input {dims(found.input_a)}",
        f"B: {found.name_b}, input {dims(found.input_b)}",
    ]


def counts(found: Comparison) -> str:
    """Return how many layers are alike, different, and in one network only."""
    alike = sum(pair.same for pair in found.pairs)
    return (
        f"modules: {alike} counted alike, {len(found.different)} different, {len(found.only_a)} only in A, "
        f"{len(found.only_b)} only in B"
    )


def as_csv(found: Comparison) -> str:
    """Return all pairs as CSV with a header; what a network lacks, and times that were not measured, are empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for pair in found.pairs:
        writer.writerow([_cell(pair, column) for column in CSV_COLUMNS])
    return out.getvalue()


def _cell(pair: Pair, column: str) -> str:
    name, side = column.rsplit("_", 1)
    layer = pair.a if side == "a" else pair.b
    if layer is None:
        return ""
    value = getattr(layer, {"output": "output_shape"}.get(name, name))
    if name == "output":
        return "x".join(map(str, value))
    return (
        ""
        if value is None
        else f"{value:.3f}"
        if name == "time_us"
        else "+".join(value)
        if name == "ops"
        else str(value)
    )


def as_markdown(found: Comparison, timed: bool) -> str:
    """Return the comparison as Markdown: totals, and every pair of layers."""
    parts = [f"# {found.name_a} and {found.name_b}", "", *(f"- {line}" for line in headline(found)), ""]
    parts += _markdown_table(["counted, where nothing else is said", "A", "B", "B - A", "B / A - 1"], totals(found), 1)
    parts += ["", counts(found), ""]
    parts += _markdown_table(columns(timed), layer_rows(found.pairs, timed), 3)
    return "\n".join([*parts, "", *(f"{note}  " for note in found.notes)]).rstrip() + "\n"


def _markdown_table(headers: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    rule = [":--" if index < left else "--:" for index in range(len(headers))]
    return [f"| {' | '.join(_escaped(row))} |" for row in (headers, rule, *rows)]


def _escaped(cells: Sequence[str]) -> list[str]:
    return [cell.replace("|", "\\|") for cell in cells]
