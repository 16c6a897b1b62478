"""The page of a profile: sums by module, memory over time, nothing loaded from elsewhere, nothing that can run."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.profile import Row, profile_spec
from flyweight.report._curves import memory_curve, roofline_plot
from flyweight.report._tree import tree, tree_table
from flyweight.report.profile_page import Profiled, render_profile
from flyweight.report.value import LayerRow
from flyweight.roofline import Machine, RooflinePoint
from flyweight.zoo import ZOO

MOST_BYTES = 2_000_000
MACHINE = Machine("made up", 1, 50.0, 20.0, 80.0, 32 << 20, 16, 0.5, "none", "2026-01-01")
ROWS = (
    LayerRow("a.one", "conv", (1, 8, 4, 4), 100, 10, 5.0),
    LayerRow("a.two", "conv", (1, 8, 4, 4), 300, 30, 7.0),
    LayerRow("b", "linear", (1, 10), 600, 60, None),
)


def profiled(name: str = "mobilenet_v1_0.25_128") -> Profiled:
    counted = profile_spec(ZOO.get(name).spec)
    rows = [LayerRow(r.module, r.op, r.output_shape, r.macs or 0, r.params, 1.0) for r in counted.rows]
    points = (RooflinePoint("head", 2.0, 10.0, True, "linear", 10, 5, 3.0, 40.0),)
    return Profiled(
        name, (1, 3, 128, 128), rows, counted, 1.5, "made up 1.0, 1 thread", points, MACHINE,
        {"guidelines": ["G1 head: far"], "advice": ["cut <it>"]}, ("counted: all", "doubtful: the machine was busy"),
    )  # fmt: skip


def test_a_module_is_the_sum_of_its_layers() -> None:
    """a: 100 + 300 MACs, 10 + 30 parameters, 5 + 7 µs, and the larger of two peaks."""
    root = tree(ROWS, {"a.one": 50, "a.two": 70, "b": 20})
    a, b = root.children["a"], root.children["b"]
    assert (a.macs, a.params, a.time_us, a.live_bytes) == (400, 40, 12.0, 70)
    assert (b.macs, b.time_us) == (600, None)
    assert (root.macs, root.params, root.time_us, root.live_bytes) == (1000, 100, 12.0, 70)


def test_rows_of_the_table_know_how_deep_they_are() -> None:
    text = tree_table(tree(ROWS, {}))
    assert re.findall(r'data-depth="(\d)"', text) == ["0", "1", "1", "0"]
    assert "measured" in text
    assert "measured" not in tree_table(tree([replace(row, time_us=None) for row in ROWS], {}))


def test_the_curve_names_the_layer_at_the_peak() -> None:
    rows = profile_spec(ZOO.get("mobilenet_v1_0.25_128").spec).rows
    top = max(rows, key=lambda row: row.live_bytes)
    assert f"{top.module} ({top.op})" in memory_curve(rows)
    assert memory_curve(()) == ""


@given(st.lists(st.integers(0, 2**45), min_size=1, max_size=50))
def test_any_sizes_give_a_curve_without_nan(sizes: list[int]) -> None:
    row = profile_spec(ZOO.get("mobilenet_v1_0.25_128").spec).rows[0]
    rows: list[Row] = [replace(row, live_bytes=size) for size in sizes]
    svg = memory_curve(rows)
    assert "nan" not in svg and "inf" not in svg
    assert bool(svg) == any(sizes)


@given(st.lists(st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)), min_size=1, max_size=20))
def test_any_layers_give_a_roofline_inside_its_frame(places: list[tuple[float, float]]) -> None:
    points = [RooflinePoint(f"n{i}", x, y, x < 2.5, "conv", 10, 5, 1.0, 1.0) for i, (x, y) in enumerate(places)]
    svg = roofline_plot(points, MACHINE)
    centres = re.findall(r'cx="([^"]+)" cy="([^"]+)"', svg)
    assert len(centres) == len(places)
    assert all(0 <= float(x) <= 860 and 0 <= float(y) <= 320 for x, y in centres)


def test_the_page_has_all_that_was_asked_for_and_says_when_it_is_doubtful() -> None:
    page = render_profile(profiled())
    for name in ("modules", "memory", "roofline", "guidelines", "advice", "networks", "method"):
        assert f'<section id="{name}"' in page
    header = page.partition("</header>")[0]
    assert "1.50 ms" in header and "the machine was busy" in header
    bare = replace(profiled(), points=(), machine=None, findings={}, ms=None, how="")
    page = render_profile(bare)
    assert 'id="roofline"' not in page and 'id="advice"' not in page and "nothing was measured" in page


@pytest.mark.parametrize("name", ["mobilenet_v1_0.25_128", "googlenet", "nasnet_mobile"])
def test_the_page_is_small_and_loads_nothing(name: str) -> None:
    page = render_profile(profiled(name))
    assert len(page.encode()) < MOST_BYTES
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert "default-src 'none'" in page.replace("&#x27;", "'")


def test_names_from_outside_are_escaped() -> None:
    found = profiled()
    rows = [replace(found.rows[0], module="<script>x", op="</td><b>"), *found.rows[1:]]
    page = render_profile(replace(found, title="</title><script>alert(1)</script>", rows=rows))
    assert "<script>x" not in page and "<b>" not in page and "alert(1)</script>" not in page
    assert "cut &lt;it&gt;" in page
