"""report.json is the truth: what is written is read back equal; damaged data is a FileError that names the place."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from flyweight import files
from flyweight.errors import FileError
from flyweight.report import Report, load_report
from flyweight.report.page import render_page
from flyweight.report.terminal import ladder_table
from flyweight.report.value import rung_from_json, rung_json
from tests.report import made_up

REPORT = made_up.report()
TEXT = json.dumps(REPORT.to_json())
SMALL = json.dumps(
    {
        **json.loads(TEXT),
        "rungs": [rung_json(made_up.rung(made_up.LADDER[i], samples=False)) for i in (0, 8, 12)],
        "tiles": [],
    }
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


def damaged(data: Any, draw: st.DataObject) -> Any:
    """Replace or delete one value somewhere in JSON data."""
    place = data
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw.draw(st.sampled_from(keys))
        below = place[key]
        if not isinstance(below, dict | list) or not below or draw.draw(st.integers(0, 3)) == 0:
            break
        place = below
    if draw.draw(st.booleans()) and isinstance(place, dict):
        del place[key]
    else:
        place[key] = draw.draw(ANYTHING)
    return data


def test_a_report_that_was_written_is_read_back_equal(tmp_path: Path) -> None:
    files.write_json(tmp_path / "report.json", REPORT.to_json())
    assert load_report(tmp_path) == REPORT
    assert load_report(tmp_path / "report.json") == REPORT


def test_a_rung_that_was_written_is_read_back_equal() -> None:
    for rung in REPORT.rungs:
        assert rung_from_json(json.loads(json.dumps(rung_json(rung)))) == rung


def test_a_missing_report_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"report\.json: can't read"):
        load_report(tmp_path)


def test_a_damaged_file_names_itself_and_the_field(tmp_path: Path) -> None:
    data = json.loads(TEXT)
    data["rungs"][3]["timings"][1]["median_ms"] = "fast"
    files.write_json(tmp_path / "report.json", data)
    with pytest.raises(FileError, match=r"report\.json: .*report\.rungs\[3\]\.timings\[1\]\.median_ms is 'fast'"):
        load_report(tmp_path)


def test_another_version_is_refused() -> None:
    with pytest.raises(FileError, match="report version 99; this Flyweight reads 1"):
        Report.from_json({**json.loads(TEXT), "report_version": 99})


@pytest.mark.parametrize("data", [None, [], "report", 3, {}, {"report_version": 1}])
def test_what_is_no_report_is_refused(data: object) -> None:
    with pytest.raises(FileError, match="not a Flyweight report"):
        Report.from_json(data)


@given(ANYTHING)
def test_any_json_is_a_report_or_a_file_error(data: Any) -> None:
    with pytest.raises(FileError):
        Report.from_json(data)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_a_damaged_report_is_refused_or_can_be_shown(draw: st.DataObject) -> None:
    data = damaged(copy.deepcopy(json.loads(SMALL)), draw)
    try:
        report = Report.from_json(data)
    except FileError as error:
        assert "report" in str(error)
        return
    assert render_page(report).endswith("</html>\n")
    console = Console(width=100, file=io.StringIO())
    console.print(ladder_table(report))
