"""Single operators of random shapes, scales and zero points against ONNX Runtime, every element."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from flyweight.fixed_point import MODES, Difference, against_onnxruntime, read_program

EXAMPLES = 25


class One:
    """A network of one operator: 8-bit inputs at given scales, an 8-bit output."""

    def __init__(self) -> None:
        self.weights: list[Any] = []
        self.nodes: list[Any] = []
        self.inputs: dict[str, tuple[int, ...]] = {}

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add an initializer."""
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def scale(self, name: str, scale: Any, zero: NDArray[Any]) -> tuple[str, str]:
        """Add a scale and zero point."""
        array = np.asarray(scale, np.float32)
        return self.constant(f"{name}_s", array), self.constant(f"{name}_z", zero)

    def activation(self, name: str, shape: tuple[int, ...], scale: float, zero: int) -> str:
        """Add a float input that is quantized and dequantized."""
        pair = self.scale(name, scale, np.array(zero, np.uint8))
        self.inputs[name] = shape
        self.nodes.append(helper.make_node("QuantizeLinear", [name, *pair], [f"{name}_q"]))
        return self.behind(name, f"{name}_q", pair)

    def behind(self, name: str, source: str, pair: tuple[str, str], **settings: int) -> str:
        """Add a DequantizeLinear."""
        self.nodes.append(helper.make_node("DequantizeLinear", [source, *pair], [f"{name}_d"], **settings))
        return f"{name}_d"

    def check(self, op: str, inputs: list[str], scale: float, zero: int, rank: int, seed: int, **given: Any) -> None:
        """Compare on inputs that reach beyond what 8 bits hold: no element may differ; other rules: by one at most."""
        self.nodes.append(helper.make_node(op, inputs, ["y"], name="it", **given))
        pair = self.scale("y", scale, np.array(zero, np.uint8))
        self.nodes.append(helper.make_node("QuantizeLinear", ["y", *pair], ["y_q"]))
        self.behind("y", "y_q", pair)
        (exact,) = self.compare(rank, seed, None if op == "LeakyRelu" else 1)  # whose slope is another in 128ths
        assert exact.differing == 0

    def compare(self, rank: int, seed: int, most: int | None = 1) -> tuple[Difference, ...]:
        """Return what ``onnxruntime``'s rule gives for every step, output 'y_d'; others: by ``most`` at most."""
        graph = helper.make_graph(
            self.nodes, "one",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.inputs.items()],
            [helper.make_tensor_value_info("y_d", TensorProto.FLOAT, [f"n{i}" for i in range(rank)])], self.weights,
        )  # fmt: skip
        random = np.random.default_rng(seed)
        image = {name: random.normal(0, 3, shape).astype(np.float32) for name, shape in self.inputs.items()}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "one.onnx"
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
            found = against_onnxruntime(read_program(path), [image], MODES)
        whole = found["onnxruntime"]
        assert whole.outputs > 0  # a tensor that ONNX Runtime optimizes away has no elements to show
        assert (whole.outputs_differing, whole.entries_differing) == (0, 0)
        if most is not None:
            assert max(step.alone_largest for mode in MODES for step in found[mode].steps) <= most
        return whole.steps


SCALES = st.floats(2.0**-9, 0.25, width=32).map(float)
ZEROS = st.integers(0, 255)
TABLES: list[tuple[str, dict[str, float]]] = [
    ("LeakyRelu", {"alpha": 0.1}), ("Sigmoid", {}), ("HardSigmoid", {}), ("HardSwish", {}), ("Relu", {}),
]  # fmt: skip
SEEDS = st.integers(0, 2**16)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)),
    st.tuples(st.integers(5, 9), st.integers(5, 9)),
    st.tuples(SCALES, ZEROS, SCALES, ZEROS),
    st.booleans(),
    SEEDS,
)
@settings(max_examples=EXAMPLES, deadline=None)
def test_convolutions(
    channels: tuple[int, int, int],
    windows: tuple[int, int, int, int],
    size: tuple[int, int],
    scales: tuple[float, int, float, int],
    per_channel: bool,
    seed: int,
) -> None:
    groups, deep, wide = channels
    kernel, stride, dilation, pad = windows
    dilation = dilation if (kernel - 1) * dilation < 5 else 1
    random = np.random.default_rng(seed)
    count = groups * wide
    one = One()
    x = one.activation("x", (2, groups * deep, *size), scales[0], scales[1])
    weight = one.constant("w_q", random.integers(-127, 128, (count, deep, kernel, kernel)).astype(np.int8))
    steps = random.uniform(0.001, 0.05, count if per_channel else ()).astype(np.float32)
    zeros = np.zeros(steps.shape, np.int8)
    w = one.behind("w", weight, one.scale("w", steps, zeros), **({"axis": 0} if per_channel else {}))
    bias = one.constant("b_q", random.integers(-5000, 5000, count).astype(np.int32))
    total = (np.float32(scales[0]) * steps).astype(np.float32)
    b = one.behind(
        "b", bias, one.scale("b", total, np.zeros(steps.shape, np.int32)), **({"axis": 0} if per_channel else {})
    )
    one.check(
        "Conv", [x, w, b], scales[2] * 10, scales[3], 4, seed, kernel_shape=[kernel] * 2, strides=[stride] * 2,
        dilations=[dilation] * 2, pads=[pad, pad, min(pad, 1), pad], group=groups,
    )  # fmt: skip


@given(
    st.sampled_from(["Add", "Mul"]),
    st.sampled_from([((1, 3, 5, 7), (1, 3, 5, 7)), ((2, 3, 4, 4), (2, 3, 1, 1)), ((1, 8, 3, 3), (1, 1, 1, 1))]),
    st.tuples(SCALES, ZEROS, SCALES, ZEROS, SCALES, ZEROS),
    SEEDS,
)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_sums_and_products_of_two_tensors(
    op: str, shapes: tuple[tuple[int, ...], ...], s: tuple[float, int, float, int, float, int], seed: int
) -> None:
    one = One()
    names = [one.activation("a", shapes[0], s[0], s[1]), one.activation("b", shapes[1], s[2], s[3])]
    one.check(op, names, s[4], s[5], 4, seed)


@given(
    st.sampled_from(["AveragePool", "GlobalAveragePool", "MaxPool"]),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 1), st.booleans()),
    st.tuples(SCALES, ZEROS, SCALES, ZEROS),
    SEEDS,
)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_pools(op: str, window: tuple[int, int, int, bool], s: tuple[float, int, float, int], seed: int) -> None:
    kernel, stride, pad, counted = window
    one = One()
    x = one.activation("x", (2, 5, 9, 8), s[0], s[1])
    given: dict[str, Any] = {}
    if op != "GlobalAveragePool":
        pad = min(pad, kernel - 1)
        given = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad, 0, 0, pad]}
    if op == "AveragePool":
        given["count_include_pad"] = int(counted)
    if op == "MaxPool":
        given["ceil_mode"] = int(counted)
    one.check(op, [x], s[2], s[3], 4, seed, **given)


@given(
    st.sampled_from(
        [("LeakyRelu", {"alpha": 0.1}), ("Sigmoid", {}), ("HardSigmoid", {}), ("HardSwish", {}), ("Relu", {})]
    ),
    st.tuples(SCALES, ZEROS, SCALES, ZEROS),
    SEEDS,
)
@settings(max_examples=2 * EXAMPLES, deadline=None)
def test_tables(op: tuple[str, dict[str, float]], s: tuple[float, int, float, int], seed: int) -> None:
    one = One()
    one.check(op[0], [one.activation("x", (1, 3, 32, 32), s[0], s[1])], s[2], s[3], 4, seed, **op[1])


@given(st.integers(1, 30), st.integers(1, 9), st.booleans(), st.tuples(SCALES, ZEROS, SCALES, ZEROS), SEEDS)
@settings(max_examples=EXAMPLES, deadline=None)
def test_products_by_a_matrix(
    inner: int, columns: int, per_column: bool, s: tuple[float, int, float, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    one = One()
    x = one.activation("x", (4, inner), s[0], s[1])
    steps = random.uniform(0.001, 0.05, columns if per_column else ()).astype(np.float32)
    source = one.constant("w_q", random.integers(-127, 128, (inner, columns)).astype(np.int8))
    axis = {"axis": 1} if per_column else {}
    w = one.behind("w", source, one.scale("w", steps, np.zeros(steps.shape, np.int8)), **axis)
    one.check("MatMul", [x, w], s[2] * 4, s[3], 2, seed)


@given(st.sampled_from(["Add", "Mul"]), st.tuples(SCALES, ZEROS, SCALES, ZEROS, SCALES, ZEROS), SEEDS)
@settings(max_examples=EXAMPLES, deadline=None)
def test_sums_and_products_with_a_constant(op: str, s: tuple[float, int, float, int, float, int], seed: int) -> None:
    one = One()
    x = one.activation("a", (1, 6, 3, 5), s[0], s[1])
    source = one.constant("c_q", np.random.default_rng(seed).integers(0, 256, (6, 1, 1)).astype(np.uint8))
    c = one.behind("c", source, one.scale("c", s[2], np.array(s[3], np.uint8)))
    one.check(op, [x, c], s[4], s[5], 4, seed)


@given(st.sampled_from(["DCR", "CRD"]), st.tuples(SCALES, ZEROS), SEEDS)
@settings(max_examples=EXAMPLES, deadline=None)
def test_moves(mode: str, s: tuple[float, int], seed: int) -> None:
    one = One()
    x = one.activation("x", (1, 8, 3, 5), *s)
    one.nodes.append(helper.make_node("DepthToSpace", [x], ["wide"], blocksize=2, mode=mode))
    names = [
        one.constant(name, np.array(v, np.int64))
        for name, v in (("from", [1, 0]), ("to", [-1, 9]), ("axes", [2, 3]), ("by", [1, 2]))
    ]
    one.check("Slice", ["wide", *names], *s, 4, seed)


@given(st.integers(1, 30), st.integers(1, 9), st.booleans(), st.tuples(SCALES, ZEROS), SEEDS)
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_last_product_without_a_scale_gives_its_sums_as_floats(
    inner: int, columns: int, per_column: bool, s: tuple[float, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    one = One()
    x = one.activation("x", (4, inner), *s)
    steps = random.uniform(0.001, 0.05, columns if per_column else ()).astype(np.float32)
    source = one.constant("w_q", random.integers(-127, 128, (columns, inner)).astype(np.int8))
    axis = {"axis": 0} if per_column else {}
    w = one.behind("w", source, one.scale("w", steps, np.zeros(steps.shape, np.int8)), **axis)
    bias = one.constant("b_q", random.integers(-5000, 5000, columns).astype(np.int32))
    b = one.behind("b", bias, one.scale("b", np.float32(s[0]) * steps, np.zeros(steps.shape, np.int32)), **axis)
    one.nodes.append(helper.make_node("Gemm", [x, w, b], ["y_d"], name="it", transB=1))
    (step,) = one.compare(2, seed)
    assert (step.runtime_op, step.elements, step.alone) == ("QGemm", 4 * columns, 0)
