"""Integers against ONNX Runtime's, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from flyweight.errors import DataError
from flyweight.fixed_point import MODES, against_onnxruntime, outputs_of, quantized_inputs, read_program, run
from tests.fixed_point import nets

NETS = {"mobilenet_v1": nets.mobilenet_v1, "mobilenet_v2": nets.mobilenet_v2, "mixture": nets.mixture}
SETTINGS: tuple[dict[str, Any], ...] = ({}, {"per_channel": False}, {"reduce_range": True})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("settings", SETTINGS, ids=["per_channel", "per_tensor", "reduce_range"])
@pytest.mark.parametrize("name", NETS)
def test_every_tensor_equals_onnxruntimes(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    model = NETS[name]()
    program = read_program(nets.quantized(model, tmp_path / "int8.onnx", **settings))
    found = against_onnxruntime(program, nets.images(model, 3), MODES)
    exact = found["onnxruntime"]
    assert exact.intact and exact.entries_differing == 0
    assert all(step.elements > 0 for step in exact.steps)  # none was skipped
    assert [step.name for step in exact.steps if step.differing or step.alone] == []
    assert exact.outputs == 3 * 10 and exact.outputs_differing == 0
    assert not (program.head or program.tail)


@pytest.mark.filterwarnings("ignore")
def test_with_multiplier_and_shift_a_step_is_off_by_one_at_most(tmp_path: Path) -> None:
    model = nets.mixture()
    program = read_program(nets.quantized(model, tmp_path / "int8.onnx"))
    found = against_onnxruntime(program, nets.images(model, 3), ("shift", "gemmlowp"))
    for comparison in found.values():
        assert max(step.alone_largest for step in comparison.steps) == 1
        assert sum(step.alone for step in comparison.steps) < 0.02 * sum(step.elements for step in comparison.steps)


@pytest.mark.filterwarnings("ignore")
def test_int8_activations_give_the_outputs_of_onnxruntime_which_makes_them_uint8(tmp_path: Path) -> None:
    model = nets.mobilenet_v2()
    program = read_program(nets.quantized(model, tmp_path / "int8.onnx", signed=True))
    assert {str(step.scale.dtype) for step in program.steps} == {"int8"}
    exact = against_onnxruntime(program, nets.images(model, 3), ("onnxruntime",))["onnxruntime"]
    assert exact.outputs == 30 and exact.outputs_differing == 0


@pytest.mark.filterwarnings("ignore")
def test_a_wrong_weight_shows_in_its_own_step_and_those_behind_it(tmp_path: Path) -> None:
    model = nets.mobilenet_v1()
    path = nets.quantized(model, tmp_path / "int8.onnx")
    program = read_program(path)
    changed = onnx.load(path)
    weight = next(t for t in changed.graph.initializer if len(t.dims) == 4 and t.dims[0] == 24 and t.dims[1] == 16)
    values = numpy_helper.to_array(weight).copy()
    values[3] = -values[3]
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(changed, path)  # ONNX Runtime reads the file again; the program was read before
    exact = against_onnxruntime(program, nets.images(model, 1), ("onnxruntime",))["onnxruntime"]
    wrong = [step.name for step in exact.steps if step.alone]
    assert len(wrong) == 1
    behind = [step.name for step in program.steps].index(wrong[0])
    assert all(step.differing == 0 for step in exact.steps[:behind])
    assert exact.steps[behind + 1].differing > 0


@pytest.mark.filterwarnings("ignore")
def test_nothing_but_integers_runs_between_inputs_and_outputs(tmp_path: Path) -> None:
    model = nets.mixture()
    program = read_program(nets.quantized(model, tmp_path / "int8.onnx"))
    inputs = quantized_inputs(program, nets.images(model, 1)[0])
    with np.errstate(all="raise"):
        for mode in MODES:
            tensors = run(program, inputs, mode)
            assert {value.dtype.kind for value in tensors.values()} == {"u"}
            assert [value.shape for value in outputs_of(program, tensors).values()] == [(1, 10)]


@pytest.mark.filterwarnings("ignore")
def test_inputs_that_cannot_be_quantized_are_refused(tmp_path: Path) -> None:
    model = nets.mobilenet_v1()
    program = read_program(nets.quantized(model, tmp_path / "int8.onnx"))
    image = nets.images(model, 1)[0]["input"]
    with pytest.raises(DataError, match="'input' is missing"):
        quantized_inputs(program, {})
    with pytest.raises(DataError, match="'input' is float64"):
        quantized_inputs(program, {"input": image.astype(np.float64)})
    image[0, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        quantized_inputs(program, {"input": image})
    with pytest.raises(DataError, match="ONNX Runtime can't take this input"):
        against_onnxruntime(program, [{"input": image[:, :, :5]}], ("shift",))
