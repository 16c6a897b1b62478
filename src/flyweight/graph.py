"""The traced network as immutable data: no torch, no weights.

Nodes stand in execution order. Everything that ran is a node: functional calls like modules. A tensor is known by its
name; the graph's ``tensors`` gives its shape. Parameters and buffers are tensors too, listed apart on each node.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal, TypeAlias

from flyweight.errors import GraphError

Kind: TypeAlias = Literal["activation", "parameter", "buffer", "constant"]
AttrValue: TypeAlias = "bool | int | float | str | tuple[AttrValue, ...] | None"

DTYPE_BYTES = MappingProxyType(
    {
        "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16,
        "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A tensor's name, shape, dtype (numpy's names) and kind.

    ``parameter``: an ``nn.Parameter``, frozen ones too. ``buffer``: registered, e.g. running statistics.
    ``constant``: any
    other tensor that the network brings along.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    kind: Kind = "activation"

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes when stored densely."""
        if self.dtype not in DTYPE_BYTES:
            raise GraphError(f"tensor '{self.name}': dtype '{self.dtype}' has no known size.")
        return self.elements * DTYPE_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator that ran.

    Attributes:
        name: unique in the graph.
        op: the operator's normalized name, e.g. ``conv``, ``linear``, ``batch_norm``, ``add``; ``aten.*`` where
        Flyweight has
            no name for it.
        inputs, outputs: names of activations.
        module: dotted path of the innermost module it ran in; '' is the root.
        params: parameters and buffers that it read, by their qualified names.
        attrs: the operator's settings, e.g. ``(("groups", 1), ("stride", (2, 2)))``. Five names are Flyweight's own:
        ``aten``
            (the operator's own name), ``operands`` (see the property), ``alias_of`` (one name per output: the tensor
            whose
            storage it shares, '' for a new one), ``inplace`` and ``weight`` (it depends on no input).
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    module: str = ""
    params: tuple[TensorInfo, ...] = ()
    attrs: tuple[tuple[str, AttrValue], ...] = ()

    def attr(self, name: str, default: AttrValue = None) -> AttrValue:
        """Return one setting."""
        return dict(self.attrs).get(name, default)

    @property
    def operands(self) -> tuple[str, ...]:
        """Names of all tensors that it read, activations and parameters, in the operator's own order."""
        own = self.attr("operands")
        return own if isinstance(own, tuple) else (*self.inputs, *(p.name for p in self.params))  # type: ignore[return-value]

    @property
    def aliases(self) -> Mapping[str, str]:
        """From each output that shares storage with an older tensor (a view, or written in place) to that tensor."""
        own = self.attr("alias_of")
        pairs = zip(self.outputs, own, strict=True) if isinstance(own, tuple) else ()
        return {output: str(name) for output, name in pairs if name}


@dataclass(frozen=True)
class Graph:
    """A traced network: its activations, and its nodes in execution order.

    Attributes:
        unused: parameters and buffers that the module has, but that nothing read.
        held: (activation, index of a node): the network's own code refers to it until that node ran (as an argument, a
        local variable), so eager PyTorch keeps it.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensor_list: tuple[TensorInfo, ...]
    unused: tuple[TensorInfo, ...] = ()
    held: tuple[tuple[str, int], ...] = ()

    @cached_property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every activation by name."""
        return MappingProxyType({tensor.name: tensor for tensor in self.tensor_list})

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that made each activation; the graph's inputs have none."""
        return MappingProxyType({out: node for node in self.nodes for out in node.outputs})

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each activation, in order."""
        readers: dict[str, list[Node]] = {tensor.name: [] for tensor in self.tensor_list}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return MappingProxyType({name: tuple(nodes) for name, nodes in readers.items()})

    @cached_property
    def params(self) -> Mapping[str, TensorInfo]:
        """Every parameter and buffer that ran, once, by its qualified name."""
        return MappingProxyType({p.name: p for node in self.nodes for p in node.params})

    def info(self, name: str) -> TensorInfo:
        """Return an activation, parameter or buffer by name.

        Raises:
            GraphError: there is none.
        """
        found = self.tensors.get(name) or self.params.get(name)
        if found is None:
            raise GraphError(f"the graph has no tensor '{name}'.")
        return found

    def __post_init__(self) -> None:
        """Check that every tensor is known and is made before it is read."""
        known = {tensor.name for tensor in self.tensor_list}
        made = set(self.inputs)
        for node in self.nodes:
            for name in node.inputs:
                if name not in made:
                    raise GraphError(f"node '{node.name}' ({node.op}) reads '{name}' before anything made it.")
            for name in node.outputs:
                if name not in known:
                    raise GraphError(f"node '{node.name}' ({node.op}) makes '{name}', whose shape is unknown.")
            made.update(node.outputs)
        for name in self.outputs:
            if name not in made:
                raise GraphError(f"the network returns '{name}', which no node makes.")
