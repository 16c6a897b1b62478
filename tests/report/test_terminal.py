"""The terminal tables: they fit, and a narrow terminal loses whole columns, never digits."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from flyweight.report import _figures
from flyweight.report.terminal import ladder_table, profile_table, slowest_table
from flyweight.report.value import LayerRow
from tests.report import made_up

REPORT = made_up.report()


def shown(renderable: RenderableType, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"{name} "))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_console(width: int) -> None:
    assert max(cell_len(line) for line in shown(ladder_table(REPORT), width).splitlines()) <= width


def test_every_figure_of_the_first_rung_fits_120_columns() -> None:
    line = row(shown(ladder_table(REPORT), 120), "v0")
    for figure in (
        "160×160",
        "0.925",
        "0.701",
        "0.631",
        "101",
        "58.8",
        "123",
        "70.0",
        "1.00×",
        "30\u202f912",
        "1.13 G",
        "14.3 M",
    ):
        assert figure in line, figure


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_column_is_shown_whole_for_every_rung_or_not_at_all(width: int) -> None:
    text = shown(ladder_table(REPORT), width)
    for column in _figures.columns(REPORT):
        if column.sort is None or column.text(REPORT.rungs[1]) == column.text(REPORT.rungs[0]):
            continue
        left_out = column.name in text.partition("Left out for width:")[2].replace("\n", " ")
        present = [column.text(rung) in row(text, rung.name) for rung in REPORT.rungs if len(column.text(rung)) > 3]
        assert left_out or all(present), column.name


def test_a_time_to_be_read_with_care_has_a_star_that_the_legend_explains() -> None:
    text = shown(ladder_table(REPORT), 200)
    assert "70.0*" in row(text, "v0")  # ncnn at 2 threads, while the machine was busy
    assert "* the machine was busy, or the time unsteady" in text
    calm = replace(REPORT, rungs=tuple(replace(r, timings=r.timings[:2]) for r in REPORT.rungs))
    assert "*" not in shown(ladder_table(calm), 200)


def test_the_narrow_table_says_what_it_left_out() -> None:
    text = shown(ladder_table(REPORT), 80)
    assert "Left out for width:" in text
    assert "…" not in text and "..." not in text


def test_headline_metric_time_and_ratios_survive_at_80_columns() -> None:
    line = row(shown(ladder_table(REPORT), 80), "int8")
    for figure in ("0.957", "2.61", "38.9×", "541", "57.1×"):
        assert figure in line, figure


def test_a_figure_that_was_not_measured_is_a_dash() -> None:
    assert row(shown(ladder_table(REPORT), 120), "int8").count("–") == 2  # ncnn at 1 and 2 threads


def test_the_legend_says_what_is_counted_and_what_is_measured() -> None:
    text = shown(ladder_table(REPORT), 200)
    assert "counted: input, file, times smaller, MACs, parameters." in text
    assert "measured: mIoU water/land" in text


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    report = replace(REPORT, title="[red]x[/nope]", rungs=(replace(REPORT.rungs[0], title="[bold]b[/]"),))
    assert "[red]x[/nope]" in shown(ladder_table(report), 200) and "[bold]b[/]" in shown(ladder_table(report), 200)


def test_a_ladder_without_rungs_says_so() -> None:
    assert "No rung is finished yet." in shown(ladder_table(replace(REPORT, rungs=())))


def test_the_slowest_layers_stand_in_order() -> None:
    rows = (LayerRow("a", "conv", (1, 8, 4, 4), 10, 1, 5.0), LayerRow("b", "conv", (1, 8, 4, 4), 10, 1, 15.0))
    text = shown(slowest_table(replace(REPORT.rungs[0], layers=rows)))
    assert text.index("b ") < text.index("a ") and "75.0 %" in text  # 15 of 20 µs


def test_a_rung_without_timed_layers_says_so() -> None:
    rows = tuple(replace(layer, time_us=None) for layer in REPORT.rungs[0].layers)
    assert "no layer was timed" in shown(slowest_table(replace(REPORT.rungs[0], layers=rows)))


def test_the_profile_names_the_layer_whose_time_and_macs_disagree() -> None:
    shape = (1, 8, 4, 4)
    rows = [LayerRow(f"pw{i}", "conv", shape, 10_000_000, 100, 100.0) for i in range(4)]
    rows.append(LayerRow("dw", "conv", shape, 1_000_000, 100, 100.0))
    text = " ".join(shown(profile_table(rows), 120).split())
    assert "dw (conv): 20.0 % of the time for 2.4 % of the MACs." in text  # 100 of 500 µs; 1 of 41 M MACs
    assert "Its 1.00 M MACs take as long as 10.0 M do in the median layer." in text


def test_the_profile_without_times_lists_macs_and_parameters_only() -> None:
    rows = [LayerRow("a", "conv", (1, 8, 4, 4), 900, 20), LayerRow("b", "linear", (1, 10), 100, 80)]
    text = shown(profile_table(rows, "net"))
    assert "slowest" not in text and "90.0 %" in text  # 900 of 1000 MACs
    assert "net: 2 layers, 1.00 k MACs, 100 parameters (counted)" in text
