"""All constants of a program as files for a hardware engineer: JSON, and raw little-endian arrays.

``network.json`` lists the entries, the steps in order, and the exits. Every array of a step is a ``.bin`` file of its
own, in C order, little-endian, whose name, type and shape stand in the step.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight import files
from flyweight.fixed_point._kernels import Table
from flyweight.fixed_point._read import Exit, Port, Program, Step
from flyweight.fixed_point._requantize import Factor
from flyweight.fixed_point._widths import width_of

RULE = "((accumulator * multiplier + (1 << (shift - 1))) >> shift) + zero_point, saturated to [low, high]"


def dump(program: Program, folder: Path) -> Path:
    """Write everything into ``folder``; return the path of ``network.json``.

    Raises:
        FileError: the folder can't be written to.
    """
    steps = [_step(index, step, folder) for index, step in enumerate(program.steps)]
    constants = {
        name: _array(values, folder, f"constant{index:03d}")
        for index, (name, values) in enumerate(sorted(program.constants.items()))
    }
    path = folder / "network.json"
    said = {
        "format": "flyweight fixed point 1", "byte_order": "little", "layout": "NCHW", "requantization": RULE,
        "entries": [_port(port) for port in program.entries], "steps": steps,
        "exits": [_port(port) for port in program.exits], "constants": constants,
        "float_head": list(program.head), "float_tail": list(program.tail),
    }  # fmt: skip
    files.write_json(path, said)
    return path


def _port(port: Port | Exit) -> dict[str, Any]:
    return {"float": port.tensor, "tensor": port.quantized, **_scale(port.scale)}


def _scale(scale: Any) -> dict[str, Any]:
    real = [_real(value) for value in scale.scale] if np.ndim(scale.scale) else _real(scale.scale)
    return {"scale": real, "zero_point": scale.zero_point, "dtype": str(scale.dtype)}


def _real(value: np.float32) -> dict[str, Any]:
    """Return a float32 as a decimal and as its 32 bits."""
    return {"value": float(value), "bits": f"0x{int(np.float32(value).view(np.uint32)):08x}"}


def _step(index: int, step: Step, folder: Path) -> dict[str, Any]:
    stem = f"{index:03d}_{re.sub(r'[^A-Za-z0-9_.-]', '_', step.name)[:60]}"
    width = width_of(step.kernel)
    said = {
        "index": index, "name": step.name, "operator": step.op, "inputs": list(step.inputs), "output": step.output,
        **_scale(step.scale), **_value(step.kernel, folder, stem),
    }  # fmt: skip
    if width is not None:
        said["accumulator_bits"] = width.bits
    return said


def _value(value: Any, folder: Path, stem: str) -> Any:
    """Return a kernel's constants as JSON; arrays go to files."""
    if isinstance(value, Table):
        return {"table": _array(value.integer_entries, folder, f"{stem}.table")}
    if isinstance(value, Factor):
        return {
            "multiplier": _array(value.multiplier.astype(np.int32), folder, f"{stem}.multiplier"),
            "shift": _array(value.shift.astype(np.int32), folder, f"{stem}.shift"),
        }
    if is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in ("how", "fixed", "ratios")]
        return {name: _value(getattr(value, name), folder, f"{stem}.{name}") for name in names}
    if isinstance(value, np.ndarray):
        return _array(_narrow(value), folder, stem)
    if isinstance(value, np.floating):
        return _real(np.float32(value))
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple):
        return [_value(item, folder, f"{stem}.{index}") for index, item in enumerate(value)]
    return value


def _narrow(value: NDArray[Any]) -> NDArray[Any]:
    """Return weights, held as int32, in the fewest bytes: int8 or int16."""
    for kind in (np.int8, np.int16):
        limits = np.iinfo(kind)
        if value.ndim > 1 and value.min(initial=0) >= limits.min and value.max(initial=0) <= limits.max:
            return value.astype(kind)
    return value


def _array(values: NDArray[Any], folder: Path, stem: str) -> dict[str, Any]:
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    name = f"{stem}.bin"
    files.write_bytes(folder / name, little.tobytes())
    return {"file": name, "dtype": str(values.dtype), "shape": list(values.shape)}
