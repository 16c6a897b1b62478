"""The quantized model as ONNX: QuantizeLinear and DequantizeLinear in pairs that runtimes fuse into integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.quantize._fit import Weights
from flyweight.quantize._observers import LEVELS, Scale
from flyweight.quantize._plan import Layer, Plan

# ONNX Runtime (1.32, WeightBiasQuantization) quantizes the weights of these, per tensor, where it finds them float
# between a DequantizeLinear and a QuantizeLinear. A clip to the range that the tensor has anyway keeps it from that.
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm"})
Array = NDArray[Any]


def steps_of(weight: Array, bias: Array, input_step: float) -> Array:
    """Return symmetric steps per output channel; never so small that the int32 bias would overflow."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    least = np.abs(bias) / (input_step * 2.0**30)
    steps: Array = np.maximum(np.maximum(largest / 127, least), 1e-12).astype(np.float32)
    return steps


def write(model: Any, plan: Plan, scales: Mapping[str, Scale], weights: Mapping[str, Weights]) -> Any:
    """Return a new model: what the plan names is quantized, input and output stay float.

    Args:
        weights: by the layer's weight name.
    """
    import onnx

    writer = _Writer(plan, scales, {})
    made = onnx.ModelProto()
    made.CopyFrom(model)
    fed = {item.name for item in model.graph.input}
    nodes: list[Any] = []
    for name in sorted(fed & plan.points.keys()):
        nodes += writer.pair(name, name, f"{name}/dequantized")
    layers = {layer.index: layer for layer in plan.layers}
    activations = {before: model.graph.node[index].output[0] for index, before in plan.absorbed.items()}
    for index, node in enumerate(model.graph.node):
        if index in plan.absorbed:
            continue
        new = onnx.NodeProto()
        new.CopyFrom(node)
        for position, name in enumerate(new.input):
            if name in fed & plan.points.keys():
                new.input[position] = f"{name}/dequantized"
        if index in layers:
            nodes += writer.layer(new, layers[index], scales[node.input[0]], weights[layers[index].weight])
        elif node.op_type in WEIGHTED and node.input[0] in plan.points:
            nodes.append(writer.clip(node.input[0], new))
        nodes.append(new)
        for position, name in enumerate(node.output):
            result = activations.get(index, name)
            if result in plan.points:
                new.output[position] = f"{result}/float"
                nodes += writer.pair(result, f"{result}/float", result)
    used = {name for node in nodes for name in node.input}
    kept = [item for item in made.graph.initializer if item.name in used]
    for field in ("node", "initializer", "value_info"):
        made.graph.ClearField(field)
    made.graph.node.extend(nodes)
    made.graph.initializer.extend([*kept, *writer.tensors(onnx)])
    return made


@dataclass
class _Writer:
    plan: Plan
    scales: Mapping[str, Scale]
    arrays: dict[str, Array]

    def pair(self, point: str, source: str, result: str) -> list[Any]:
        """Return the nodes that quantize ``source`` with a point's scale, and give ``result`` back in float."""
        from onnx import helper

        scale = self.scales[point]
        step, zero = f"{point}/step", f"{point}/zero"
        self.arrays[step] = np.array(scale.step, np.float32)
        self.arrays[zero] = np.array(scale.zero, np.uint8)
        integers = f"{point}/integers"
        return [
            helper.make_node("QuantizeLinear", [source, step, zero], [integers], name=f"{point}/quantize"),
            helper.make_node("DequantizeLinear", [integers, step, zero], [result], name=f"{point}/dequantize"),
        ]

    def clip(self, point: str, node: Any) -> Any:
        """Return a node that clips the first input of a float layer's node to its point's range, and have it read."""
        from onnx import helper

        scale = self.scales[point]
        ends = {f"{point}/low": -scale.zero, f"{point}/high": LEVELS - scale.zero}
        self.arrays |= {name: np.array(np.float32(scale.step) * np.float32(end)) for name, end in ends.items()}
        source, node.input[0] = node.input[0], f"{node.name}/input"
        return helper.make_node("Clip", [source, *ends], [node.input[0]], name=f"{node.name}/clip")

    def layer(self, node: Any, layer: Layer, scale: Scale, weights: Weights) -> list[Any]:
        """Point a layer's node at its integers; return the nodes that give them back in float."""
        from onnx import helper

        steps = (np.float32(scale.step) * weights.steps).astype(np.float32)
        limit = 2**31 - 1
        bias = np.clip(np.rint(weights.bias / steps.astype(np.float64)), -limit, limit).astype(np.int32)
        bias_name = layer.bias or f"{node.name}/bias"
        found = []
        for name, values, step in ((layer.weight, weights.integers, weights.steps), (bias_name, bias, steps)):
            parts = [f"{node.name}/{name}/{part}" for part in ("integers", "step", "zero")]
            self.arrays |= dict(zip(parts, (values, step, np.zeros(len(step), values.dtype)), strict=True))
            result = f"{node.name}/{name}/dequantized"
            found.append(helper.make_node("DequantizeLinear", parts, [result], name=result, axis=0))
        del node.input[1:]
        node.input.extend([found[0].output[0], found[1].output[0]])
        return found

    def tensors(self, onnx: Any) -> list[Any]:
        """Return all new constants as initializers."""
        return [
            onnx.numpy_helper.from_array(np.ascontiguousarray(a) if a.ndim else a, n) for n, a in self.arrays.items()
        ]
