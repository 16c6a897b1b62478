"""Running a program: quantize at its entries, then integers, then dequantize at its exits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.errors import DataError
from flyweight.fixed_point import _tables
from flyweight.fixed_point._read import Program
from flyweight.fixed_point._requantize import Mode

Tensors = dict[str, NDArray[Any]]


def quantized_inputs(program: Program, floats: Mapping[str, NDArray[np.float32]]) -> Tensors:
    """Return the 8-bit tensors of all entries; ``floats`` by the entries' tensor names.

    Raises:
        DataError: one is missing, not float32, or not finite.
    """
    found: Tensors = {}
    for port in program.entries:
        value = floats.get(port.tensor)
        if value is None or value.dtype != np.float32:
            have = "missing" if value is None else str(value.dtype)
            raise DataError(f"{program.path}: input '{port.tensor}' is {have}; float32 is needed.")
        if not np.isfinite(value).all():
            raise DataError(f"{program.path}: input '{port.tensor}' holds NaN or infinity, which have no 8-bit value.")
        found[port.quantized] = _tables.quantize(value, port.scale.target())
    return found


def run(
    program: Program, inputs: Mapping[str, NDArray[Any]], mode: Mode, given: Mapping[str, NDArray[Any]] | None = None
) -> Tensors:
    """Run all steps in integers; return every 8-bit tensor by name.

    ``inputs``: the entries' 8-bit tensors. ``given``: if set, each step reads these in place of what the steps before
    it computed, so that each one is judged alone.

    Raises:
        DataError: an input does not have the shape that a step needs.
    """
    tensors: Tensors = {**program.constants, **inputs}
    for step in program.steps:
        source = tensors if given is None else {**program.constants, **given}
        try:
            tensors[step.output] = step.kernel.run([source[name] for name in step.inputs], mode)
        except (ValueError, IndexError) as error:
            shapes = ", ".join(str(source[name].shape) for name in step.inputs)
            raise DataError(f"{program.path}: node '{step.name}' can't take inputs of {shapes} ({error}).") from error
    return tensors


def outputs_of(program: Program, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """Return the exits' float32 tensors."""
    return {port.tensor: _tables.dequantize(tensors[port.quantized], port.scale) for port in program.exits}
