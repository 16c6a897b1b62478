"""Channels that contribute nothing, removed so that the outputs stay equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from flyweight.contracts import Candidate, Change, Env
from flyweight.coupling import Coupling, divergence
from flyweight.errors import GraphError, TransformError
from flyweight.evaluate import preprocess
from flyweight.graph import Node
from flyweight.health import Anatomy, Images, Removal, anatomy
from flyweight.prune import without
from flyweight.trace import trace


@dataclass(frozen=True)
class RemoveDead:
    """Remove channels that are the same for all inputs, or that no layer reads, with everything that is tied to them.

    Constants go into the bias of the layer that reads them. A channel that can't go is left whole: see the health of
    the network (``flyweight health``) for the reason. Works on any module; its layers keep their names.

    Args:
        on_images: also those that are dead on the calibration images; then the outputs are equal on those images only.
    """

    name: ClassVar[str] = "remove_dead"
    exact: ClassVar[bool] = True  # without on_images
    tolerance: ClassVar[float] = 1e-5

    on_images: bool = False

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where nothing can be removed by the weights, or the network is quantized already."""
        if candidate.quantization:
            raise TransformError("transform 'remove_dead': remove channels before quantizing.")
        if not self.on_images:
            self._edited(candidate, None)

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return a copy without those channels. Its spec is that of the network as it was."""
        if candidate.quantization:
            raise TransformError("transform 'remove_dead': remove channels before quantizing.")
        images = None
        if self.on_images:
            if not len(env.calibration_images):
                raise TransformError(
                    "transform 'remove_dead' with on_images needs images. Give some in Env(calibration_images=...)."
                )
            images = preprocess(np.stack(list(env.calibration_images)), candidate.preprocessing)
        module, found, plan = self._edited(candidate, images)
        before, after = (sum(p.numel() for p in m.parameters()) for m in (candidate.module, module))
        layers = _layers(found.coupling, plan)
        evidence = f"{len(images)} images, and equal on those" if images is not None else "the weights"
        change = Change(
            transform=self.name,
            settings=asdict(self),
            layers=tuple(layers),
            before=f"{before:,} parameters; {sum(layers.values())} filters dead or unread, by {evidence}",
            after=f"{after:,} parameters; those filters removed, of {len(layers)} layers",
        )
        return candidate.having(change, module=module)

    def _edited(self, candidate: Candidate, images: Images | None) -> tuple[nn.Module, Anatomy, Removal]:
        found = anatomy(candidate.module, torch.zeros(candidate.input_shape), images)
        module, plan = removed(found, torch.zeros(candidate.input_shape), on_images=images is not None)
        if not plan.ids.size:
            raise TransformError(
                "transform 'remove_dead': no channel can be removed with equal outputs. See: flyweight health MODEL."
            )
        return module, found, plan

    @classmethod
    def example(cls) -> RemoveDead:
        """Return one that goes by the weights."""
        return cls()


def removed(found: Anatomy, example: Tensor, *, on_images: bool = False) -> tuple[nn.Module, Removal]:
    """Return the network without what can be removed, and what that was; what its code can't do without stays.

    The numbers of the channels that stay are followed through the new network: where a layer's code fixes a number or
    an order of channels, those that it touches are put back.
    """
    frozen: dict[int, str] = {}
    while True:
        plan = found.removal(on_images, frozen)
        if not plan.ids.size:
            return found.module, plan
        module = without(found.module, found.coupling, plan.ids, plan.folds)
        clash = _clash(found, plan, module, example, on_images, frozen)
        if not clash:
            return module, plan
        frozen |= clash


def _clash(
    found: Anatomy, plan: Removal, module: nn.Module, example: Tensor, on_images: bool, frozen: Mapping[int, str]
) -> dict[int, str]:
    """Return groups that must stay, and why; none where the new network does what it should."""
    groups = {int(g): "" for g in found.coupling.group_of[plan.ids]}
    try:
        wrong = divergence(found.coupling, plan.ids, trace(module, example))
    except GraphError as error:
        why = f"the network's code fixes a number of channels ({error})"
        return _those_that_fail(found, sorted(groups), example, on_images, frozen, why)
    if wrong is None:
        return {}
    node, what = wrong
    touched = {int(found.coupling.group_of[i]) for i in _ids_at(found.coupling, node) if i >= 0} & set(groups)
    return {group: f"'{node.module or node.name}' ({node.op}): {what}" for group in touched or groups}


def _those_that_fail(
    found: Anatomy, groups: list[int], example: Tensor, on_images: bool, frozen: Mapping[int, str], why: str
) -> dict[int, str]:
    """Return which of ``groups`` the network does not run without, found by halving."""
    if len(groups) == 1:
        return {groups[0]: why}
    failing: dict[int, str] = {}
    for half in (groups[: len(groups) // 2], groups[len(groups) // 2 :]):
        others = {group: "" for group in groups if group not in half}
        plan = found.removal(on_images, {**frozen, **others})
        if plan.ids.size and not _runs(without(found.module, found.coupling, plan.ids, plan.folds), example):
            failing |= _those_that_fail(found, half, example, on_images, {**frozen, **others}, why)
    return failing or dict.fromkeys(groups, why)


def _runs(module: nn.Module, example: Tensor) -> bool:
    try:
        trace(module, example)
    except GraphError:
        return False
    return True


def _ids_at(coupling: Coupling, node: Node) -> Iterator[int]:
    for name in (*node.inputs, *node.outputs):
        yield from map(int, np.unique(coupling.labels[name]))
    for param in node.params:
        for axis in coupling.params.get(param.name, ()):
            yield from map(int, np.unique(axis.ids))


def _layers(coupling: Coupling, plan: Removal) -> dict[str, int]:
    """Return how many filters each layer loses."""
    nodes = {node.name for node in coupling.graph.nodes}
    gone = np.zeros(len(coupling.group_of), bool)
    gone[plan.ids] = True
    lost = {s.module: int(gone[s.ids.start : s.ids.stop].sum()) for s in coupling.sources if s.node in nodes}
    return {layer: count for layer, count in lost.items() if count}


MEMBERS = {RemoveDead.name: RemoveDead}
