"""The network's picture: everything that runs is on it, nothing lies on anything else, and it fits a page."""

from __future__ import annotations

import io
import re
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flyweight.errors import UsageError
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.profile import Profile, profile_spec
from flyweight.report.picture import PAPERS, Costs, by_node, counted_costs, drawn, measured_costs, network_svg
from flyweight.zoo import ZOO
from tests.report import made_up
from tests.report.geometry import problems

LEAST_TEXT_PX = 8.0
SIZES = re.compile(r'font-size[=:]"?([0-9.]+)')
NETWORKS = (
    "squeezenet_1.1", "mobilenet_v1_deconv", "mobilenet_v3_small_1.0", "shufflenet_v1_g3_1.0", "googlenet",
    "ssdlite_mobilenet_v3_large", "nasnet_mobile",
)  # fmt: skip


def chain(count: int, skips: bool) -> Graph:
    """``count`` blocks of a convolution; with ``skips`` every third adds the output of the block three before it."""
    tensors, nodes = [TensorInfo("x0", (1, 8, 32, 32))], []
    for i in range(count):
        inputs = (f"x{i}", f"x{i - 3}") if skips and i > 3 and i % 3 == 0 else (f"x{i}",)
        tensors.append(TensorInfo(f"x{i + 1}", (1, 8, 32, 32)))
        nodes.append(Node(f"n{i}", "add" if len(inputs) > 1 else "conv", inputs, (f"x{i + 1}",), f"net.block{i}"))
    return Graph(("x0",), (f"x{count}",), tuple(nodes), tuple(tensors))


def size(svg: str) -> tuple[float, float]:
    root = ElementTree.fromstring(svg)
    return float(root.attrib["width"]), float(root.attrib["height"])


@cache
def profile(name: str) -> Profile:
    return profile_spec(ZOO.get(name).spec)


# ---- the layout ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fold", ["none", "fused", "repeats"])
@pytest.mark.parametrize("name", NETWORKS)
def test_no_box_text_or_line_lies_on_another(name: str, fold: str) -> None:
    counted = profile(name)
    assert list(problems(drawn(counted.graph, name, counted_costs(counted, "macs"), fold=fold).layout)) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.lists(st.integers(0, 40), min_size=1, max_size=3)), max_size=30))
def test_any_wiring_is_drawn_without_one_thing_on_another(wiring: list[tuple[int, list[int]]]) -> None:
    """Operator i is of module ``stage`` and reads up to three of the tensors before it."""
    tensors, nodes = [TensorInfo("x0", (1, 4, 8, 8))], []
    for i, (stage, sources) in enumerate(wiring):
        tensors.append(TensorInfo(f"x{i + 1}", (1, 4, 8, 8)))
        inputs = tuple(f"x{source % (i + 1)}" for source in dict.fromkeys(s % (i + 1) for s in sources))
        nodes.append(Node(f"n{i}", "conv" if len(inputs) == 1 else "concat", inputs, (f"x{i + 1}",), f"a.s{stage}"))
    graph = Graph(("x0",), (f"x{len(wiring)}",), tuple(nodes), tuple(tensors))
    picture = drawn(graph, "any", fold="none")
    boxes, texts = "overlap", "lies on a box"
    assert [line for line in problems(picture.layout) if boxes in line or texts in line or "outside" in line] == []
    ElementTree.fromstring(picture.svg())


@pytest.mark.parametrize("count", [10, 30, 60, 120])
@pytest.mark.parametrize("skips", [False, True])
def test_a_long_chain_wraps_and_is_never_a_strip(count: int, skips: bool) -> None:
    width, height = size(network_svg(chain(count, skips), "chain"))
    assert 0.5 <= width / height <= 2.5


@pytest.mark.parametrize("name", NETWORKS)
def test_no_text_is_smaller_than_eight_pixels(name: str) -> None:
    counted = profile(name)
    sizes = [float(found) for found in SIZES.findall(drawn(counted.graph, name, counted_costs(counted, "macs")).svg())]
    assert min(sizes) >= LEAST_TEXT_PX
    assert len(sizes) >= 2


@pytest.mark.parametrize("name", NETWORKS)
def test_every_operator_stands_in_exactly_one_box(name: str) -> None:
    graph = profile(name).graph
    for fold in ("none", "fused", "repeats"):
        found = [node.name for box in drawn(graph, name, fold=fold).layout.boxes for node in box.unit.nodes]
        assert sorted(found) == sorted(node.name for node in graph.nodes)


def test_convolution_normalization_and_activation_share_a_box() -> None:
    boxes = {box.unit.path: box.unit for box in drawn(made_up.graph(), "net", fold="fused").layout.boxes}
    first = boxes["encoder.conv1"]
    assert [node.op for node in first.nodes] == ["conv", "batch_norm", "relu"]
    assert first.notes.startswith("BN")


def test_equal_modules_in_a_row_are_one_box_with_their_number() -> None:
    """MobileNetV1's five equal blocks conv5_1 to conv5_5, of six operators each."""
    boxes = [box.unit for box in drawn(profile("mobilenet_v1_deconv").graph, "net").layout.boxes]
    assert 5 in [unit.times for unit in boxes]


def test_a_given_width_is_kept() -> None:
    graph = profile("mobilenet_v1_deconv").graph
    assert drawn(graph, "net", width_px=700).layout.width <= 700
    assert drawn(graph, "net", width_px=2500).layout.height < drawn(graph, "net", width_px=700).layout.height


def test_modules_can_be_drawn_as_one_box() -> None:
    boxes = [box.unit for box in drawn(profile("googlenet").graph, "net", depth=2).layout.boxes]
    assert len([unit for unit in boxes if unit.path.startswith("encoder.inception")]) == 9


# ---- colours and figures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["macs", "params", "memory"])
def test_the_most_expensive_box_has_the_strongest_colour(kind: str) -> None:
    counted = profile("squeezenet_1.1")
    costs = counted_costs(counted, kind)
    boxes = drawn(counted.graph, "net", costs, fold="none").layout.boxes
    shades = {box.unit.nodes[0].name: box.card.shade for box in boxes if box.unit.nodes}
    assert shades[max(costs.by_node, key=lambda name: costs.by_node[name])] == 1.0


def test_a_module_has_the_share_of_its_boxes() -> None:
    """1, 3 and 4 of 8 in all: 12.5, 37.5 and 50 %; and GoogLeNet's fourth module its MACs over all."""
    tensors = tuple(TensorInfo(f"x{i}", (1, 8, 32, 32)) for i in range(4))
    homes = ("a.one", "a.two", "b.one")
    nodes = tuple(Node(f"n{i}", "conv", (f"x{i}",), (f"x{i + 1}",), home) for i, home in enumerate(homes))
    costs = Costs({"n0": 1.0, "n1": 3.0, "n2": 4.0}, "made up")
    layout = drawn(Graph(("x0",), ("x3",), nodes, tensors), "net", costs, fold="none").layout
    figures = [line.right for box in layout.boxes for line in box.card.lines if "%" in line.right]
    assert [figure.partition(" · ")[2] for figure in figures] == ["12.5 %", "37.5 %", "50.0 %"]

    counted = profile("googlenet")
    frames = drawn(counted.graph, "net", counted_costs(counted, "macs")).layout.frames
    (figure,) = (frame.figure for frame in frames if frame.path == "encoder.inception3b")
    own = sum(row.macs or 0 for row in counted.rows if row.module.startswith("encoder.inception3b."))
    assert figure == f"{100 * own / counted.macs:.1f} %"


def test_measured_time_goes_to_the_modules_heaviest_operator() -> None:
    graph = made_up.graph()
    found = by_node(graph, {"encoder.conv1": 5.0, "nowhere": 9.0})
    (node,) = (node for node in graph.nodes if node.name in found)
    assert (node.op, found[node.name]) == ("conv", 5.0)
    assert "made up 1.0" in measured_costs(graph, {"encoder.conv1": 5.0}, "made up 1.0").title


def test_an_unknown_cost_and_an_unknown_fold_are_refused() -> None:
    with pytest.raises(UsageError, match="allowed are macs, params, memory"):
        counted_costs(profile("squeezenet_1.1"), "colour")
    with pytest.raises(UsageError, match="allowed are repeats, fused, none"):
        drawn(made_up.graph(), "net", fold="all")


# ---- the formats ---------------------------------------------------------------------------------------------------


def test_a_module_path_is_escaped() -> None:
    tensors = (TensorInfo("x", (1, 2)), TensorInfo("y", (1, 2)))
    graph = Graph(("x",), ("y",), (Node("n", "relu", ("x",), ("y",), "<script>&"),), tensors)
    svg = network_svg(graph, '</title><script>"')
    assert "<script" not in svg
    assert ElementTree.fromstring(svg) is not None


def test_a_network_without_operators_is_drawn() -> None:
    svg = network_svg(Graph(("x",), ("x",), (), (TensorInfo("x", (1, 3, 8, 8)),)), "nothing")
    assert "3×8×8" in svg


def test_the_png_has_the_size_of_the_picture_times_the_scale() -> None:
    picture = drawn(made_up.graph(), "net")
    width, height = size(picture.svg())
    once, twice = (Image.open(io.BytesIO(picture.png(scale))) for scale in (1, 2))
    assert once.size == pytest.approx((width, height), abs=1)
    assert twice.size == pytest.approx((2 * width, 2 * height), abs=2)
    assert len(once.convert("RGB").resize((40, 40)).getcolors() or []) > 20  # it isn't blank


def test_a_pdf_is_one_page_or_as_many_sheets_as_it_needs() -> None:
    graph = profile("googlenet").graph
    one, sheets = drawn(graph, "net").pdf(), drawn(graph, "net", paper="a4").pdf()
    assert one.startswith(b"%PDF-1.") and one.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type ?/Page\b", one)) == 1
    assert len(re.findall(rb"/Type ?/Page\b", sheets)) > 1
    assert set(PAPERS) >= {"a4", "a3", "letter", "a4-landscape"}


def test_the_files_ending_is_the_format() -> None:
    picture = drawn(made_up.graph(), "net")
    starts = {".svg": b"<svg", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    for suffix, start in starts.items():
        assert start in picture.rendered(Path(f"net{suffix.upper()}"), None)[:100]
    with pytest.raises(UsageError, match=r"net\.gif: pictures end in \.svg, \.pdf, \.png"):
        picture.rendered(Path("net.gif"))
