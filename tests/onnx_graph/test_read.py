"""ONNX files: what their operators cost, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from flyweight.cli import main
from flyweight.errors import FileError, FlyweightError, GraphError, UnknownOperatorError
from flyweight.field import receptive_fields
from flyweight.memory import peak_activation
from flyweight.onnx_graph import read_onnx
from flyweight.profile import profile


def weight(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def whole(name: str, *values: int) -> Any:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def model(nodes: list[Any], weights: list[Any], shape: tuple[Any, ...] = (1, 4, 16, 16), output: str = "y") -> Any:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)], weights,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return onnx.shape_inference.infer_shapes(made) if all(isinstance(n, int) for n in shape) else _ranked(made, shape)


def _ranked(made: Any, shape: tuple[Any, ...]) -> Any:
    """A checker wants the output's rank, which inference gives without sizes too."""
    return onnx.shape_inference.infer_shapes(made)


def written(folder: Path, made: Any) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def block() -> Any:
    """Convolution, activation, depthwise convolution, shortcut, pooling, classifier."""
    return model(
        [
            helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"], "conv_a", pads=[1, 1, 1, 1], strides=[2, 2]),
            helper.make_node("Relu", ["a"], ["r"], "relu"),
            helper.make_node("Conv", ["r", "b.weight"], ["b"], "conv_b", pads=[1, 1, 1, 1], group=6),
            helper.make_node("Add", ["b", "r"], ["s"], "add"),
            helper.make_node("ReduceMean", ["s", "axes"], ["m"], "mean", keepdims=0),
            helper.make_node("Gemm", ["m", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
        ],
        [
            weight("a.weight", 6, 4, 3, 3), weight("a.bias", 6), weight("b.weight", 6, 1, 3, 3), whole("axes", 2, 3),
            weight("fc.weight", 5, 6), weight("fc.bias", 5),
        ],
    )  # fmt: skip


def test_counts_are_those_of_the_same_layers_in_pytorch(tmp_path: Path) -> None:
    found = profile(read_onnx(written(tmp_path, block())), strict=True)
    assert [row.op for row in found.rows] == ["conv", "relu", "conv", "add", "mean", "linear"]
    assert [row.macs for row in found.rows] == [8 * 8 * 6 * 4 * 9, 0, 8 * 8 * 6 * 1 * 9, 0, 0, 6 * 5]
    assert [row.params for row in found.rows] == [6 * 4 * 9 + 6, 0, 6 * 9, 0, 0, 6 * 5 + 5]
    assert [row.bias_adds for row in found.rows] == [8 * 8 * 6, 0, 0, 0, 0, 5]
    assert [row.elementwise for row in found.rows] == [0, 8 * 8 * 6, 0, 8 * 8 * 6, 8 * 8 * 6, 0]
    assert [row.module for row in found.rows] == ["a", "relu", "b", "add", "mean", "fc"]


def test_memory_and_receptive_field_come_from_the_same_graph(tmp_path: Path) -> None:
    graph = read_onnx(written(tmp_path, block()))
    image, half = 4 * 16 * 16 * 4, 6 * 8 * 8 * 4
    assert peak_activation(graph).bytes == max(image + half, 3 * half)
    field = receptive_fields(graph)["s"]
    assert field is not None and (field.size_px, field.stride_px) == ((3 + 2 * 2, 3 + 2 * 2), (2, 2))


@pytest.mark.parametrize(
    ("nodes", "weights", "macs"),
    [
        ([("ConvTranspose", ["x", "w"], {"strides": [2, 2]})], [weight("w", 4, 3, 2, 2)], 16 * 16 * 4 * 3 * 4),
        ([("ConvTranspose", ["x", "w"], {"group": 2})], [weight("w", 4, 3, 2, 2)], 16 * 16 * 4 * 3 * 4),
        ([("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER"})], [weight("w", 3, 4, 3, 3)], 16 * 16 * 3 * 36),
        ([("Conv", ["x", "w"], {"dilations": [2, 2]})], [weight("w", 3, 4, 3, 3)], 12 * 12 * 3 * 36),
        ([("MatMul", ["x", "w"], {})], [weight("w", 16, 7)], 4 * 16 * 7 * 16),
        ([("Flatten", ["x"], {}), ("Gemm", ["t0", "w"], {})], [weight("w", 1024, 7)], 1024 * 7),
        ([("Flatten", ["x"], {}), ("Gemm", ["t0", "w", "b"], {"transA": 1})], [weight("w", 1, 7), weight("b", 7)],
         1024 * 7),
        ([("Slice", ["x", "from", "to", "axes"], {}), ("Conv", ["t0", "w"], {})],
         [whole("from", 0, -8), whole("to", 99, 99), whole("axes", 3, 2), weight("w", 2, 4, 1, 1)], 8 * 16 * 2 * 4),
    ],
    ids=["transposed", "grouped", "auto-pad", "dilated", "matmul", "gemm", "transposed-gemm", "slice"],
)  # fmt: skip
def test_every_form_of_a_product_counts(tmp_path: Path, nodes: list[Any], weights: list[Any], macs: int) -> None:
    last = len(nodes) - 1
    made = [
        helper.make_node(op, inputs, ["y" if i == last else f"t{i}"], f"n{i}", **attrs)
        for i, (op, inputs, attrs) in enumerate(nodes)
    ]
    assert profile(read_onnx(written(tmp_path, model(made, weights))), strict=True).macs == macs


def test_an_operator_without_a_rule_is_a_row_and_an_error_under_strict(tmp_path: Path) -> None:
    path = written(
        tmp_path, model([helper.make_node("Einsum", ["x", "x"], ["y"], "e", equation="abcd,abce->abde")], [])
    )
    (row,) = profile(read_onnx(path)).rows
    assert (row.op, row.macs, row.module) == ("onnx.Einsum", None, "e")
    with pytest.raises(UnknownOperatorError, match=r"layer 'e': no formula for operator 'onnx.Einsum'"):
        profile(read_onnx(path), strict=True)


def test_free_sizes_are_the_batch_of_one_and_the_resolution_asked_for(tmp_path: Path) -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], "c")
    path = written(tmp_path, model([conv], [weight("w", 2, 4, 1, 1)], ("batch", 4, "height", "width")))
    assert profile(read_onnx(path, 10)).macs == 10 * 10 * 4 * 2
    with pytest.raises(GraphError, match=r"the size 'height' of input 'x' is free. Name it with --resolution"):
        read_onnx(path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "", "folder/../../secret", "link"])
def test_data_outside_the_files_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(96))
    folder = tmp_path / "nets"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(FileError, match=r"tensor 'w' has its data in '.*', outside the file's folder"):
        read_onnx(written(folder, external(location)))


def external(location: str, length: int = 96) -> Any:
    made = model([helper.make_node("Conv", ["x", "w"], ["y"], "c")], [weight("w", 6, 4, 1, 1)])
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return made


def test_data_beside_the_file_is_counted_without_being_read_and_its_size_is_checked(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(96))
    assert profile(read_onnx(written(tmp_path, external("weights")))).params == 6 * 4
    with pytest.raises(FileError, match=r"weights: 96 bytes, but tensor 'w' of net.onnx asks for 97 at 0"):
        read_onnx(written(tmp_path, external("weights", 97)))
    with pytest.raises(FileError, match="missing: can't read: it does not exist"):
        read_onnx(written(tmp_path, external("missing")))


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x08\x09", bytes(1000)], ids=["empty", "text", "cut", "zeros"])
def test_what_is_no_onnx_file_is_refused_by_the_command(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    done = CliRunner().invoke(main, ["profile", str(path)])
    assert done.exit_code == 2
    assert f"{path}: no ONNX file, or" in done.output


WHOLE = block().SerializeToString()


@given(cut=st.integers(0, len(WHOLE)), at=st.integers(0, len(WHOLE) - 1), byte=st.integers(0, 255))
def test_a_damaged_file_gives_counts_or_an_error_that_names_it(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    for data in (WHOLE[:cut], WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :]):
        path.write_bytes(data)
        try:
            profile(read_onnx(path))
        except FlyweightError as error:
            assert str(error)


def test_the_command_profiles_and_compares_files(tmp_path: Path) -> None:
    path = str(written(tmp_path, block()))
    done = CliRunner().invoke(main, ["profile", path, "--all"])
    assert (done.exit_code, "17.3 k MACs" in done.output, "not measured: times" in done.output) == (0, True, True)
    alike = CliRunner().invoke(main, ["compare", path, path])
    assert (alike.exit_code, "6 counted alike" in alike.output) == (0, True)
    for refused in (["profile", path, "--classes", "3"], ["compare", path, path, "--time"], ["health", path]):
        assert CliRunner().invoke(main, refused).exit_code == 2
