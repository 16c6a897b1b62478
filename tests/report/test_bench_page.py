"""A bench's figures: what is said of int8 beside float, the section of the page, and its JSON read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flyweight import files
from flyweight.contracts import Measurement
from flyweight.errors import FileError
from flyweight.report.bench_page import render_bench
from flyweight.report.bench_value import Bench, BenchRow, Fidelity, ProgramTimes, bench_beside, load_bench
from flyweight.report.bench_words import slower_lines
from flyweight.report.page import render_page
from tests.report.test_page import REPORT, Balance


def measured(median_ms: float, busy: float) -> Measurement:
    ends = median_ms - 0.1, median_ms + 0.1
    return Measurement(
        "ncnn", "1.0", "made up", 1, 100, median_ms, *ends, median_ms, busy, 80, 9, 50_000_000, 30_000_000
    )


def row(precision: str, median_ms: float, busy: float = 1.0, **changes: object) -> BenchRow:
    fidelity = Fidelity(16, 0.04, 0.008, 0.9375, "top-1", 0.75)
    taken = measured(median_ms, busy)
    made = BenchRow("net", "ncnn", "1.0", precision, 1, 515_100, "ab", ("stays float: stem",), fidelity, taken)
    return replace(made, **changes)  # type: ignore[arg-type]


def bench(*rows: BenchRow) -> Bench:
    inputs, torch = {"net": "16 images of photos"}, {"net": Fidelity(16, metric="top-1", accuracy=0.8125)}
    return Bench(rows, inputs, torch, {"hardware": "made up"})


@pytest.mark.parametrize(
    ("int8", "verdict"),
    [
        (row("int8", 3.0), "slower"),
        (row("int8", 2.12), "slower"),  # 2.12 / 2 is 6 % more
        (row("int8", 2.08), "no faster"),
        (row("int8", 1.92), "no faster"),  # 4 % less
        (row("int8", 1.88), ""),
        (row("int8", 3.0, busy=1.5), ""),  # the machine did something else: nothing is known
        (row("fp16", 3.0), ""),  # of int8 alone
    ],
)
def test_int8_that_gains_no_time_is_said_to(int8: BenchRow, verdict: str) -> None:
    found = bench(row("fp32", 2.0), int8)
    assert found.verdict(int8) == verdict
    assert found.over_float(int8) == pytest.approx((int8.typical_ms or 0) / 2.0)
    assert bool(slower_lines(found, found.rows)) == bool(verdict)


def test_a_slower_int8_stands_in_the_page_in_plain_words() -> None:
    page = render_bench(bench(row("fp32", 2.0), row("int8", 3.0)))
    assert "net in ncnn, 1 thread: int8 is slower than fp32: 3.00 ms against 2.00." in page
    assert ">1.50<" in page and ">slower than fp32<" in page
    assert "ncnn int8: stays float: stem" in page
    assert "81.25" in page  # PyTorch's own, in the last line
    assert page.count('class="ctl"') == 1 and page.count("<circle") == 1  # int8 is a diamond
    assert "http" not in page.replace("http-equiv", "")  # it loads nothing


def test_a_phones_program_tells_less_and_nothing_is_made_up() -> None:
    times = ProgramTimes("benchncnn", "a phone", 50, 2.5, 2.25, 3.0)
    found = bench(row("fp32", 1.0, measurement=None, program=times))
    page = render_bench(replace(found, device="adb:0123"))
    assert "mean, or" in page and ">2.50<" in page and ">2.25<" in page and "CPU" not in page
    assert "Times: adb:0123: a phone." in page  # not the machine that the page is made on


def test_the_page_of_a_run_has_the_bench_as_a_section_and_is_whole_without() -> None:
    found = bench(row("fp32", 2.0), row("int8", 1.0, refused="it can't <run>", measurement=None, fidelity=None))
    page = render_page(REPORT, bench=found)
    assert '<section id="runtimes"' in page and '<a href="#runtimes">' in page
    assert "Not measured: ncnn int8: it can&#x27;t &lt;run&gt;" in page
    assert Balance(page).open == []
    assert 'id="runtimes"' not in render_page(REPORT)


def test_json_is_read_back_as_it_was_and_damage_is_one_sentence(tmp_path: Path) -> None:
    found = bench(row("fp32", 2.0), row("int8", 3.0))
    path = tmp_path / "bench.json"
    files.write_json(path, found.to_json())
    assert load_bench(path) == found
    for damage in ({"version": 1}, {"rows": [3]}, {"rows": [{"model": "net"}]}, {"pytorch": {"net": {"images": "x"}}}):
        files.write_json(path, {**found.to_json(), **damage})
        with pytest.raises(FileError, match=r"bench\.json: not a Flyweight"):
            load_bench(path)


def test_energy_is_a_column_where_it_was_measured_and_nowhere_else() -> None:
    plain = row("fp32", 2.0)
    assert plain.measurement is not None
    counted = replace(plain, measurement=replace(plain.measurement, energy_mj=3.5))
    assert "energy<br>mJ" in render_bench(bench(counted)) and ">3.50<" in render_bench(bench(counted))
    assert "mJ" not in render_bench(bench(plain))


def test_a_bench_in_a_runs_folder_is_found(tmp_path: Path) -> None:
    assert bench_beside(tmp_path) is None
    found = bench(row("fp32", 2.0))
    files.write_json(tmp_path / "bench.json", found.to_json())
    assert bench_beside(tmp_path) == found
