"""What can't run in integers is refused by name; what can be folded is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from flyweight.errors import FileError, GraphError
from flyweight.fixed_point import against_onnxruntime, quantized_inputs, read_program, run, saturating_layers
from flyweight.fixed_point._kernels import Convolution
from tests.fixed_point import nets


def qdq(
    middle: list[Any], path: Path, *, kind: type = np.uint8, steps: float = 0.05, size: int = 4, rank: int = 4
) -> Path:
    """Write input (1, 2, size, size) -> Q -> DQ 'x' -> ``middle``, ending in 'y' -> Q -> DQ -> output."""
    weights = [
        numpy_helper.from_array(np.float32(steps), "s"), numpy_helper.from_array(kind(3), "z"),
        numpy_helper.from_array(np.float32(1.0), "one"), numpy_helper.from_array(np.float32(-1.0), "minus_one"),
    ]  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["xq"], name="q0"),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["x"], name="dq0"), *middle,
        helper.make_node("QuantizeLinear", ["y", "s", "z"], ["yq"], name="q1"),
        helper.make_node("DequantizeLinear", ["yq", "s", "z"], ["output"], name="dq1"),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("input", TensorProto.FLOAT, (1, 2, size, size))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ("n",) * rank)], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_an_operator_without_an_integer_form_is_named(tmp_path: Path) -> None:
    path = qdq([helper.make_node("Erf", ["x"], ["y"], name="odd")], tmp_path / "a.onnx")
    with pytest.raises(GraphError, match="node 'odd': operator 'Erf' has no integer form"):
        read_program(path)


def test_a_float_operator_between_quantized_ones_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("Erf", ["x"], ["e"], name="odd"), helper.make_node("Add", ["e", "x"], ["y"], name="sum")]
    with pytest.raises(GraphError, match=r"node 'odd' \(Erf\) computes in float between .* node 'sum'"):
        read_program(qdq(nodes, tmp_path / "a.onnx"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": np.int16}, "it quantizes to int16"),
        ({"steps": 0.0}, "its scale is 0.0; it must be positive"),
        ({"steps": float("nan")}, "its scale is nan"),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = qdq([helper.make_node("Relu", ["x"], ["y"], name="r")], tmp_path / "a.onnx", **changes)
    with pytest.raises((GraphError, FileError), match=said if "int16" not in said else "int16|checks"):
        read_program(path)


def test_a_float_network_is_told_to_be_quantized_first(tmp_path: Path) -> None:
    onnx.save(nets.mobilenet_v1(), tmp_path / "float.onnx")
    with pytest.raises(GraphError, match="Quantize it to int8 first"):
        read_program(tmp_path / "float.onnx")


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = nets.quantized(nets.mobilenet_v1(), tmp_path / "whole.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for content in (b"", b"no protobuf", whole[: len(whole) // 2]):
        cut.write_bytes(content)
        with pytest.raises((FileError, GraphError)):
            read_program(cut)
    claims = onnx.load_from_string(whole)
    tensor = next(t for t in claims.graph.initializer if len(t.dims) == 4)
    tensor.dims[0] = 10**11
    onnx.save(claims, cut)
    with pytest.raises(FileError, match=r"checks|damaged"):
        read_program(cut)
    with pytest.raises(FileError, match="missing"):
        read_program(tmp_path / "missing.onnx")


def test_relu_and_clip_narrow_the_range_of_what_comes_before(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["m"], name="square"),
        helper.make_node("Clip", ["m", "minus_one", "one"], ["c"], name="clip"),
        helper.make_node("Relu", ["c"], ["y"], name="relu"),
    ]
    program = read_program(qdq(nodes, tmp_path / "a.onnx"))
    (step,) = program.steps
    inputs = {"xq": np.arange(32, dtype=np.uint8).reshape(1, 2, 4, 4)}
    out = run(program, inputs, "onnxruntime")["yq"]
    assert (step.name, out.min(), out.max()) == ("square", 3, 23)  # from 0 to 1.0, at 0.05 a step above 3


def test_moves_are_exact_and_stay_with_the_operator_before_them(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MaxPool", ["x"], ["m"], name="pool", kernel_shape=[1, 1]),
        helper.make_node("Transpose", ["m"], ["t"], name="turn", perm=[0, 2, 3, 1]),
        helper.make_node("Flatten", ["t"], ["y"], name="flat"),
    ]
    program = read_program(qdq(nodes, tmp_path / "a.onnx", rank=2))
    data = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    inputs = quantized_inputs(program, {"input": data})
    out = run(program, inputs, "shift")
    assert len(program.steps) == 1
    assert np.array_equal(out["yq"], inputs["xq"].transpose(0, 2, 3, 1).reshape(1, -1))
    assert against_onnxruntime(program, [{"input": data}], ("shift",))["shift"].outputs_differing == 0


def test_what_is_float_at_both_ends_stays_outside_and_is_named(tmp_path: Path) -> None:
    path = qdq([helper.make_node("Relu", ["x"], ["y"], name="relu")], tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.node.insert(0, helper.make_node("Erf", ["input"], ["h"], name="head"))
    model.graph.node[1].input[0] = "h"
    model.graph.node[-1].output[0] = "t"
    model.graph.node.append(helper.make_node("Softmax", ["t"], ["output"], name="tail"))
    onnx.save(model, path)
    program = read_program(path)
    assert (program.head, program.tail) == (("head",), ("tail",))
    data = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    exact = against_onnxruntime(program, [{"input": data}], ("onnxruntime",))["onnxruntime"]
    assert [step.differing for step in exact.steps] == [0]
    assert exact.outputs == 0  # the tail makes them


def test_a_leaky_relus_tenth_is_13_of_128_in_the_integer_modes(tmp_path: Path) -> None:
    path = qdq([helper.make_node("LeakyRelu", ["x"], ["y"], name="leaky", alpha=0.1)], tmp_path / "a.onnx", size=1)
    program = read_program(path)
    inputs = {"xq": np.array([0, 200], np.uint8).reshape(1, 2, 1, 1)}
    # -3 * 13 / 128 = -0.305: 3 above 0
    assert run(program, inputs, "shift")["yq"].ravel().tolist() == [3, 200]
    big = read_program(qdq([helper.make_node("LeakyRelu", ["x"], ["y"], name="l", alpha=0.5)], tmp_path / "b.onnx"))
    table = big.steps[0].kernel
    assert table.integer_entries[:4].tolist() == [2, 2, 3, 3]  # type: ignore[attr-defined]
    # -1.5, -1, -0.5, 0 half up: -1, -1, 0, 0


@pytest.mark.filterwarnings("ignore")
def test_weights_of_seven_bits_never_saturate_in_16_bits(tmp_path: Path) -> None:
    model = nets.mobilenet_v1()
    full = read_program(nets.quantized(model, tmp_path / "full.onnx"))
    seven = read_program(nets.quantized(model, tmp_path / "seven.onnx", reduce_range=True))
    dense = [s.name for s in full.steps if not isinstance(s.kernel, Convolution) or s.kernel.weight.shape[1] > 1]
    assert set(saturating_layers(full)) <= set(dense)
    assert len(saturating_layers(full)) >= 4
    assert saturating_layers(seven) == ()


def test_each_part_of_a_split_is_a_step_of_its_own(tmp_path: Path) -> None:
    program = read_program(qdq([helper.make_node("Split", ["x"], ["a", "y"], name="cut", axis=1)], tmp_path / "a.onnx"))
    inputs = {"xq": np.arange(32, dtype=np.uint8).reshape(1, 2, 4, 4)}
    assert np.array_equal(run(program, inputs, "shift")["yq"], inputs["xq"][:, 1:])
    data = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
    assert against_onnxruntime(program, [{"input": data}], ("onnxruntime",))["onnxruntime"].outputs_differing == 0
