"""What a network's channels do on images: one pass under a dispatch mode that sees what ``flyweight.trace`` saw."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from flyweight.contracts import Progress, Silent
from flyweight.errors import GraphError
from flyweight.graph import Graph, Node
from flyweight.health._facts import Facts
from flyweight.labels import spread
from flyweight.operators import DROPOUTS, OPERATORS

Images: TypeAlias = NDArray[np.float32]  # (n, C, h, w), preprocessed
# The share of what reaches these operators that is at their limit, where the slope is zero or nearly.
_AT_LIMIT = {
    "relu6": lambda x: x >= 6,
    "hardsigmoid": lambda x: (x <= -3) | (x >= 3),
    "hardswish": lambda x: x <= -3,
    "sigmoid": lambda x: x.abs() >= 5,  # 0.0067 and 0.9933
    "tanh": lambda x: x.abs() >= 3,  # 0.995
}


@dataclass(frozen=True)
class Seen:
    """What was seen of one activation, per channel ``(C,)``, over all images and pixels.

    Attributes:
        low, high: the least and the largest value.
        limit: the share of values at the operator's limit; None for an operator that has none.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    limit: NDArray[np.float64] | None = None

    def facts(self, rank: int) -> Facts:
        """Return the channels that never changed."""
        same = self.low == self.high
        return Facts(spread(same, rank, 1), spread(np.where(same, self.low, np.nan), rank, 1))


def watch(module: nn.Module, graph: Graph, inputs: Images, progress: Progress | None = None) -> Mapping[str, Seen]:
    """Run ``inputs`` ``(n, C, h, w)`` through a copy of ``module`` and return what was seen, by the activations' names.

    One image at a time, as the graph has it: a module may fix its batch. Activations of another shape than the graph's
    are left out.

    Raises:
        GraphError: the network computes something else on these images than its graph has.
    """
    nodes = tuple(node for node in graph.nodes if node.attr("aten") is not None)
    copied, seen = copy.deepcopy(module).eval(), dict[str, Seen]()
    progress = progress or Silent()
    progress.start("look at activations", len(inputs))
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it hides attention's operators, in flyweight.trace too
    try:
        for index, image in enumerate(inputs):
            watcher, given = _Watcher(nodes, graph), torch.from_numpy(np.ascontiguousarray(image[None]))
            with torch.inference_mode(), watcher:
                copied(given)
            watcher.check_end()
            own = watcher.seen
            seen = {n: _merged(seen[n], own[n], index) for n in seen if n in own} if index else own
            progress.advance(1)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    progress.finish()
    return MappingProxyType(seen)


def _merged(before: Seen, now: Seen, images: int) -> Seen:
    """Return what was seen on ``images`` images and one more."""
    share = None
    if before.limit is not None and now.limit is not None:
        share = (before.limit * images + now.limit) / (images + 1)
    return Seen(np.minimum(before.low, now.low), np.maximum(before.high, now.high), share)


class _Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Takes the nodes of a graph as they run, in their order, and notes the range of each channel."""

    def __init__(self, nodes: tuple[Node, ...], graph: Graph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes: Iterator[Node] = iter(nodes)
        self.graph = graph
        self.seen: dict[str, Seen] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # as in flyweight.trace: True imports the compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operator, as ``flyweight.trace`` takes them apart."""
        kwargs = kwargs or {}
        base = str(func._schema.name).replace("::", ".")
        base = base.removesuffix("_") if not base.endswith("__") else base
        if func.namespace == "prim" or base in ("aten.detach", "aten.alias"):
            return func(*args, **kwargs)
        if base in DROPOUTS and not (args[2] if len(args) > 2 else kwargs["train"]):
            return args[0]
        if base not in OPERATORS:
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        before = args[0].clone() if args and isinstance(args[0], Tensor) and func._schema.is_mutable else None
        out = func(*args, **kwargs)
        if next(_tensors(out), None) is not None:
            source = args[0] if args and before is None else before
            self._take(base.removeprefix("aten."), source, out)
        return out

    def _take(self, aten: str, source: Any, out: Any) -> None:
        node = next(self.nodes, None)
        if node is None or node.attr("aten") != aten:
            where = f"{node.attr('aten')} in '{node.module}'" if node else "its end"
            raise GraphError(
                f"on an image, operator {aten} runs where the graph has {where}. Does the network decide by values?"
            )
        for name, tensor in zip(node.outputs, _tensors(out), strict=False):
            shape = self.graph.tensors[name].shape
            if tensor.dim() > 1 and tuple(tensor.shape) == shape and tensor.is_floating_point():
                self.seen[name] = _range(tensor, _AT_LIMIT.get(node.op), source)

    def check_end(self) -> None:
        """Raise GraphError where nodes are left that did not run."""
        if (node := next(self.nodes, None)) is not None:
            raise GraphError(f"on an image, '{node.module}' ({node.op}) does not run, as it does in the graph.")


def _tensors(out: Any) -> Iterator[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, tuple | list):
        for item in out:
            yield from _tensors(item)


def _range(tensor: Tensor, at_limit: Any, source: Any) -> Seen:
    rest = [d for d in range(tensor.dim()) if d != 1]
    low, high = tensor.amin(rest).double().numpy(), tensor.amax(rest).double().numpy()
    share = None
    if at_limit is not None and isinstance(source, Tensor) and source.shape == tensor.shape:
        share = at_limit(source).double().mean(rest).numpy()
    return Seen(low, high, share)
