"""``flyweight compare``: two networks layer by layer, and limits on how much worse the second one may be."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._budget import percentage
from flyweight.cli._command import command, model_options


@command(
    "compare",
    "flyweight compare mobilenet_v2_1.0 mobilenet_v2_0.5",
    "flyweight compare runs/ladder:v2.1.3 runs/ladder:v2.2.2 --time",
    "flyweight compare old.toml new.toml --time --max-slower 5% --max-larger 0%",
)
@click.argument("model_a", metavar="A")
@click.argument("model_b", metavar="B")
@model_options
@click.option("--time/--no-time", "timed", default=False, help="Measure both in ONNX Runtime, taking turns.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, help="Threads to measure at.")
@click.option("--all", "every", is_flag=True, help="List every layer, not only those that differ.")
@click.option("--top", type=click.IntRange(1, 10_000), default=20, help="List so many that differ most.")
@click.option("--max-slower", callback=percentage, help="Exit with 3 if B is slower by more: 5% (needs --time).")
@click.option("--max-larger", callback=percentage, help="Exit with 3 if B's weights are larger by more: 0%.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all layers as JSON to this file.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write all layers as CSV to this file.")
@click.option("--md", "md_file", type=click.Path(path_type=Path), help="Write all layers as Markdown to this file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def compare(
    model_a: str,
    model_b: str,
    resolution: int | None,
    classes: int | None,
    timed: bool,
    threads: int,
    every: bool,
    top: int,
    max_slower: float | None,
    max_larger: float | None,
    json_file: Path | None,
    csv_file: Path | None,
    md_file: Path | None,
    quiet: bool,
) -> None:
    """Compare two models layer by layer.

    Layers are aligned by their module path and operator; where paths differ
    (blocks dropped or added, another architecture), by what they have in
    common in order. A and B are as MODEL is for profile.

    Counted: MACs (multiply-accumulates), parameters, bytes, batch 1. Measured
    with --time: microseconds (µs) per layer, medians.
    """
    from flyweight import files, flow
    from flyweight.cli import _budget, _compare, _onnx
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import console, print_table, say
    from flyweight.compare import compare as compared

    if max_slower is not None and not timed:
        raise click.UsageError("--max-slower needs a measurement. Add --time.")
    names = (model_a, model_b)
    if timed and any(map(_onnx.is_file, names)):
        raise click.UsageError(
            "ONNX files are counted, not timed. Leave --time out, or name the models they came from."
        )
    opened = [None if _onnx.is_file(n) else flow.open_model(n, resolution=resolution, classes=classes) for n in names]
    first, second = (
        (flow.profile_model(c, n, timed=False) if c else _onnx.profile_file(n, resolution, classes)).profile
        for c, n in zip(opened, names, strict=True)
    )
    clock = _compare.Clock()
    if timed and (a := opened[0]) and (b := opened[1]):
        with shown(quiet) as progress:
            clock = _compare.measured(a, b, threads, progress)
    found = compared(first, second, names, clock.layers_us, clock.medians_ms, clock.notes)
    if json_file:
        files.write_json(json_file, found.to_json())
    if csv_file:
        files.write_text(csv_file, _compare.as_csv(found))
    if md_file:
        files.write_text(md_file, _compare.as_markdown(found, timed))
    for line in _compare.headline(found):
        say(line)
    say()
    print_table(["counted", "A", "B", "B - A", "B / A - 1"], _compare.totals(found))
    say()
    say(_compare.counts(found))
    pairs, left_out = _compare.chosen(found, every, top)
    if pairs:
        say()
        headers, rows, left = _compare.table_for(pairs, timed, console().width)
        print_table(headers, rows, left=left)
    if left_out:
        say(
            f"… and {left_out} more that differ less. List them with: --top {left_out + len(pairs)}, or all with --all."
        )
    for note in found.notes:
        say(note)
    _budget.enforce(_budget.relative(found, max_slower, max_larger, clock.doubt))


MEMBERS = {"compare": compare}
