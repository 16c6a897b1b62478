"""``flyweight profile``: what each layer of a network costs, counted and measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flyweight.cli._analysis import Analysis, Asked, analysis_options, check_busy, print_resolutions, time_lines
from flyweight.cli._budget import budget_of, budget_options, enforce, judged
from flyweight.cli._command import command, model_options


@command(
    "profile",
    "flyweight profile mobilenet_v1_1.0_224 --all",
    "flyweight profile runs/ladder:v2.2.2 --depth 2 --no-time",
    "flyweight profile my_net.py:build --resolution 160 --csv layers.csv",
    "flyweight profile exported/model.onnx --all",
    "flyweight profile my_net.toml --max-macs 300M --max-peak 6MB --max-ms 5",
    "flyweight profile mobilenet_v3_small_1.0 --roofline --guidelines",
)
@click.argument("model")
@model_options
@click.option("--time/--no-time", "timed", default=True, help="Measure each layer, or only count.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, help="Threads to measure at.")
@click.option("--all", "every", is_flag=True, help="List every layer first, as they run.")
@click.option("--top", type=click.IntRange(1, 10_000), default=5, help="Rows in each list.")
@click.option(
    "--depth",
    type=click.IntRange(0, 64),
    default=0,
    show_default="every layer",
    help="Sum over modules this many parts deep, e.g. 2: encoder.conv1.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all layers as JSON to this file.")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Write all layers as CSV to this file.")
@click.option(
    "--markdown", "markdown_file", type=click.Path(path_type=Path), help="Write all layers as a table of Markdown."
)
@click.option(
    "--html",
    "html_file",
    type=click.Path(path_type=Path),
    help="Write one offline page: modules to fold and sort, memory over time, the picture, and what else is asked for.",
)
@analysis_options
@budget_options
def profile(
    model: str,
    resolution: int | None,
    classes: int | None,
    timed: bool,
    threads: int,
    every: bool,
    top: int,
    depth: int,
    json_file: Path | None,
    csv_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    **options: Any,
) -> None:
    """Show what each layer of MODEL costs, the dearest first.

    MODEL is a name of the zoo (see: flyweight list), a spec (.json), saved
    weights (.safetensors), an ONNX file (.onnx; counted only), a rung of a run
    (runs/ladder:v2.2.2), or a function that returns a torch module
    (file.py:function; the file is executed).

    Counted: MACs (multiply-accumulates) and parameters, batch 1. Measured:
    milliseconds (ms) per inference in a runtime, medians.
    """
    from flyweight import files, flow
    from flyweight.cli import _onnx, _profile
    from flyweight.cli._tables import dims, print_whole, say
    from flyweight.report.terminal import profile_table

    from_file, wanted = _onnx.is_file(model), timed
    timed = timed and not from_file
    asked = Asked.of(options, timed)
    budget = budget_of(options, timed)
    candidate = None
    if from_file:
        found = _onnx.profile_file(model, resolution, classes, strict=asked.strict)
    else:
        candidate = flow.open_model(model, resolution=resolution, classes=classes)
        found = flow.profile_model(
            candidate, model, runtime=asked.runtime, threads=threads, timed=timed, strict=asked.strict
        )
    if asked.strict:
        check_busy(found)
    analysis = Analysis(asked, found)
    if json_file:
        files.write_json(json_file, {**_profile.as_json(found), **analysis.to_json()})
    if csv_file:
        files.write_text(csv_file, _profile.as_csv(found.rows))
    rows = _profile.summed(found.rows, depth)
    if markdown_file:
        files.write_text(markdown_file, _profile.as_markdown(rows))
    if html_file:
        advice = _profile.advice_lines(candidate, found) if candidate else []
        files.write_text(html_file, _profile.as_html(found, analysis, advice))
    print_whole(profile_table(rows, f"{model}, input {dims(found.input_shape)}", top, every))
    analysis.print(top, every)
    if asked.resolutions:
        print_resolutions(candidate, model)
    say()
    for line in (*_profile.kinds(found), *time_lines(found, asked.runtime)):
        say(line)
    if from_file and wanted:
        say(_onnx.NOT_MEASURED)
    enforce(judged(found, budget))


MEMBERS = {"profile": profile}
