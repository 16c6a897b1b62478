"""The page's sections that back the ladder up: timings, scores per class, training, and what every figure means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flyweight.contracts import BUSY, UNSTEADY
from flyweight.report import _figures as figures
from flyweight.report import _format as fmt
from flyweight.report._html import Cell, Head, facts, paragraph, plain, section, table
from flyweight.report.value import Report, Rung, RungArtifact, RungTiming

TIMING_HEADS = (
    Head("rung", left=True),
    Head("runtime", left=True),
    Head("threads"),
    Head("median\nms"),
    Head("p10\nms"),
    Head("p90\nms"),
    Head("n"),
    Head("first rung,\nsame minutes, ms"),
    Head("times\nfaster"),
    Head("CPU time\nms"),
    Head("machine\nload"),
    Head("load\nms"),
    Head("first\nrun, ms"),
    Head("peak RSS\nMB"),
    Head("RSS before\nloading, MB"),
)
ARTIFACT_HEADS = (
    Head("rung", left=True),
    Head("runtime", left=True),
    Head("precision", left=True),
    Head("file", left=True),
    Head("bytes"),
    Head("score"),
    Head("PyTorch"),
    Head("same class\nas PyTorch"),
    Head("largest difference,\nrelative"),
    Head("SHA-256", left=True),
)
TRAINING_HEADS = (
    Head("rung", left=True),
    Head("change", left=True),
    Head("from", left=True),
    Head("weights\ninherited"),
    Head("steps"),
    Head("steps,\nlineage"),
    Head("training\ns"),
    Head("final\nloss"),
    Head("peak activation\nkB, counted"),
)

MEANINGS = (
    (
        "scores",
        "measured",
        "The exported file, run in its runtime on every tile of the test split and scored on the full-size mask, "
        "whatever the network's own input size.",
    ),
    ("points", "measured", "A difference of two scores, times 100."),
    (
        "time",
        "measured",
        "Wall clock of one inference, batch 1, after warm-up, in a fresh process; the median of n runs, with the "
        "10th and 90th percentile.",
    ),
    (
        "times faster",
        "measured",
        "The first rung's median over this rung's, both taken by turns in the same minutes, in the same runtime at "
        "the same number of threads.",
    ),
    (
        "machine load",
        "measured",
        "At 1 thread, median wall time over CPU time; at more, one plus the share of a core that each thread lacked "
        "beside other processes. "
        f"Above {BUSY:g} the machine was doing something else: such a timing is marked busy. One whose 90th percentile "
        f"is over {UNSTEADY:g} times the 10th is marked unsteady.",
    ),
    (
        "peak RSS",
        "measured",
        "Largest resident memory of a fresh process that loads and runs the artifact; the process itself, before "
        "loading, is listed beside it.",
    ),
    (
        "file, times smaller",
        "counted",
        "Bytes of the files that ship, 1 kB = 1000 bytes; the first rung's bytes over this rung's.",
    ),
    (
        "MACs",
        "counted",
        "Multiply-accumulates of one inference, batch 1, at the rung's own input size, from the shapes of every "
        "operator that ran.",
    ),
    ("parameters", "counted", "Learned weights of the network, before quantization or folding into the file."),
    ("peak activation", "counted", "Largest sum of activations alive at once, from the graph, in float32."),
    (
        "same class as PyTorch",
        "measured",
        "Share of the test pixels to which artifact and PyTorch module give the same class.",
    ),
)


def timings(report: Report) -> str:
    """Return every timing: runtime by threads, median, spread, n."""
    rows = [(("control" if rung.control else ""), _timing(rung, t)) for rung in report.rungs for t in rung.timings]
    doubts = [t.doubt for rung in report.rungs for t in rung.timings if t.doubt]
    counts = {
        "busy": "were taken while the machine was busy with something else",
        "unsteady": f"spread widely: 90th over {UNSTEADY:g} times the 10th percentile",
    }
    said = [f"{doubts.count(kind)} of {len(rows)} timings {what}" for kind, what in counts.items() if kind in doubts]
    note = paragraph("; ".join(said) + ": they are marked.") if said else ""
    caption = "Measured, batch 1, by turns with the first rung's artifact."
    return section("timings", "Every timing", note, table(caption, TIMING_HEADS, rows)) if rows else ""


def _timing(rung: Rung, t: RungTiming) -> list[Cell]:
    times = [Cell(fmt.significant(v), v) for v in (t.median_ms, t.p10_ms, t.p90_ms)]
    return [
        Cell(rung.name, kind="t"),
        Cell(f"{figures.runtime_title(t.runtime)} {t.runtime_version}", kind="t"),
        Cell(str(t.threads), t.threads),
        *times,
        Cell(str(t.n), t.n),
        Cell(fmt.significant(t.reference_median_ms), t.reference_median_ms),
        Cell(fmt.ratio(t.speedup), t.speedup),
        Cell(fmt.significant(t.cpu_median_ms), t.cpu_median_ms),
        Cell(f"{t.busy:.2f} {t.doubt}".rstrip(), t.busy, flag=bool(t.doubt)),
        Cell(fmt.significant(t.load_ms), t.load_ms),
        Cell(fmt.significant(t.first_ms), t.first_ms),
        Cell(fmt.megabytes(t.peak_rss_bytes), t.peak_rss_bytes),
        Cell(fmt.megabytes(t.baseline_rss_bytes), t.baseline_rss_bytes),
    ]


def scores(report: Report) -> str:
    """Return all metrics of the quoted artifacts, per class too, and every artifact with its agreement with PyTorch."""
    rows = [
        ("control" if rung.control else "", _artifact(report, rung, a))
        for rung in report.rungs
        for a in rung.artifacts.values()
    ]
    if not rows:
        return ""
    every = table(
        f"Artifacts as they ship; score: {figures.metric_title(report, report.headline)}.", ARTIFACT_HEADS, rows
    )
    return section("scores", "Every score and artifact", _metric_table(report), "<p></p>", every)


def _metric_table(report: Report) -> str:
    flat = {
        rung.name: flat_metrics(report, found.metrics)
        for rung in report.rungs
        if (found := figures.artifact(report, rung))
    }
    names = list(dict.fromkeys(name for found in flat.values() for name in found))
    heads = [Head("rung", left=True), *(Head(_broken(name)) for name in names)]
    rows = []
    for rung in report.rungs:
        if rung.name in flat:
            values = [flat[rung.name].get(name) for name in names]
            rows.append(
                (
                    "control" if rung.control else "",
                    [Cell(rung.name, kind="t"), *(Cell(fmt.metric(v), v) for v in values)],
                )
            )
    runtime = figures.runtime_title(figures.primary(report))
    return table(f"Measured on the test split, artifact for {runtime}.", heads, rows) if names else ""


def flat_metrics(report: Report, metrics: Mapping[str, object]) -> dict[str, float]:
    """Return every score of 0..1 under a readable name; a list of one per class gives one each."""
    names = report.data.get("class_names")
    classes = [str(name) for name in names] if isinstance(names, list | tuple) else []
    found: dict[str, float] = {}
    for key, value in metrics.items():
        items: Mapping[str, object] = {}
        if isinstance(value, Mapping):
            items = {str(name): item for name, item in value.items()}
        elif isinstance(value, list | tuple) and len(value) == len(classes):
            items = dict(zip(classes, value, strict=True))
        single = figures.number(metrics, key)
        if single is not None and 0 <= single <= 1 and isinstance(value, float):
            found[figures.metric_title(report, key)] = single
        for name in items:
            if (number := figures.number(items, name)) is not None and 0 <= number <= 1:
                found[f"{_metric_word(key)} {name}"] = number
    return found


def _metric_word(key: str) -> str:
    return {"iou": "IoU", "grouped_iou": "group IoU", "coast_iou": "IoU along the coast:"}.get(
        key, key.replace("_", " ")
    )


def _broken(title: str) -> str:
    """Break a long heading once, near its middle."""
    spaces = [i for i, c in enumerate(title) if c == " "]
    if len(title) < 9 or not spaces:
        return title
    at = min(spaces, key=lambda i: abs(i - len(title) / 2))
    return f"{title[:at]}\n{title[at + 1 :]}"


def _artifact(report: Report, rung: Rung, a: RungArtifact) -> list[Cell]:
    own, torch = figures.number(a.metrics, report.headline), figures.number(rung.pytorch_metrics, report.headline)
    return [
        Cell(rung.name, kind="t"),
        Cell(f"{figures.runtime_title(a.runtime)} {a.runtime_version}", kind="t"),
        Cell(a.precision, kind="t"),
        Cell(a.file, kind="t"),
        Cell(fmt.thousands(a.bytes), a.bytes),
        Cell(fmt.metric(own), own),
        Cell(fmt.metric(torch), torch),
        Cell(f"{a.agreement * 100:.2f} %", a.agreement),
        Cell(f"{a.max_difference:.1e}".replace("-", fmt.MINUS), a.max_difference),
        Cell(a.sha256[:12], kind="t"),
    ]


def training(report: Report) -> str:
    """Return how each rung was made, and the recipe."""
    rows = [("control" if rung.control else "", _training(rung)) for rung in report.rungs]
    recipe = facts((key.replace("_", " "), "", plain(value)) for key, value in report.recipe.items())
    made = (
        table("One recipe for all rungs; a rung that is only folded or quantized is not trained.", TRAINING_HEADS, rows)
        if rows
        else ""
    )
    return section(
        "training",
        "How each rung was made",
        made,
        f"<h3 style='margin-top:1.6em'>Recipe</h3>{recipe}" if recipe else "",
    )


def _training(rung: Rung) -> list[Cell]:
    return [
        Cell(rung.name, kind="t"),
        Cell(rung.change or rung.title, kind="t w"),
        Cell(rung.parent or fmt.MISSING, kind="t"),
        Cell(fmt.percent(rung.inherited), rung.inherited),
        Cell(fmt.thousands(rung.steps), rung.steps),
        Cell(fmt.thousands(rung.total_steps), rung.total_steps),
        Cell(
            fmt.significant(rung.train_seconds) if rung.steps else fmt.MISSING,
            rung.train_seconds if rung.steps else None,
        ),
        Cell(fmt.significant(rung.final_loss), rung.final_loss),
        Cell(fmt.kilobytes(rung.peak_activation_bytes), rung.peak_activation_bytes),
    ]


def method(report: Report) -> str:
    """Return the meaning of every figure, the data and the environment."""
    shown = ("colors",)
    data = facts((key.replace("_", " "), "", plain(value)) for key, value in report.data.items() if key not in shown)
    environment = facts((key.replace("_", " "), "", plain(value)) for key, value in report.environment.items())
    right = f"<h3>Data</h3>{data}" + (
        f"<h3 style='margin-top:1.6em'>Environment</h3>{environment}" if environment else ""
    )
    return section(
        "method",
        "What the figures mean",
        f'<div class="pair"><div><h3>Figures</h3>{facts(MEANINGS)}</div><div>{right}</div></div>',
    )


def notes(report: Report) -> str:
    """Return the report's notes, and what was skipped and why."""
    items = [("", note) for note in report.notes]
    for rung in report.rungs:
        items += [(rung.name, f"left out: {words}") for words in rung.skipped]
        items += [
            (rung.name, f"{figures.runtime_title(a.runtime)}: {note}")
            for a in rung.artifacts.values()
            for note in a.notes
        ]
    body = "".join(
        f"<li>{f'<b>{fmt.esc(name)}</b>: ' if name else ''}{fmt.esc(words)}</li>" for name, words in _grouped(items)
    )
    return section("notes", "Notes, and what was left out", f'<ul class="named">{body}</ul>') if body else ""


def _grouped(items: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return equal notes once, with all their rungs."""
    rungs: dict[str, list[str]] = {}
    for name, words in items:
        rungs.setdefault(words, []).append(name)
    return [(", ".join(dict.fromkeys(filter(None, names))), words) for words, names in rungs.items()]
