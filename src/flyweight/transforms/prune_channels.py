"""Channels pruned by their filters' norms, with everything that is tied to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from flyweight.contracts import Candidate, Change, Env
from flyweight.coupling import Coupling, couple, divergence
from flyweight.errors import GraphError, TransformError
from flyweight.prune import Units, chosen, filter_norms, units_of
from flyweight.trace import trace
from flyweight.transforms._surgery import without


@dataclass(frozen=True)
class PruneChannels:
    """Take away the channels with the least filters by L1 norm, over the whole network, with what is tied to them.

    Groups of convolutions stay valid, outputs keep their shapes. A layer whose code fixes its number or order of
    channels is left whole. Works on any module; its layers keep their names.

    Args:
        macs: share of the multiply-accumulates that is left, about.
        multiple: of the channels that each layer keeps, where it loses some.
    """

    name: ClassVar[str] = "prune_channels"
    exact: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0.0

    macs: float = 0.5
    multiple: int = 1

    def __post_init__(self) -> None:
        """Raise TransformError for a share outside 0 to 1 or a multiple under 1."""
        if not 0 < self.macs < 1 or self.multiple < 1:
            raise TransformError(
                f"transform 'prune_channels': macs={self.macs}, multiple={self.multiple}; macs must lie between 0 and "
                "1, multiple must be at least 1."
            )

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where nothing can be pruned, or the network is quantized already."""
        self._pruned(candidate)

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return a copy without those channels. Its spec is that of the network as it was."""
        found = self._pruned(candidate)
        before, after = (sum(p.numel() for p in m.parameters()) for m in (candidate.module, found.module))
        change = Change(
            transform=self.name,
            settings=asdict(self),
            layers=tuple(lost_by_layer(found.coupling, found.removed)),
            before=f"{before:,} parameters",
            after=f"{after:,} parameters; {len(found.removed)} channels pruned by their filters' L1 norms",
        )
        return candidate.having(change, module=found.module)

    def _pruned(self, candidate: Candidate) -> Pruned:
        if candidate.quantization:
            raise TransformError("transform 'prune_channels': prune channels before quantizing.")
        found = pruned(candidate.module, torch.zeros(candidate.input_shape), self.macs, self.multiple)
        if not found.removed:
            raise TransformError("transform 'prune_channels': no channel of this network can be pruned.")
        return found

    @classmethod
    def example(cls) -> PruneChannels:
        """Return one that leaves half of the multiply-accumulates."""
        return cls()


@dataclass(frozen=True)
class Pruned:
    """A network without some channels.

    Attributes:
        coupling: of the network as it was. removed: numbers of the channels that are gone.
        held: units that could not go, and why.
    """

    module: nn.Module
    coupling: Coupling
    removed: tuple[int, ...]
    held: Mapping[int, str]


def pruned(module: nn.Module, example: Tensor, share: float, multiple: int = 1) -> Pruned:
    """Return the network with about ``share`` of its multiply-accumulates; what its code can't do without stays.

    The numbers of the channels that stay are followed through the new network, which proves that what is left does as
    it did; where it does not, the units at that place are held and others go.
    """
    coupling = couple(trace(module, example))
    units = units_of(coupling)
    scores = filter_norms(units, {n: p.detach().double().numpy() for n, p in module.named_parameters()})
    while True:
        gone = chosen(units, scores, share, multiple)
        ids = units.channels(gone)
        if not ids.size:
            return Pruned(module, coupling, (), units.held)
        try:
            new = without(module, coupling, ids)
            wrong = divergence(coupling, ids, trace(new, example))
        except GraphError as error:
            clash = dict.fromkeys(gone, f"the network's code fixes a number of channels ({error})")
        else:
            if wrong is None:
                return Pruned(new, coupling, tuple(map(int, ids)), units.held)
            node, what = wrong
            touched = _units_at(units, node.inputs + node.outputs) & set(gone)
            clash = dict.fromkeys(touched or gone, f"'{node.module or node.name}' ({node.op}): {what}")
        units = replace(units, held={**units.held, **clash})


def _units_at(units: Units, tensors: tuple[str, ...]) -> set[int]:
    ids = [np.unique(units.coupling.labels[name]) for name in tensors]
    return {int(units.unit_of[i]) for some in ids for i in some if i >= 0}


def lost_by_layer(coupling: Coupling, removed: tuple[int, ...]) -> dict[str, int]:
    """Return how many filters each layer loses."""
    gone = np.zeros(len(coupling.group_of), bool)
    gone[list(removed)] = True
    nodes = {node.name for node in coupling.graph.nodes}
    lost = {s.module: int(gone[s.ids.start : s.ids.stop].sum()) for s in coupling.sources if s.node in nodes}
    return {layer: count for layer, count in lost.items() if count}


MEMBERS = {PruneChannels.name: PruneChannels}
