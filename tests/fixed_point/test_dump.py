"""The dumped constants are enough: a network is run from them alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from flyweight.fixed_point import dump, quantized_inputs, read_program, run
from tests.fixed_point import nets


def array(folder: Path, said: dict[str, Any]) -> NDArray[Any]:
    """Read one array as its entry says."""
    return np.frombuffer((folder / said["file"]).read_bytes(), np.dtype(said["dtype"]).newbyteorder("<")).reshape(
        said["shape"]
    )


@pytest.mark.filterwarnings("ignore")
def test_a_layer_computed_from_the_files_alone_is_the_layer(tmp_path: Path) -> None:
    model = nets.mobilenet_v1()
    program = read_program(nets.quantized(model, tmp_path / "int8.onnx"))
    path = dump(program, tmp_path / "out")
    said = json.loads(path.read_text())
    tensors = run(program, quantized_inputs(program, nets.images(model, 1)[0]), "shift")
    assert [step["output"] for step in said["steps"]] == [step.output for step in program.steps]
    layer = next(s for s in said["steps"] if s["operator"] == "QLinearConv" and s["groups"] == 1 and s["index"] > 0)
    weight, bias = array(path.parent, layer["weight"]), array(path.parent, layer["bias"])
    assert weight.dtype == np.int8 and weight.shape[2:] == (1, 1)
    x = tensors[layer["inputs"][0]].astype(np.int64) - said["steps"][layer["index"] - 1]["zero_point"]
    total = np.einsum("kc,nchw->nkhw", weight[:, :, 0, 0].astype(np.int64), x) + bias[:, None, None]
    multiplier = array(path.parent, layer["factor"]["multiplier"]).astype(np.int64)
    shift = array(path.parent, layer["factor"]["shift"]).astype(np.int64)
    made = ((total * multiplier + (1 << (shift - 1))) >> shift) + layer["zero_point"]
    assert np.array_equal(np.clip(made, layer["target"]["low"], layer["target"]["high"]), tensors[layer["output"]])
    assert int(np.abs(total).max()).bit_length() + 1 <= layer["accumulator_bits"]


@pytest.mark.filterwarnings("ignore")
def test_tables_have_256_entries_and_every_file_is_named(tmp_path: Path) -> None:
    program = read_program(nets.quantized(nets.mixture(), tmp_path / "int8.onnx"))
    path = dump(program, tmp_path / "out")
    text = path.read_text()
    said = json.loads(text)
    swish = next(step for step in said["steps"] if step["operator"] == "HardSwish")
    assert swish["table"]["shape"] == [256] and (path.parent / swish["table"]["file"]).stat().st_size == 256
    assert all(file.name in text for file in path.parent.glob("*.bin"))
    scale = said["entries"][0]["scale"]
    assert np.uint32(int(scale["bits"], 16)).view(np.float32) == np.float32(scale["value"])
