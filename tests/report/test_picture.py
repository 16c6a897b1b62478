"""The network picture, from graphs that are made here: everything that runs is on it, and it fits a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.graph import Graph, Node, TensorInfo
from flyweight.report._blocks import blocks_of, values_of
from flyweight.report._layout import place
from flyweight.report.picture import network_svg
from tests.report import made_up

NUMBERS = re.compile(r'font-size="([0-9.]+)"')


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


@pytest.mark.parametrize("count", [10, 30, 60, 120])
@pytest.mark.parametrize("skips", [False, True])
def test_the_picture_of_a_long_chain_is_never_a_strip(count: int, skips: bool) -> None:
    width, height = size(network_svg(chain(count, skips), "chain"))
    assert 0.5 <= width / height <= 2.0


def test_no_text_is_smaller_than_eight_pixels() -> None:
    sizes = [
        float(found) for found in NUMBERS.findall(network_svg(made_up.graph(), "net", {"head.classify": 1.0}, "MACs"))
    ]
    assert min(sizes) >= 8 and len(sizes) > 40


def test_every_node_stands_in_exactly_one_block() -> None:
    graph = made_up.graph()
    blocks, _ = blocks_of(graph)
    assert [node for block in blocks for node in block.nodes] == list(graph.nodes)


def test_convolution_normalization_and_activation_share_a_line() -> None:
    blocks, _ = blocks_of(made_up.graph())
    assert blocks[1].title == "encoder.conv1"
    assert blocks[1].lines == ("conv → 32 · BN · relu",)


def test_blocks_never_overlap() -> None:
    blocks, edges = blocks_of(made_up.graph())
    boxes = place(blocks, edges).boxes
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
            assert apart, (a, b)


@pytest.mark.parametrize("graph", [made_up.graph(), chain(40, True)])
def test_no_edge_runs_through_a_block(graph: Graph) -> None:
    layout = place(*blocks_of(graph))
    for route in layout.routes:
        for (x, y), (u, v) in zip(route.corners, route.corners[1:], strict=False):
            left, right, top, bottom = min(x, u), max(x, u), min(y, v), max(y, v)
            for box in layout.boxes:
                inside = left < box.x + box.width and right > box.x and top < box.y + box.height and bottom > box.y
                assert not inside, (route.edge, box)


def test_everything_lies_inside_the_picture() -> None:
    layout = place(*blocks_of(chain(40, True)))
    for route in layout.routes:
        assert all(0 <= x <= layout.width and 0 <= y <= layout.height for x, y in route.corners)


def test_the_three_skips_are_edges_with_their_shapes() -> None:
    blocks, edges = blocks_of(made_up.graph())
    into = {blocks[edge.target].title: (blocks[edge.source].title, edge.shape) for edge in edges}
    assert into["head.skip0"] == ("encoder.conv4_1", "256×10×10")
    assert into["head.skip2"] == ("encoder.conv2_1", "64×40×40")


def test_a_block_has_the_sum_of_its_modules() -> None:
    blocks, _ = blocks_of(made_up.graph())
    by_module = {"encoder.conv2_1.depthwise.conv": 3.0, "encoder.conv2_1.pointwise": 4.0, "nowhere": 9.0}
    values = dict(zip((block.title for block in blocks), values_of(blocks, by_module), strict=True))
    assert values["encoder.conv2_1"] == 3.0 + 4.0
    assert values["encoder.conv1"] is None


def test_a_module_path_is_escaped() -> None:
    tensors = (TensorInfo("x", (1, 2)), TensorInfo("y", (1, 2)))
    graph = Graph(("x",), ("y",), (Node("n", "relu", ("x",), ("y",), "<script>&"),), tensors)
    svg = network_svg(graph, '</title><script>"')
    assert "<script" not in svg
    assert ElementTree.fromstring(svg) is not None


def test_a_network_without_operators_is_drawn() -> None:
    svg = network_svg(Graph(("x",), ("x",), (), (TensorInfo("x", (1, 3, 8, 8)),)), "nothing")
    assert svg.count("3×8×8") >= 2


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 40)), min_size=1, max_size=40))
def test_any_wiring_is_drawn_as_well_formed_svg(wiring: list[tuple[int, int]]) -> None:
    tensors, nodes = [TensorInfo("x0", (1, 4, 8, 8))], []
    for i, (stage, source) in enumerate(wiring):
        tensors.append(TensorInfo(f"x{i + 1}", (1, 4, 8, 8)))
        nodes.append(Node(f"n{i}", "conv", (f"x{source % (i + 1)}",), (f"x{i + 1}",), f"a.s{stage}"))
    graph = Graph(("x0",), (f"x{len(wiring)}",), tuple(nodes), tuple(tensors))
    root = ElementTree.fromstring(network_svg(graph, "any"))
    _, edges = blocks_of(graph)
    assert all(edge.source < edge.target for edge in edges)
    assert sum(float(root.attrib[key]) > 0 for key in ("width", "height")) == 2
