"""A float ONNX graph as a PyTorch module that rounds exactly where the quantized file will."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flyweight.errors import ExportError
from flyweight.qat import _grid
from flyweight.qat._grid import WeightGrid
from flyweight.qat._operators import Operator, operator
from flyweight.quantize._fit import Weights
from flyweight.quantize._observers import Scale
from flyweight.quantize._plan import Layer, Plan, constants
from flyweight.quantize._write import write


@dataclass(frozen=True)
class _Node:
    name: str
    run: Operator
    settings: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class FakeQuantized(nn.Module):
    """A float ONNX model whose tensors and weights are rounded to the grids of the int8 file that ``file`` writes.

    Parameters: weights and biases of all layers; the logarithm of every activation's step and, with learned ranges, of
    every weight's. Zero points stay. The graph has no norms: they are folded, their statistics frozen.

    Args:
        model: float ``ModelProto``, norms folded, one input and one output. scales: by the plan's points.
        learned: steps of activations and weights are parameters. Else activations keep theirs, and weights'
            reach their largest weight at any time.
    """

    def __init__(
        self, model: Any, plan: Plan, scales: Mapping[str, Scale], grid: WeightGrid, learned: bool = True
    ) -> None:
        super().__init__()
        self.model, self.plan, self.grid, self.learned = model, plan, grid, learned
        self.quantizing = True
        self.zeros = {name: scale.zero for name, scale in scales.items()}
        self.layers: dict[int, Layer] = {layer.index: layer for layer in plan.layers}
        self.weights, self.steps, self.weight_steps = nn.ParameterList(), nn.ParameterList(), nn.ParameterList()
        self._read(model)
        self._add_steps(scales)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output for a batch ``(n, C, H, W)``."""
        values: dict[str, Any] = {**self._constants, self._fed: self._rounded(self._fed, x)}
        values |= {name: self.weights[place] for name, place in self._places.items()}
        for index, node in enumerate(self._nodes):
            given = [values[name] if name else None for name in node.inputs]
            if self.quantizing and index in self.layers:
                given[1:] = self._layer(self.layers[index], node, given[1:])
            made = node.run(given, node.settings)
            for name, value in zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False):
                values[name] = self._rounded(name, value) if name in self._step_places else value
            for name in self._last_use[index]:
                del values[name]
        out: Tensor = values[self._out]
        return out

    def scales(self) -> dict[str, Scale]:
        """Return every point's scale as it is now."""
        own = {name: Scale(float(self._step(name).detach().exp()), self.zeros[name]) for name in self._step_places}
        return {name: own[self._origin(name)] for name in self.plan.points}

    def file(self) -> Any:
        """Return the quantized ``ModelProto``: these weights, these ranges."""
        scales = self.scales()
        found: dict[str, Weights] = {}
        with torch.no_grad():
            for layer in self.plan.layers:
                value = self.weights[self._places[layer.weight]].detach()
                bias = self.weights[self._places[layer.bias]].detach() if layer.bias else value.new_zeros(len(value))
                source = self.model.graph.node[layer.index].input[0]
                steps = self._weight_steps(layer, value, bias, torch.tensor(scales[source].step))
                ratio = value / steps.reshape(-1, *[1] * (value.dim() - 1))
                integers = ratio.round().clamp(-self.grid.levels, self.grid.levels).to(torch.int8)
                found[layer.weight] = Weights(integers.numpy(), steps.numpy(), bias.numpy())
        return write(self.float_model(), self.plan, scales, found)

    def float_model(self) -> Any:
        """Return the float model with the weights as they are now."""
        from onnx import ModelProto, numpy_helper

        made = ModelProto()
        made.CopyFrom(self.model)
        for item in made.graph.initializer:
            if item.name in self._places:
                value = self.weights[self._places[item.name]].detach().numpy()
                item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), item.name))
        return made

    def extra_repr(self) -> str:
        """Say what is rounded, and how."""
        kind = "channel" if self.grid.per_channel else "tensor"
        ranges = "learned" if self.learned else "fixed"
        return (
            f"{len(self.steps)} activations uint8, {len(self.layers)} layers int{self.grid.bits} per {kind}, {ranges}"
        )

    # ---- reading

    def _read(self, model: Any) -> None:
        from onnx import helper, numpy_helper

        graph = model.graph
        if len(graph.input) != 1 or len(graph.output) != 1:
            raise ExportError("training with int8 in mind needs a network of one input and one output.")
        self._fed, self._out = graph.input[0].name, graph.output[0].name
        weighted = _trained(model)
        self._places: dict[str, int] = {}
        self._constants: dict[str, Any] = {}
        for name, array in constants(model).items():
            if name in weighted:
                self._places[name] = len(self.weights)
                self.weights.append(nn.Parameter(torch.from_numpy(array.copy())))
            else:
                self._constants[name] = torch.from_numpy(array.copy())
        self._nodes: list[_Node] = []
        for node in graph.node:
            settings = {item.name: helper.get_attribute_value(item) for item in node.attribute}
            if node.op_type == "Constant":
                self._constants[node.output[0]] = torch.from_numpy(numpy_helper.to_array(settings["value"]).copy())
            inputs, outputs = tuple(node.input), tuple(node.output)
            run = _nothing if node.op_type == "Constant" else operator(node.op_type, node.name)
            self._nodes.append(_Node(node.name, run, settings, inputs, () if run is _nothing else outputs))
        last: dict[str, int] = {name: i for i, node in enumerate(self._nodes) for name in (*node.inputs, *node.outputs)}
        kept = {"", self._out, *self._constants, *self._places}
        self._last_use = [[n for n, at in last.items() if at == i and n not in kept] for i in range(len(self._nodes))]

    def _add_steps(self, scales: Mapping[str, Scale]) -> None:
        self._step_places: dict[str, int] = {}
        for name in self.plan.points:
            if name in self.plan.same:
                continue
            self._step_places[name] = len(self.steps)
            step = nn.Parameter(torch.tensor(math.log(scales[name].step)), requires_grad=self.learned)
            self.steps.append(step)
        for layer in self.plan.layers if self.learned else ():
            value = self.weights[self._places[layer.weight]]
            steps = self.grid.steps(value)
            self.weight_steps.append(nn.Parameter((steps if self.grid.per_channel else steps[:1]).log()))

    # ---- rounding

    def _origin(self, name: str) -> str:
        while name in self.plan.same:
            name = self.plan.same[name]
        return name

    def _step(self, name: str) -> Tensor:
        """Return the logarithm of a point's step; its range never reaches beyond the activation it stands for."""
        low, high = self.plan.points[name]
        zero = self.zeros[name]
        step: Tensor = self.steps[self._step_places[name]]
        limits = [-low / zero if zero else math.inf, high / (_grid.LEVELS - zero) if zero < _grid.LEVELS else math.inf]
        limit = min((item for item in limits if item > 0), default=math.inf)
        return step if limit == math.inf else step.clamp(max=math.log(limit))

    def _rounded(self, name: str, value: Tensor) -> Tensor:
        if not self.quantizing or name not in self._step_places:
            return value
        return _grid.activation(value, self._step(name), self.zeros[name])

    def _layer(self, layer: Layer, node: _Node, given: list[Any]) -> list[Any]:
        value, bias = given[0], given[1] if len(given) > 1 else None
        step = self._step(self._origin(node.inputs[0])).detach().exp()
        steps = self._weight_steps(layer, value, bias, step)
        rounded = [_grid.weight(value, steps, self.grid.levels)]
        return rounded if bias is None else [*rounded, _grid.bias(bias, steps.detach() * step)]

    def _weight_steps(self, layer: Layer, value: Tensor, bias: Tensor | None, step: Tensor) -> Tensor:
        if self.learned:
            at = self.plan.layers.index(layer)
            steps = self.weight_steps[at].exp().expand(len(value))
        else:
            steps = self.grid.steps(value)
        return steps if bias is None else torch.maximum(steps, bias.detach().abs() / (step * _grid.BIAS_STEPS))


def _nothing(inputs: Any, settings: Any) -> tuple[()]:
    return ()


def _trained(model: Any) -> frozenset[str]:
    """Return the constants that are weights and biases of layers."""
    layers = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    known = {item.name for item in model.graph.initializer}
    return frozenset(name for node in model.graph.node if node.op_type in layers for name in node.input[1:]) & known
