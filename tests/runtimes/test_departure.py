"""An artifact that is wrong in one layer: the export fails, names that layer, and leaves no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flyweight.contracts import Candidate, Intermediate
from flyweight.errors import ParityError
from flyweight.runtimes import _pnnx
from flyweight.runtimes import onnxruntime as onnx_module
from flyweight.runtimes._departure import Value, first_departing, torch_values
from flyweight.runtimes._onnx_file import onnx_file
from flyweight.runtimes.ncnn import Ncnn
from flyweight.runtimes.onnxruntime import OnnxRuntime
from tests.runtimes import nets


def array(*numbers: float) -> Any:
    return np.array(numbers, np.float32)


def made(name: str, reads: str, *numbers: float, module: str | None = None) -> Intermediate:
    return Intermediate(name, "Op", tuple(reads.split()), array(*numbers), module)


VALUES = [Value("a", "conv", array(1, 2, 3)), Value("b", "conv", array(4, 5, 6)), Value("c", "add", array(5, 7, 9))]


def test_nothing_departs_where_the_last_value_is_found() -> None:
    blobs = [made("x", "input", 1, 2, 3), made("half", "x", 0.5, 1, 1.5), made("y", "half", 4, 5, 6)]
    assert first_departing(VALUES, blobs, 1e-3) is None  # PyTorch has no 'half', but what follows is right again


def test_the_first_behind_which_nothing_is_found_departs() -> None:
    blobs = [made("x", "input", 1, 2, 3), made("y", "x", 4, 5, 9), made("z", "x y", 5, 7, 12)]
    found = first_departing(VALUES, blobs, 1e-3)
    assert found is not None
    assert (found.node, found.module) == ("y", "b")  # the first value of its size behind 'a'
    assert found.difference == pytest.approx(3 / 6)


def test_in_parallel_branches_the_wrong_one_departs() -> None:
    blobs = [made("y", "input", 4, 5, 9), made("x", "input", 1, 2, 3), made("z", "x y", 5, 7, 12, module="c")]
    found = first_departing(VALUES, blobs, 1e-3)
    assert found is not None and found.node == "y"


def test_a_value_that_is_not_a_number_departs() -> None:
    found = first_departing(VALUES, [made("x", "input", 1, 2, 3), made("y", "x", 4, np.nan, 6)], 1e-3)
    assert found is not None and found.node == "y"


def test_values_of_pytorch_know_their_modules_and_hooks_are_gone() -> None:
    candidate = nets.small()
    modules = [value.module for value in torch_values(candidate, nets.images(1))]
    assert modules.index("stem.1") < modules.index("depthwise") < modules.index("classify")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in candidate.module.modules())


def wrong_onnx(candidate: Candidate, half: bool) -> Any:
    """Return the file with the pointwise layer's weights made larger by a tenth."""
    import onnx

    data, module_of, notes = onnx_file(candidate, half)
    model = onnx.load_from_string(data)
    node = next(node for node in model.graph.node if module_of.get(node.name) == "pointwise" and node.op_type == "Conv")
    tensor = next(each for each in model.graph.initializer if each.name == node.input[1])
    changed = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(1.1), tensor.name)
    tensor.CopyFrom(changed)
    return model.SerializeToString(), module_of, notes


def test_onnx_file_that_is_wrong_in_one_layer_is_not_shipped_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_module, "onnx_file", wrong_onnx)
    with pytest.raises(
        ParityError, match=r"differs from PyTorch.*The first to depart is layer 'pointwise' \('.*', oper"
    ):
        OnnxRuntime().export(nets.small(), tmp_path / "out")
    assert list(tmp_path.rglob("*.onnx")) == []


def test_ncnn_file_that_is_wrong_in_one_layer_is_not_shipped_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = _pnnx.to_ncnn

    def wrong(candidate: Candidate) -> tuple[str, bytes]:
        """Take the wrong stride's partner: one leaky ReLU slope more in the pointwise layer than PyTorch has."""
        param, weights = real(candidate)
        lines = param.splitlines()
        place = next(i for i, line in enumerate(lines) if " 0=32 " in line and line.startswith("Convolution"))
        lines[place] = lines[place].replace(" 9=1", " 9=2 -23310=1,0.5")
        return "\n".join(lines) + "\n", weights

    monkeypatch.setattr(_pnnx, "to_ncnn", wrong)
    with pytest.raises(ParityError, match=r"The first to depart is layer 'pointwise' \('\d+', operator Convolution\)"):
        Ncnn().export(nets.small(), tmp_path / "out")
    assert list(tmp_path.rglob("*.param")) == []
