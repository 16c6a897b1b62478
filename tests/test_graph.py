"""flyweight.graph: the traced network as checked, immutable data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.errors import GraphError
from flyweight.graph import DTYPE_BYTES, Graph, Node, TensorInfo


def tensor(name: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, shape)


WEIGHT = tensor("conv.weight", 4, 3, 3, 3)


def diamond() -> Graph:
    """Return x -> conv -> a; relu(a) -> b; a + b -> c; the convolution's weight is read twice."""
    return Graph(
        inputs=("x",),
        outputs=("c",),
        nodes=(
            Node("conv", "conv", ("x",), ("a",), "body.conv", (WEIGHT,), (("groups", 1), ("stride", (2, 2)))),
            Node("relu", "relu", ("a",), ("b",), "body", (WEIGHT,)),
            Node("add", "add", ("a", "b"), ("c",)),
        ),
        tensor_list=(
            tensor("x", 1, 3, 8, 8),
            tensor("a", 1, 4, 4, 4),
            tensor("b", 1, 4, 4, 4),
            tensor("c", 1, 4, 4, 4),
        ),
    )


def changed(**fields: Any) -> Graph:
    return dataclasses.replace(diamond(), **fields)


@given(
    shape=st.lists(st.integers(0, 50), max_size=5),
    dtype=st.sampled_from([d for d in sorted(DTYPE_BYTES) if d != "bfloat16"]),
)
def test_bytes_of_a_tensor_are_numpys(shape: list[int], dtype: str) -> None:
    itemsize = np.dtype(dtype).itemsize
    assert TensorInfo("x", tuple(shape), dtype).bytes == int(np.prod(shape, dtype=np.int64)) * itemsize


def test_bfloat16_takes_two_bytes() -> None:
    assert TensorInfo("x", (2, 3), "bfloat16").bytes == 2 * 3 * 2


def test_elements_are_exact_beyond_64_bits() -> None:
    assert tensor("x", 2**40, 2**40).elements == 2**80


def test_scalar_has_one_element() -> None:
    assert tensor("x").elements == 1


def test_unknown_dtype_is_an_error_that_names_tensor_and_dtype() -> None:
    with pytest.raises(GraphError, match="tensor 'w': dtype 'float8' has no known size"):
        _ = TensorInfo("w", (2,), "float8").bytes


def test_producer_of_each_activation_is_the_node_that_made_it() -> None:
    assert {name: node.name for name, node in diamond().producers.items()} == {"a": "conv", "b": "relu", "c": "add"}


def test_consumers_stand_in_order_and_unread_activations_have_none() -> None:
    readers = {name: [node.name for node in nodes] for name, nodes in diamond().consumers.items()}
    assert readers == {"x": ["conv"], "a": ["relu", "add"], "b": ["add"], "c": []}


def test_node_that_reads_one_activation_twice_is_one_consumer() -> None:
    nodes = (*diamond().nodes[:2], Node("add", "add", ("b", "b"), ("c",)))
    assert [node.name for node in changed(nodes=nodes).consumers["b"]] == ["add"]


def test_parameter_that_two_nodes_read_is_listed_once() -> None:
    assert dict(diamond().params) == {"conv.weight": WEIGHT}


def test_attribute_is_found_and_a_missing_one_gives_the_default() -> None:
    conv = diamond().nodes[0]
    assert (conv.attr("stride"), conv.attr("dilation", (1, 1)), conv.attr("dilation")) == ((2, 2), (1, 1), None)


def test_reading_before_making_is_an_error_that_names_node_and_activation() -> None:
    first, second, third = diamond().nodes
    with pytest.raises(GraphError, match=r"node 'relu' \(relu\) reads 'a' before anything made it"):
        changed(nodes=(second, first, third))


def test_making_an_activation_without_a_shape_is_an_error() -> None:
    with pytest.raises(GraphError, match=r"node 'add' \(add\) makes 'c', whose shape is unknown"):
        changed(tensor_list=diamond().tensor_list[:3])


def test_output_that_nothing_makes_is_an_error() -> None:
    with pytest.raises(GraphError, match="the network returns 'd', which no node makes"):
        changed(outputs=("d",))


def test_network_that_returns_its_input_is_a_graph() -> None:
    assert changed(nodes=(), outputs=("x",)).producers == {}


@pytest.mark.parametrize("view", ["tensors", "producers", "consumers", "params"])
def test_views_can_not_be_written_to(view: str) -> None:
    with pytest.raises(TypeError, match="does not support item assignment"):
        getattr(diamond(), view)["x"] = None


def test_fields_can_not_be_written_to() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        diamond().inputs = ()  # type: ignore[misc]


def test_graphs_of_equal_parts_are_equal() -> None:
    assert diamond() == diamond()
    assert changed(outputs=("b",)) != diamond()
