"""read_onnx(path) -> Graph: an ONNX file as the same data that tracing gives, so that all that counts works on it.

The file is what a runtime gets: norms are folded into convolutions where the exporter did so, and some of PyTorch's
operators are several of ONNX's. MACs, parameters and receptive fields are those of the network all the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.errors import FileError, GraphError
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.onnx_graph._file import MAX_BYTES, Model, load_proto, read_model
from flyweight.onnx_graph._ops import Call, Step, steps_of

__all__ = ["MAX_BYTES", "load_proto", "read_onnx"]

_WEIGHT = re.compile(r"(.+)\.(?:weight|bias)\w*$")
_SCOPES = "pkg.torch.onnx.name_scopes"
_STATISTICS = {"BatchNormalization": (3, 4)}  # inputs that are running statistics, no parameters


def read_onnx(path: Path, resolution: int | None = None) -> Graph:
    """Return the graph of an ONNX file, batch 1.

    Args:
        resolution: height and width of image inputs, in px; needed where the file leaves them free.

    Raises:
        RuntimeMissingError: the ``onnx`` package is not installed.
        FileError: missing, too large, damaged, or its data lies outside its folder.
        GraphError: its sizes are free, or a shape can't be told.
    """
    model = read_model(path, resolution)
    try:
        return _Reader(model, _told_modules(path)).graph()
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise GraphError(f"{path}: an operator's settings are damaged ({error!r}). Export it again.") from error


def _told_modules(path: Path) -> Mapping[str, str]:
    """Return node name -> module path, where Flyweight exported the file and wrote it down beside it."""
    beside = path.with_name("artifact.json")
    if not beside.is_file():
        return {}
    try:
        told = files.read_json(beside, 2**24)
    except FileError:  # another program's file; what it would tell is a help, not needed
        return {}
    names = told.get("module_of") if isinstance(told, dict) else None
    return {str(k): str(v) for k, v in names.items()} if isinstance(names, dict) else {}


@dataclass
class _Reader:
    model: Model
    told: Mapping[str, str]
    nodes: list[Node] = field(default_factory=list)
    infos: dict[str, TensorInfo] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)  # activations that depend on no input
    taken: set[str] = field(default_factory=set)

    def graph(self) -> Graph:
        graph = self.model.proto.graph
        inputs = [v.name for v in graph.input if v.name not in self.model.weights]
        for name in inputs:
            self.infos[name] = self._shape_of(name, "the network's input")
        for index, node in enumerate(graph.node):
            if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
                self._read(node, index)
        outputs = tuple(v.name for v in graph.output if v.name in self.infos)
        read = {info.name for node in self.nodes for info in node.params}
        unused = [w for name, w in self.model.weights.items() if name not in read and self._is_parameter(w)]
        return Graph(tuple(inputs), outputs, tuple(self.nodes), tuple(self.infos.values()), tuple(unused))

    def _shape_of(self, name: str, what: str) -> TensorInfo:
        if name not in self.model.shapes:
            raise GraphError(
                f"{self.model.path}: the shape of '{name}', made by {what}, can't be told ahead of a run. Export it "
                "with fixed sizes (no dynamic axes), or cut the network before it."
            )
        return self.model.shapes[name]

    def _read(self, node: Any, index: int) -> None:
        standard = node.domain in ("", "ai.onnx")
        kind = node.op_type if standard else f"{node.domain}.{node.op_type}"
        outputs = [self._shape_of(name, f"operator {kind} '{node.name}'") for name in node.output if name]
        known = tuple(self.model.shapes.get(name) if name else None for name in node.input)
        if any(info is None for info, name in zip(known, node.input, strict=True) if name):
            known = tuple(self._shape_of(name, "an earlier operator") if name else None for name in node.input)
        values = tuple(self.model.values.get(name) for name in node.input)
        call = Call(node.op_type, _attributes(node), known, values, tuple(outputs))
        steps = steps_of(call) if standard and not _subgraphs(node) else None
        if steps is None:
            steps = [Step(f"onnx.{kind}", call.present(), {})]
        module = self._module_of(node, index)
        previous = ""
        for number, step in enumerate(steps):
            last = number == len(steps) - 1
            names = [name for name in node.output if name] if last else [self._unique(f"{node.output[0]}/{number}")]
            if not last:
                self.infos[names[0]] = replace(outputs[0], name=names[0], shape=step.shape or outputs[0].shape)
            else:
                self.infos.update({info.name: info for info in outputs})
            operands = [previous if i is None else node.input[i] for i in step.operands]
            self._add(node, step, operands, names, module)
            previous = names[0]

    def _add(self, node: Any, step: Step, operands: list[str], outputs: list[str], module: str) -> None:
        inputs = tuple(name for name in operands if name not in self.model.weights)
        own = [self._weight(name, node) for name in dict.fromkeys(operands) if name in self.model.weights]
        attrs = dict(step.attrs)
        attrs["operands"] = tuple(operands)
        if step.view and inputs:
            attrs["alias_of"] = (inputs[0], *("" for _ in outputs[1:]))
        if all(name in self.fixed for name in inputs):
            attrs["weight"] = True
            self.fixed.update(outputs)
        name = self._unique(node.name or f"{node.op_type}:{outputs[0]}")
        self.nodes.append(Node(name, step.op, inputs, tuple(outputs), module, tuple(own), tuple(attrs.items())))

    def _weight(self, name: str, node: Any) -> TensorInfo:
        info = self.model.weights[name]
        statistics = [node.input[i] for i in _STATISTICS.get(node.op_type, ()) if i < len(node.input)]
        if name in statistics:
            return replace(info, kind="buffer")
        return info if self._is_parameter(info) else replace(info, kind="constant")

    def _is_parameter(self, info: TensorInfo) -> bool:
        """A learned tensor; single numbers and whole ones wider than a byte are settings."""
        numeric = info.dtype.startswith(("float", "bfloat")) or info.dtype in ("int8", "uint8")
        return info.kind == "parameter" and numeric and info.elements > 1

    def _module_of(self, node: Any, index: int) -> str:
        """Return the module that a node comes from: as written down, by its weights, by its scope, or its own name."""
        if node.name in self.told:
            return self.told[node.name]
        for name in node.input:
            if name in self.model.weights and (match := _WEIGHT.match(name)):
                return match[1]
        scopes = next((p.value for p in node.metadata_props if p.key == _SCOPES), "")
        named = re.findall(r"'([^']*)'", scopes)[:-1]
        if named:
            return str(named[-1])
        if "/" in node.name:
            return _joined(node.name.strip("/").split("/")[:-1])
        return node.name or f"{node.op_type}_{index}"

    def _unique(self, name: str) -> str:
        chosen, count = name, 1
        while chosen in self.taken:
            chosen, count = f"{name}_{count}", count + 1
        self.taken.add(chosen)
        return chosen


def _joined(scopes: list[str]) -> str:
    """Return ``layer1.0.conv`` for ``layer1, layer1.0, conv``: torch's older exporter repeats what came before."""
    path = ""
    for scope in scopes:
        path = scope if not path or scope == path or scope.startswith(path + ".") else f"{path}.{scope}"
    return path


def _attributes(node: Any) -> dict[str, Any]:
    from onnx import AttributeProto, helper

    kinds = (
        AttributeProto.INT,
        AttributeProto.INTS,
        AttributeProto.FLOAT,
        AttributeProto.FLOATS,
        AttributeProto.STRING,
    )
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.type in kinds}


def _subgraphs(node: Any) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)
