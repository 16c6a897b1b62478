"""The page's sections that show the ladder: table, steps, plots, layers, test tiles."""

from __future__ import annotations

from flyweight.report import _figures as figures
from flyweight.report import _format as fmt
from flyweight.report import _remarks
from flyweight.report._html import Cell, Head, image, paragraph, section, table
from flyweight.report._plots import Point, scatter
from flyweight.report.value import LayerRow, Report, Rung, TestTile

MOST_ROWS = 64  # more layers than this are summed to the first two parts of their paths


def ladder(report: Report) -> str:
    """Return the table of all rungs."""
    columns = figures.columns(report)
    heads = [Head(c.title, c.kind, not c.kind, c.name) for c in columns]
    steps, rows = figures.ladder(report), []
    for rung in (*steps, *figures.controls(report)):
        kind = "control" if rung.control else "last" if rung is steps[-1] else ""
        rows.append((kind, [_cell(column, rung) for column in columns]))
    runtime = figures.runtime_title(figures.primary(report))
    hint = f"Scores and file are those of the artifact exported for {runtime}, scored on the test split."
    controls = " Controls stand beside the ladder, below it in this table." if figures.controls(report) else ""
    caption = "Every rung, exported, scored and timed."
    return section(
        "ladder", "The ladder", paragraph(hint + controls, "hint"), table(caption, heads, rows) if rows else ""
    )


def _cell(column: figures.Column, rung: Rung) -> Cell:
    return Cell(
        column.text(rung),
        column.sort(rung) if column.sort else None,
        "" if column.kind else "t w" if column.keep < 100 else "t",
    )


def steps(report: Report) -> str:
    """Return what each rung won or lost against the rung it was edited from."""
    items = "".join(_step(report.rung(remark.rung), remark) for remark in _remarks.remarks(report))
    if not items:
        return ""
    metric = report.headline_title or report.headline
    hint = f"Each rung against the one it was edited from. Points are hundredths of {metric}."
    return section("steps", "Step by step", paragraph(hint, "hint"), f'<ol class="steps">{items}</ol>')


def _step(rung: Rung, remark: _remarks.Remark) -> str:
    gains, _, verdict = remark.text.partition(": ")
    tail = f": <em>{fmt.esc(verdict)}</em>" if verdict else ""
    kind = f' class="{remark.flag}"' if remark.flag else ""
    return (
        f"<li{kind}><b>{fmt.esc(remark.rung)}</b><span>{fmt.esc(rung.change or rung.title)}<br>{fmt.esc(gains)}{tail} "
        f"<small>(against {fmt.esc(remark.against)})</small></span></li>"
    )


def plots(report: Report) -> str:
    """Return accuracy against time, and against file size."""
    title = f"{report.headline_title or report.headline}, test split"
    runtime = figures.runtime_title(figures.primary(report))
    by_time = scatter(
        _points(report, timed=True),
        f"median time, {runtime}, 1 thread (ms, log)",
        title,
        f"{title}, against time; the ladder table has the figures",
    )
    by_size = scatter(
        _points(report, timed=False),
        f"{runtime} file (kB, log)",
        title,
        f"{title}, against file size; the ladder table has the figures",
    )
    cards = _plot_card(
        "Accuracy against time", by_time, "Up and to the left is better. Whiskers: 10th to 90th percentile."
    )
    cards += _plot_card("Accuracy against file size", by_size, "Up and to the left is better.")
    hint = "All figures are those of the exported artifact. The line follows the ladder; diamonds are controls."
    return (
        section("plots", "What it costs, what it gives", paragraph(hint, "hint"), f'<div class="pair">{cards}</div>')
        if cards
        else ""
    )


def _plot_card(title: str, svg: str, caption: str) -> str:
    return (
        f'<figure class="card"><h3>{title}</h3><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>'
        if svg
        else ""
    )


def _points(report: Report, timed: bool) -> list[Point]:
    found = []
    steps = figures.ladder(report)
    for rung in report.rungs:
        x = figures.median_ms(report, rung) if timed else figures.file_bytes(report, rung)
        y, timing = figures.score(report, rung), figures.timing(report, rung)
        if x is None or y is None:
            continue
        low, high = (timing.p10_ms, timing.p90_ms) if timed and timing else (None, None)
        ends = bool(steps) and rung in (steps[0], steps[-1])
        found.append(Point(rung.name, x if timed else x / 1000, y, rung.control, ends, low, high))
    return found


def layers(report: Report) -> str:
    """Return the time per layer of the first rung and of the last one that has it, on one scale."""
    timed = [rung for rung in figures.ladder(report) if rung.slowest(1)]
    if not timed:
        return ""
    shown = list({rung.name: rung for rung in (timed[0], timed[-1])}.values())
    rows = {rung.name: _timed_rows(rung) for rung in shown}
    longest = max((row.time_us or 0.0 for found in rows.values() for row in found), default=0.0) or 1.0
    panels = "".join(_panel(rung, rows[rung.name], longest) for rung in shown)
    hint = (
        "Measured in ONNX Runtime at 1 thread. One scale for both: short bars are the point. The slowest are numbered."
    )
    last = figures.ladder(report)[-1]
    note = (
        paragraph(f"{last.name} was not timed per layer; {shown[-1].name} stands for it.")
        if last is not shown[-1]
        else ""
    )
    return section("layers", "Where the time goes", paragraph(hint, "hint"), note, f'<div class="pair">{panels}</div>')


def _timed_rows(rung: Rung) -> list[LayerRow]:
    rows = [row for row in rung.layers if row.time_us is not None]
    if len(rows) <= MOST_ROWS:
        return rows
    sums: dict[str, LayerRow] = {}
    for row in rows:
        name = ".".join(row.module.split(".")[:2])
        known = sums.get(name)
        time, macs, params = (known.time_us or 0.0, known.macs, known.params) if known else (0.0, 0, 0)
        sums[name] = LayerRow(
            name, row.op, row.output_shape, macs + row.macs, params + row.params, time + (row.time_us or 0.0)
        )
    return list(sums.values())[: 4 * MOST_ROWS]


def _panel(rung: Rung, rows: list[LayerRow], longest: float) -> str:
    order = sorted(range(len(rows)), key=lambda i: -(rows[i].time_us or 0.0))[:5]
    total = sum(row.time_us or 0.0 for row in rows) + rung.unattributed_us
    top = sum(rows[i].time_us or 0.0 for i in order)
    body = "".join(
        _bar(row, name, order.index(i) + 1 if i in order else 0, longest)
        for i, (row, name) in enumerate(zip(rows, _names(rows), strict=True))
    )
    share = fmt.percent(top / total if total else None)
    words = f"{fmt.significant(total / 1000)} ms in {len(rows)} layers; the {len(order)} slowest take {share}."
    if rung.unattributed_us > 0:
        words += f" {fmt.significant(rung.unattributed_us / 1000)} ms belong to no layer (layout changes, overhead)."
    notes = "".join(f"<li>{fmt.esc(note)}</li>" for note in _remarks.disagreements(rung.layers, 3))
    apart = f'<p class="hint">Where time and MACs disagree:</p><ul class="named">{notes}</ul>' if notes else ""
    return (
        f'<div class="card"><h3>{fmt.esc(_title(rung))}</h3>{paragraph(words, "hint")}{apart}'
        f'<table class="bars"><caption>Time per layer of {fmt.esc(rung.name)}, in execution '
        f'order</caption><thead><tr><th class="t" scope="col">layer</th>'
        f'<th class="t" scope="col">time</th><th scope="col">ms</th><th scope="col">'
        f"MACs</th></tr></thead><tbody>{body}</tbody></table></div>"
    )


def _title(rung: Rung) -> str:
    return rung.name if rung.title in ("", rung.name) else f"{rung.name}: {rung.title}"


def _names(rows: list[LayerRow]) -> list[str]:
    """Return the modules' paths, without the last part of ``….conv`` where nothing else is called like that."""
    paths = {row.module for row in rows}
    short = [row.module.removesuffix(".conv") for row in rows]
    return [row.module if name in paths else name for row, name in zip(rows, short, strict=True)]


def _bar(row: LayerRow, name: str, rank: int, longest: float) -> str:
    time = row.time_us or 0.0
    badge = f'<span class="rank">{rank}</span>' if rank else ""
    return (
        f'<tr{" class=top" if rank else ""}><th scope="row">'
        f"{badge}{fmt.esc(name or '(root)').replace('.', '.<wbr>')}</th>"
        f'<td class="b"><span class="bar" style="width:{max(time, 0) / longest * 100:.2f}%"></span></td>'
        f"<td>{fmt.significant(time / 1000)}</td><td>{fmt.count(row.macs)}</td></tr>"
    )


def tiles(report: Report) -> str:
    """Return test tiles with their truth and the predictions of the first and the last rung, under a legend."""
    steps = [rung for rung in figures.ladder(report) if rung.samples]
    if not report.tiles or not steps:
        return ""
    shown = list({rung.name: rung for rung in (steps[0], steps[-1])}.values())
    grid = "".join(_tile(tile, shown, report) for tile in report.tiles)
    runtime = figures.runtime_title(figures.primary(report))
    hint = f"Predictions of the artifacts exported for {runtime}."
    return section(
        "tiles", "Seen on test tiles", paragraph(hint, "hint"), legend(report), f'<div class="tiles">{grid}</div>'
    )


def _tile(tile: TestTile, shown: list[Rung], report: Report) -> str:
    name = f"test tile {tile.index}"
    cells = [(image(tile.image, f"{name}, image"), "image"), (image(tile.truth, f"{name}, true mask"), "truth")]
    for rung in shown:
        uri = dict(rung.samples).get(tile.index, "")
        cells.append((image(uri, f"{name}, prediction of {rung.name}"), rung.name))
    figures_ = "".join(
        f"<figure>{picture}<figcaption>{fmt.esc(words)}</figcaption></figure>" for picture, words in cells
    )
    return f'<div class="tile" role="group" aria-label="{name}"><p>{name}</p>{figures_}</div>'


def legend(report: Report) -> str:
    """Return the classes with their colours and their shares of the training pixels, where the data says so."""
    names, colors = report.data.get("class_names"), report.data.get("colors")
    shares = report.data.get("class_shares")
    if not isinstance(names, list | tuple) or not isinstance(colors, list | tuple):
        return ""
    items = []
    for i, (name, color) in enumerate(zip(names, colors, strict=False)):
        share = shares[i] if isinstance(shares, list | tuple) and i < len(shares) else None
        words = f" <small>{fmt.percent(share)} of the training pixels</small>" if isinstance(share, int | float) else ""
        items.append(f'<li><i style="background:{_css_color(color)}"></i>{fmt.esc(name)}{words}</li>')
    return f'<ul class="legend">{"".join(items)}</ul>'


def _css_color(color: object) -> str:
    if isinstance(color, list | tuple) and len(color) == 3 and all(type(c) is int and 0 <= c <= 255 for c in color):
        return f"rgb({color[0]} {color[1]} {color[2]})"
    return "transparent"
