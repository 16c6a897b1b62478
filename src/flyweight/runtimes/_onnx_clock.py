"""What ONNX Runtime's profiler adds to the time of each kernel, measured.

The profiler writes down the shapes of a kernel's inputs and outputs while the kernel's clock runs: 1.5 to 2.5 µs on
Zen 4, more for more inputs, where starting a kernel takes half a microsecond. On a network of many small kernels that
is a quarter of the time and more (ShuffleNetV2 0.5×: 24 %; MCUNet: 43 %). It also cuts times to whole microseconds.

Two networks of kernels that have next to nothing to do are run with and without the profiler: one of kernels with one
input, one of convolutions with three. Their sizes differ, so that what is cut off averages out as in real networks.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SIDES = (2, 4, 6, 8, 10, 12, 14, 16)  # pixels; one chain of LENGTH kernels each
LENGTH = 8
CHANNELS = 16
RUNS = 40


@dataclass(frozen=True)
class ProfilerCost:
    """Microseconds that the profiler adds to a kernel with one input, and for every further one."""

    one_input_us: float
    further_input_us: float

    def taken_off(self, measured_us: float, inputs: int) -> float:
        """Return a kernel's own time, starting it included; never below 0."""
        return max(measured_us - self.one_input_us - self.further_input_us * max(inputs - 1, 0), 0.0)


def profiler_cost(profiled: Callable[[bytes, int], tuple[list[float], list[float]]]) -> ProfilerCost:
    """Return the cost, from both networks.

    Args:
        profiled: runs a model so many times with and without the profiler; returns µs of every kernel, and µs of CPU
            of every run without.
    """
    one, three = (_excess_us(profiled, chains(convolutions)) for convolutions in (False, True))
    return ProfilerCost(max(one, 0.0), max((three - one) / 2, 0.0))


def _excess_us(profiled: Callable[[bytes, int], tuple[list[float], list[float]]], model: bytes) -> float:
    kernels_us, cpu_us = profiled(model, RUNS)
    return (sum(kernels_us) - statistics.median(cpu_us)) / len(kernels_us)


def chains(convolutions: bool, sides: Sequence[int] = SIDES) -> bytes:
    """Return a model of chains of kernels; chain ``i`` has an input ``input<i>`` of ``(1, CHANNELS, side, side)``."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, inputs, outputs = [], [], [], []
    for chain, side in enumerate(sides):
        value, shape = f"input{chain}", [1, CHANNELS, side, side]
        inputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))
        for place in range(LENGTH):
            name, read = f"{chain}_{place}", [value]
            if convolutions:
                weight = rng.standard_normal((CHANNELS, CHANNELS, 1, 1)).astype(np.float32) / CHANNELS
                weights += [numpy_helper.from_array(weight, f"weight{name}")]
                weights += [numpy_helper.from_array(np.zeros(CHANNELS, np.float32), f"bias{name}")]
                read = [value, f"weight{name}", f"bias{name}"]
            operator = "Conv" if convolutions else ("Sigmoid", "Tanh")[place % 2]
            value = f"value{name}"
            nodes.append(helper.make_node(operator, read, [value], name=f"node{name}"))
        outputs.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, shape))
    graph = helper.make_graph(nodes, "chains", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())
