"""What ONNX Runtime's plan of its buffers comes to: rule by rule on small graphs, and whole on a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from flyweight.contracts import PlannedPeak
from flyweight.runtimes import RUNTIMES
from flyweight.runtimes._onnx_memory import BLOCKED, plan
from tests.runtimes import nets

MAP = 3 * 8 * 8 * 4  # bytes of a float map of the graphs below: 3 channels, 8 × 8


def graph(*nodes: Any, output: str, channels: int = 3, side: int = 8, weights: dict[str, Any] | None = None) -> Any:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, (1, channels, side, side))
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    opsets = [helper.make_opsetid(domain, 1 if domain else 18) for domain in ("", "com.microsoft", BLOCKED)]
    return helper.make_model(helper.make_graph(list(nodes), "g", [given], [made], tensors), opset_imports=opsets)


def node(op: str, reads: str, makes: str, domain: str = "", **attributes: Any) -> Any:
    return helper.make_node(op, reads.split(), makes.split(), domain=domain, **attributes)


def peak(model: Any) -> PlannedPeak:
    found = plan(model, block=16)
    assert found is not None
    return found


def test_input_and_output_are_never_shared() -> None:
    assert peak(graph(node("Relu", "x", "y"), output="y")).bytes == 2 * MAP


def test_an_activation_writes_over_what_nothing_reads_later() -> None:
    three = (node("Tanh", "x", "a"), node("Sigmoid", "a", "b"), node("Relu", "b", "y"))
    assert peak(graph(*three, output="y")).bytes == 3 * MAP  # x, a = b, y, which is the caller's
    # the sum reads a, so b has its own buffer: x, a, b, y
    kept = graph(node("Tanh", "x", "a"), node("Sigmoid", "a", "b"), node("Add", "a b", "y"), output="y")
    assert peak(kept).bytes == 4 * MAP


def test_sums_products_and_the_fused_gelu_write_elsewhere() -> None:
    for op, domain in (("Neg", ""), ("QuickGelu", "com.microsoft"), ("Add", ""), ("Mul", "")):
        reads = "a a" if op in ("Add", "Mul") else "a"
        nodes = (node("Tanh", "x", "a"), node(op, reads, "b", domain), node("Concat", "b b", "y", axis=1))
        assert peak(graph(*nodes, output="y", channels=6)).bytes == 4 * MAP  # x, b, y of twice the channels
        before = graph(*nodes[:2], node("GlobalAveragePool", "b", "y"), output="y", side=1)
        assert peak(before).bytes == 3 * MAP, op  # x, a, b


def test_a_view_lies_where_its_input_lies() -> None:
    shape = {"s": np.array([1, 192])}
    nodes = (node("Tanh", "x", "a"), node("Reshape", "a s", "b"), node("Neg", "b", "y"))
    made = graph(*nodes, output="y", weights=shape)
    assert peak(made).bytes == 3 * MAP


def test_a_buffer_taken_again_is_held_through_the_gap() -> None:
    small = node("GlobalAveragePool", "b", "c")
    nodes = (
        node("Softmax", "x", "a"),
        node("Softmax", "a", "b"),  # a is free now
        small,  # b is free now; c is 12 bytes
        node("Add", "x c", "d"),  # takes b's, freed last
        node("Softmax", "d", "e"),  # takes a's, held since the second node
        node("Neg", "e", "y"),
    )
    # x; a = e from the first node to the last; b = d from the second to the fifth; at the last x, a, y = 3; at the
    # fourth x, a, b, c
    assert peak(graph(*nodes, output="y")).bytes == 3 * MAP + 3 * 4


def test_the_blocked_layout_rounds_channels_up_and_its_sum_is_written_over() -> None:
    blocked = 16 * 8 * 8 * 4
    weights = {"w": np.zeros((16, 16, 3, 3), np.float32), "bias": np.zeros(16, np.float32)}
    conv = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = (
        node("ReorderInput", "x", "a", BLOCKED),
        node("Conv", "a w", "b", BLOCKED, **conv),
        node("Conv", "b w bias a", "c", BLOCKED, **conv),  # adds a, and lies where a lay
        node("ReorderOutput", "c", "d", BLOCKED, channels=3),
        node("Neg", "d", "y"),
    )
    assert peak(graph(*nodes, output="y", weights=weights)).bytes == MAP + 2 * blocked


def test_a_transposed_convolution_needs_its_columns() -> None:
    weights = {"w": np.zeros((3, 5, 2, 2), np.float32)}
    made = graph(
        node("ConvTranspose", "x w", "y", kernel_shape=[2, 2], strides=[2, 2]),
        output="y", channels=5, side=16, weights=weights,
    )  # fmt: skip
    found = peak(made)
    assert found.scratch_bytes == 4 * (5 * 2 * 2) * (8 * 8)
    assert found.bytes == MAP + 5 * 16 * 16 * 4 + found.scratch_bytes


def test_nothing_is_said_where_a_shape_is_unknown() -> None:
    assert plan(graph(node("NonZero", "x", "a"), node("Cast", "a", "y", to=1), output="y"), block=16) is None


def test_a_network_s_plan_names_the_module_at_its_peak(tmp_path: Path) -> None:
    candidate = nets.small()
    artifact = RUNTIMES.get("onnxruntime").export(candidate, tmp_path)
    found = RUNTIMES.get("onnxruntime").planned_peak(artifact)
    assert found is not None
    assert found.module in dict(candidate.module.named_modules())
    assert found.bytes > 3 * 32 * 32 * 4
