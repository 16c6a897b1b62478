"""Health of a network: channels that are dead or that nobody reads, kernels near zero, saturated activations.

From the weights, and where images are given from what its activations do on them. Which of the dead channels can be
removed with outputs equal is found too; ``transforms/remove_dead.py`` removes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from flyweight.contracts import Progress
from flyweight.coupling import NONE, Coupling, couple
from flyweight.errors import UsageError
from flyweight.graph import Graph
from flyweight.health import _findings as find
from flyweight.health._facts import Facts, Weights, facts
from flyweight.health._findings import SATURATED, Finding, Kind, Spotted
from flyweight.health._images import Images, Seen, watch
from flyweight.health._removal import Reader, Removal, needs, readers, removal
from flyweight.trace import Example, trace

__all__ = ["Anatomy", "Finding", "Health", "Images", "Kind", "Removal", "anatomy", "diagnose", "untrained"]

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_REMOVABLE = ("dead", "unread")


@dataclass(frozen=True)
class Health:
    """What was found.

    Attributes:
        findings: in the order in which layers run.
        images: how many images were looked at.
        random: the weights are as they were initialized; then nothing but NaN and infinity is looked for.
        layers, channels: how many layers with channels of their own, and how many channels, were looked at.
        computed: layers whose weight is computed as they run (weight norm), which was not looked at.
    """

    findings: tuple[Finding, ...]
    images: int
    random: bool
    layers: int
    channels: int
    computed: tuple[str, ...] = ()

    def of_kind(self, kind: Kind) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        rows = [{**asdict(finding), "evidence": finding.evidence} for finding in self.findings]
        return {
            "random": self.random, "images": self.images, "layers": self.layers, "channels": self.channels,
            "computed": list(self.computed), "findings": rows,
        }  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """A network taken apart: its graph, its channels, and what is known of them.

    Attributes:
        known: what follows from the weights. with_seen: what follows with what was seen on images besides.
    """

    graph: Graph
    coupling: Coupling
    weights: Weights
    module: nn.Module
    known: Mapping[str, Facts]
    with_seen: Mapping[str, Facts]
    seen: Mapping[str, Seen]
    images: int

    def readers(self, on_images: bool) -> tuple[Reader, ...]:
        """Return the layers that mix channels, with what is known of what they read."""
        return readers(self.coupling, self.with_seen if on_images else self.known, self.module, self.weights)

    def removal(self, on_images: bool = False, frozen: Mapping[int, str] | None = None) -> Removal:
        """Return what can be removed: for all inputs, or with ``on_images`` on the images that were seen."""
        return removal(self.coupling, self.readers(on_images), frozen or {})


def anatomy(
    module: nn.Module, example: Example, images: Images | None = None, progress: Progress | None = None
) -> Anatomy:
    """Take a network apart.

    Args:
        module: in eval mode, on the CPU; left as it is.
        example: as ``trace`` takes it.
        images: ``(n, C, h, w)``, preprocessed; None looks at the weights alone.

    Raises:
        GraphError: it can't be traced, or computes something else on the images than its graph has.
        UsageError: no image among ``images``.
    """
    if images is not None and not len(images):
        raise UsageError("no image was given. Give at least one, or none to look at the weights alone.")
    graph, weights = trace(module, example), Weights(module)
    known = facts(graph, weights)
    seen = watch(module, graph, images, progress) if images is not None else {}
    ranks = {name: len(graph.tensors[name].shape) for name in seen}
    constant = {name: found.facts(ranks[name]) for name, found in seen.items()}
    with_seen = facts(graph, weights, constant) if seen else known
    count = 0 if images is None else len(images)
    return Anatomy(graph, couple(graph), weights, module, known, with_seen, seen, count)


def untrained(module: nn.Module) -> bool:
    """Return whether a network's weights look as they were initialized.

    So it is where no norm has statistics of its own; in a network without norms, where all biases are zero.
    """
    norms = [m for m in module.modules() if isinstance(m, _NORMS) and m.running_mean is not None]
    if norms:
        return all(bool((m.running_mean == 0).all()) and bool((m.running_var == 1).all()) for m in norms)  # type: ignore[union-attr]
    biases = [p for name, p in module.named_parameters() if name.rpartition(".")[2] == "bias"]
    return bool(biases) and all(bool((bias == 0).all()) for bias in biases)


def diagnose(
    module: nn.Module,
    example: Example,
    images: Images | None = None,
    *,
    saturated: float = SATURATED,
    progress: Progress | None = None,
) -> Health:
    """Return what is wrong with a network's channels, from its weights and, where given, from images.

    Args:
        module, example, images: as in ``anatomy``.
        saturated: share of an activation's values at its limit above which it counts as saturated, 0 to 1.

    Raises:
        GraphError, UsageError: as ``anatomy`` says, or a share that is none.
    """
    if not 0 < saturated < 1:
        raise UsageError(f"saturated is {saturated!r}; allowed are shares above 0 and below 1, e.g. 0.95.")
    random = untrained(module)
    found = anatomy(module, example, None if random else images, progress)
    spotted = [] if random else _spotted(found, saturated)
    broken = list(find.not_finite(found.graph, found.weights))
    order = {node.module: index for index, node in reversed(list(enumerate(found.graph.nodes)))}
    findings = [*broken, *_told(found, spotted)]
    layers = {node.name for node in found.graph.nodes if node.op in find.LAYERS}
    return Health(
        findings=tuple(sorted(findings, key=lambda f: order.get(f.layer, -1))),
        images=found.images,
        random=random,
        layers=len(layers),
        channels=sum(len(s.ids) for s in found.coupling.sources if s.node in layers),
        computed=tuple(n.module for n in found.graph.nodes if n.op in find.LAYERS and n.operands[1] in n.inputs),
    )


def _spotted(found: Anatomy, share: float) -> list[Spotted]:
    graph, weights, known = found.graph, found.weights, found.known
    return [
        *find.dead_by_weights(graph, weights, known),
        *find.unread(found.coupling, found.readers(False), known),
        *find.near_zero(graph, weights, known),
        *find.variance(graph, weights, known),
        *find.dead_by_images(graph, found.seen, known, found.with_seen, found.images),
        *find.saturated(graph, found.seen, found.images, share),
    ]


def _told(found: Anatomy, spotted: list[Spotted]) -> list[Finding]:
    """Return findings, with what of them can be removed; on images only what the weights did not show."""
    plans = {False: _Plan(found, False)}
    if found.images:
        plans[True] = _Plan(found, True)
    return [_finding(found, spot, plans[spot.images > 0]) for spot in spotted]


class _Plan:
    """What can be removed, and why the rest can't."""

    def __init__(self, found: Anatomy, on_images: bool) -> None:
        self.coupling = found.coupling
        self.readers = found.readers(on_images)
        self.removal = removal(found.coupling, self.readers, {})
        self.gone = np.zeros(len(found.coupling.group_of), bool)
        self.gone[self.removal.ids] = True
        self.needed = needs(found.coupling, self.readers, self.removal.kept)

    def why_kept(self, number: int) -> str:
        """Return why a channel can't be removed."""
        group = int(self.coupling.group_of[number])
        held = self.coupling.fixed.get(group) or self.removal.kept.get(group)
        if held is not None:
            return held
        for reader in self.readers:
            own = np.isin(reader.ids, self.coupling.groups[group])
            if own.any() and (own := own & reader.needs(self.needed[self.coupling.group_of[reader.made]])).any():
                return _why_read(reader, int(np.flatnonzero(own)[0]))
        return "something else is made of it"


def _why_read(reader: Reader, index: int) -> str:
    layer, value = reader.node.module, float(reader.value[index])
    if not reader.dead[index]:
        return f"'{layer}' reads it alive: it is added to or multiplied by another, or read before it died"
    if np.isnan(value):
        return f"it reaches '{layer}' as a constant that differs from pixel to pixel (zeros around a map)"
    if reader.layer.border:
        return f"it reaches '{layer}' as {value:.3g}, and the zeros around that layer's input are another number"
    return f"it reaches '{layer}' as {value:.3g}, and that layer has no bias of its own to take it over"


def _finding(found: Anatomy, spot: Spotted, plan: _Plan) -> Finding:
    channels = np.flatnonzero(spot.flags)
    finding = Finding(
        spot.node.module, spot.node.op, spot.kind, tuple(map(int, channels)), len(spot.flags), spot.what, spot.images
    )
    ids = found.coupling.channels_of(spot.node.outputs[0])
    if spot.kind not in _REMOVABLE or ids is None or ids.size != len(spot.flags):
        return finding
    own = [(int(c), int(ids[c])) for c in channels if ids[c] != NONE]
    left = [number for _, number in own if not plan.gone[number]]
    return replace(
        finding,
        removable=tuple(c for c, number in own if plan.gone[number]),
        left_whole=plan.why_kept(left[0]) if left else "",
    )
