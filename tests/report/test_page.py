"""The page: one offline file, everything escaped, and the words that the figures call for."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.report import _plots, _remarks, _sections
from flyweight.report._plots import Point, linear_ticks, log_ticks, scatter
from flyweight.report._tables import flat_metrics
from flyweight.report.page import render_page
from flyweight.report.picture import network_svg
from flyweight.report.value import LayerRow, Report, Rung
from tests.report import made_up

REPORT = made_up.report()
PAGE = render_page(REPORT, {"v0": network_svg(made_up.graph(), "v0")})
VOID = {"meta", "br", "img", "wbr", "input", "link"}


class Balance(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text += data


def changed(name: str, score: float, ms: float) -> Report:
    """The report with another score and time for one rung."""
    entries = [
        entry if entry[0] != name else (*entry[:8], score, *entry[9:11], ms, entry[12]) for entry in made_up.LADDER
    ]
    return replace(REPORT, rungs=tuple(made_up.rung(entry, samples=False) for entry in entries))


def test_every_tag_is_closed() -> None:
    assert Balance(PAGE).open == []


def test_nothing_is_loaded_from_anywhere() -> None:
    for _, name, value in Balance(PAGE).attributes:
        if name in ("src", "href", "srcset", "action", "data", "poster"):
            assert value.startswith(("data:image/", "#")), value
    assert not re.search(r"(https?:)?//[a-z]|@import|url\(", re.sub(r'"data:image[^"]*"', "", PAGE))


def test_the_page_is_below_two_megabytes() -> None:
    assert len(PAGE.encode()) < 2_000_000


def test_every_rung_and_every_section_is_there() -> None:
    text = Balance(PAGE).text
    assert all(rung.name in text for rung in REPORT.rungs)
    for heading in (
        "The ladder",
        "Step by step",
        "Where the time goes",
        "Seen on test tiles",
        "The networks",
        "Every timing",
    ):
        assert heading in text, heading


def test_the_headline_compares_with_the_first_rung_and_the_control() -> None:
    sentence = _remarks.headline(REPORT).sentence
    assert "38.9× faster than v0" in sentence  # 101.4 ms / 2.61 ms = 38.85
    assert "57.1× smaller" in sentence  # 30912 kB / 541 kB = 57.14
    assert "0.957, against 0.925 (+3.2 points)" in sentence  # 0.9571 - 0.9253 = 0.0318
    assert "the control (v0 with skips) reaches 0.964 (−0.7 points)" in sentence  # 0.9571 - 0.9642 = -0.0071


def test_a_last_rung_that_is_slower_is_called_slower() -> None:
    assert "int8 runs 2.00× slower than v0" in _remarks.headline(changed("int8", 0.95, 202.8)).sentence


def test_a_last_rung_of_the_same_size_is_said_to_be() -> None:
    report = replace(REPORT, rungs=REPORT.rungs[:2])  # v0 and v0.1: 30912 kB both
    assert "its file is the same size" in _remarks.headline(report).sentence
    assert ("1.00×", "the same size") in _remarks.headline(report).figures


def test_layers_are_called_by_their_whole_path_where_the_short_one_is_taken() -> None:
    rows = [LayerRow(name, "conv", (1, 8, 4, 4), 10, 1, 1.0) for name in ("up0", "up0.conv", "up1.conv")]
    assert _sections._names(rows) == ["up0", "up0.conv", "up1"]


def test_a_rung_that_lost_more_than_a_point_is_said_to() -> None:
    remark = next(r for r in _remarks.remarks(REPORT) if r.rung == "v0.1")
    assert remark.text == "−1.3 points, 3.78× faster, the same size: more than a point lost"  # 0.9127 - 0.9253
    assert "more than a point lost" in PAGE


def test_a_rung_that_gained_nothing_is_said_to() -> None:
    remark = next(r for r in _remarks.remarks(REPORT) if r.rung == "v2.1.2")
    assert remark.against == "v1"
    assert remark.text == "−0.6 points, 1.02× faster, 1.07× smaller: little gained"


def test_scores_per_class_and_group_have_names_of_their_own() -> None:
    rung = REPORT.rungs[0]
    flat = flat_metrics(REPORT, rung.artifacts["onnxruntime"].metrics)
    assert flat["IoU sea"] == pytest.approx(0.9253 - 0.01)
    assert flat["IoU along the coast: water"] == pytest.approx(0.7012 + 0.02)
    assert "tiles" not in flat  # a count of 1 is no score


def test_what_was_skipped_is_said_with_its_reason() -> None:
    assert "int8</b>: left out: ncnn: this build has no int8 transposed convolution" in PAGE


def test_a_busy_machine_is_marked() -> None:
    assert "2 of 50 timings were taken while the machine was busy" in PAGE  # v0 and control, ncnn at 2 threads
    assert PAGE.count('<td class="flag"') == 2


def test_a_time_that_spreads_widely_is_marked_unsteady() -> None:
    rung = REPORT.rungs[0]
    shaky = tuple(replace(t, p90_ms=2 * t.p10_ms, busy=1.0) for t in rung.timings)
    page = render_page(replace(REPORT, rungs=(replace(rung, timings=shaky),)))
    assert f"{len(shaky)} of {len(shaky)} timings spread widely: 90th over 1.5 times the 10th percentile" in page
    assert page.count(" unsteady<") == len(shaky)


def hostile(text: str) -> Report:
    rung = REPORT.rungs[0]
    artifacts = {k: replace(a, file=text, runtime_version=text, notes=(text,)) for k, a in rung.artifacts.items()}
    bad = replace(
        rung,
        name=text,
        title=text,
        change=text,
        skipped=(text,),
        artifacts=artifacts,
        samples=((0, text),),
        layers=tuple(replace(layer, module=text, op=text) for layer in rung.layers),
    )
    data = {**REPORT.data, "class_names": [text] * 3, "colors": [text, [1, 2, "x"], [300, 0, 0]], text: text}
    return replace(
        REPORT,
        title=text,
        data=data,
        recipe={text: text},
        environment={text: [text]},
        headline_title=text,
        rungs=(bad, REPORT.rungs[1]),
        tiles=(replace(REPORT.tiles[0], image=text),),
        notes=(text,),
    )


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "</style><b>", "\x00\ud800"]
)
def test_text_from_outside_never_becomes_markup(text: str) -> None:
    page = render_page(hostile(text), {text: f"<svg>{text}</svg>"})
    parsed = Balance(page)
    assert parsed.open == []
    assert not [entry for entry in parsed.attributes if entry[1].startswith("on")]
    assert [tag for tag, *_ in re.findall(r"<(script)[^>]*>", page)] != [] and page.count("<script") == 1
    page.encode("utf-8")


@given(st.text(max_size=30))
def test_any_title_leaves_the_page_well_formed(title: str) -> None:
    report = replace(REPORT, title=title, rungs=(), tiles=(), notes=(title,))
    assert Balance(render_page(report)).open == []


def test_an_image_from_an_address_is_not_loaded() -> None:
    report = replace(REPORT, tiles=(replace(REPORT.tiles[0], image="https://example.org/x.png"),))
    page = render_page(report)
    assert "example.org" not in page and "no picture" in page


def test_a_growing_report_is_shown_as_far_as_it_has_got() -> None:
    assert "No rung is finished yet." in render_page(replace(REPORT, rungs=()))
    assert "Only v0 is finished so far." in render_page(replace(REPORT, rungs=REPORT.rungs[:1]))


def without_time(rung: Rung) -> Rung:
    return replace(rung, timings=(), layers=())


def test_a_report_without_timings_has_sizes_and_scores_still() -> None:
    page = render_page(replace(REPORT, rungs=tuple(map(without_time, REPORT.rungs))))
    assert "Accuracy against file size" in page and "Accuracy against time" not in page and "Every timing" not in page


def test_labels_overlap_neither_each_other_nor_a_point() -> None:
    points = [Point(e[0], e[11], e[8]) for e in made_up.LADDER]
    x, y = _plots._x_axis(points), _plots._y_axis(points)
    places = [(x.at(p.x), y.at(p.y)) for p in points]
    boxes = _plots._labels(points, places, _plots._samples(places))
    dots = [_plots._Box(u - 4, v - 4, u + 4, v + 4) for u, v in places]
    for i, box in enumerate(boxes):
        assert all(box.overlap(other) == 0 for other in boxes[i + 1 :])
        assert all(box.overlap(dot) == 0 for dot in dots)
        assert box.overlap(_plots.FRAME) == pytest.approx((box.right - box.left) * (box.bottom - box.top))


@given(st.lists(st.tuples(st.floats(1e-3, 1e6), st.floats(0, 1)), min_size=1, max_size=12))
def test_any_points_give_a_plot_without_nan(pairs: list[tuple[float, float]]) -> None:
    svg = scatter([Point(f"p{i}", x, y) for i, (x, y) in enumerate(pairs)], "x", "y", "label")
    assert "nan" not in svg and "inf" not in svg and svg.count("<circle") == len(pairs)


@given(st.floats(1e-3, 1e6), st.floats(1.4, 1e4))
def test_a_logarithmic_axis_has_at_least_two_and_at_most_nine_ticks(low: float, factor: float) -> None:
    ticks = log_ticks(low, low * factor)
    assert 2 <= len(ticks) <= 9
    assert all(low <= tick <= low * factor for tick in ticks)


@given(st.floats(-1, 1), st.floats(1e-3, 2))
def test_a_linear_axis_has_three_to_ten_ticks_inside(low: float, span: float) -> None:
    ticks = linear_ticks(low, low + span)
    assert 3 <= len(ticks) <= 10
    assert all(low - 1e-9 <= tick <= low + span + 1e-9 for tick in ticks)
