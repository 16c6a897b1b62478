"""Networks with dead channels at known places, to test what looks for them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from flyweight.contracts import Candidate
from flyweight.graph import Graph, Node
from flyweight.trace import trace

Way = Literal["norm", "filter", "unread", "negative"]
BY_WEIGHTS: tuple[Way, ...] = ("norm", "filter", "unread")
FAR_BELOW = -1e4  # a shift that no activation of these networks makes up for
_ZEROING = ("relu", "relu6", "hardswish")
_PASSING = ("batch_norm", *_ZEROING, "leaky_relu", "silu", "gelu", "max_pool", "avg_pool", "adaptive_avg_pool")
_LAYERS = ("conv", "linear")


@dataclass(frozen=True)
class Planted:
    """Channels that were made dead.

    Attributes:
        layer: where a finding must name them. way: how they were made so.
        channels: their indices.
    """

    layer: str
    way: Way
    channels: tuple[int, ...]


def planted(
    candidate: Candidate, ways: Sequence[Way] = BY_WEIGHTS, layers: int = 2, seed: int = 0
) -> tuple[Candidate, tuple[Planted, ...]]:
    """Return a copy with dead channels, and where they are: up to ``layers`` layers for each way.

    ``norm``: scale and shift 0. ``filter``: a filter's weights 0, its bias as it was. ``unread``: all weights 0 that
    read a filter's output in the layer behind it. ``negative``: a shift so far below zero that the activation gives 0.
    Every layer is used once at most, and none that reads what another planting made dead.
    """
    module = copy.deepcopy(candidate.module)
    graph = trace(module, torch.zeros(candidate.input_shape))
    generator = torch.Generator().manual_seed(seed)
    taken: set[str] = set()
    done: list[Planted] = []
    for way in ways:
        places = [place for node in graph.nodes if (place := _place(graph, node, way, module)) is not None]
        order = torch.randperm(len(places), generator=generator).tolist()
        for place in [places[i] for i in order]:
            if sum(p.way == way for p in done) < layers and not taken & set(place.touched):
                taken |= set(place.touched)
                done.append(_plant(module, place, way, generator))
    return replace(candidate, module=module), tuple(done)


@dataclass(frozen=True)
class _Place:
    """Where something can be planted: the layer that is named, and the modules that are changed or touched by it."""

    layer: str
    touched: tuple[str, ...]
    norm: str = ""
    reader: str = ""
    repeated: int = 1


def _place(graph: Graph, node: Node, way: Way, module: nn.Module) -> _Place | None:
    if node.op not in _LAYERS or node.attr("groups", 1) != 1 or node.outputs[0] in graph.outputs:
        return None
    own = module.get_submodule(node.module)
    if not isinstance(own, nn.Conv2d | nn.Linear) or own.weight.shape[0] < 4:
        return None
    chain = _chain(graph, node)
    norm = next((n for n in chain[:1] if n.op == "batch_norm"), None)
    last = chain[-1] if chain else None
    reader = last if last is not None and last.op in _LAYERS and last.attr("groups", 1) == 1 else None
    touched = tuple(dict.fromkeys(n.module for n in (node, *chain)))
    if way == "filter":
        return _Place(node.module, touched)
    if way == "norm":
        return _Place(norm.module, touched, norm=norm.module) if norm is not None else None
    if way == "unread":
        if reader is None or not isinstance(other := module.get_submodule(reader.module), nn.Conv2d | nn.Linear):
            return None
        return _Place(node.module, touched, reader=reader.module, repeated=other.weight.shape[1] // own.weight.shape[0])
    acts = [n for n in chain if n.op in _ZEROING]
    before = chain.index(acts[0]) if acts else 9
    if before > (norm is not None) or (norm is None and own.bias is None):
        return None
    return _Place(acts[0].module, touched, norm=norm.module if norm is not None else node.module)


def _chain(graph: Graph, node: Node) -> list[Node]:
    """Return the nodes behind ``node`` that alone read what comes before, up to and with the next layer."""
    chain: list[Node] = []
    while len(readers := graph.consumers[node.outputs[0]]) == 1:
        node = readers[0]
        if node.op in _LAYERS or node.op not in (*_PASSING, "flatten", "copy"):
            return [*chain, node]
        chain.append(node)
    return chain


def _plant(module: nn.Module, place: _Place, way: Way, generator: torch.Generator) -> Planted:
    changed = module.get_submodule(place.norm or place.layer)
    count = _tensor(changed, "weight").shape[0]
    chosen = torch.randperm(count, generator=generator)[: max(1, min(3, count // 4))].sort().values
    with torch.no_grad():
        if way == "norm":
            for name in ("weight", "bias"):
                _tensor(changed, name)[chosen] = 0
        elif way == "filter":
            _tensor(changed, "weight")[chosen] = 0
        elif way == "negative":
            _tensor(changed, "bias")[chosen] = FAR_BELOW
        else:
            columns = (chosen[:, None] * place.repeated + torch.arange(place.repeated)).reshape(-1)
            _tensor(module.get_submodule(place.reader), "weight")[:, columns] = 0
    return Planted(place.layer, way, tuple(chosen.tolist()))


def _tensor(module: nn.Module, name: str) -> Tensor:
    found = getattr(module, name)
    assert isinstance(found, Tensor)
    return found
