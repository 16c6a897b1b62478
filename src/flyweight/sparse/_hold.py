"""Zeros that stay: masks are applied again behind every step, whatever momentum and weight decay did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from flyweight.sparse._masks import DENSE, Masks, Pattern, Scope, magnitude, weights_of
from flyweight.sparse._schedule import Schedule

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

AfterStep: TypeAlias = Callable[[nn.Module, int], None]


def applied(module: nn.Module, masks: Masks) -> nn.Module:
    """Set the masked weights to zero, in place; return the module."""
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            own[name].mul_(mask.to(own[name].dtype))
    return module


def zeros(module: nn.Module) -> dict[str, Tensor]:
    """Return masks that hold what is zero now."""
    return {name: weight.detach() != 0 for name, weight in weights_of(module, depthwise=True).items()}


def holding(masks: Masks) -> AfterStep:
    """Return what keeps ``masks`` zero, for ``flyweight.train.train``'s ``after_step``."""

    def after(module: nn.Module, step: int) -> None:
        del step
        applied(module, masks)

    return after


def attach(optimizer: torch.optim.Optimizer, module: nn.Module, masks: Masks) -> RemovableHandle:
    """Keep ``masks`` zero in a training loop of one's own: applied now and behind every step of ``optimizer``.

    Returns:
        A handle; its ``remove()`` lets go.
    """
    applied(module, masks)

    def after(*_: object) -> None:
        applied(module, masks)

    return optimizer.register_step_post_hook(after)


@contextmanager
def held(optimizer: torch.optim.Optimizer, module: nn.Module, masks: Masks) -> Iterator[None]:
    """In its ``with`` block ``masks`` stay zero."""
    handle = attach(optimizer, module, masks)
    try:
        yield
    finally:
        handle.remove()


class Gradual:
    """Prune while training: behind each step the schedule's density, then the same weights held at zero.

    For ``flyweight.train.train``'s ``after_step``; one for each training. Weights that are zero are the smallest there
    are, so that they stay out when the next masks are chosen; and a run that was killed goes on from its weights alone.

    Args:
        schedule: the density by step.
        scope, pattern, least: as ``magnitude``.
    """

    def __init__(
        self, schedule: Schedule, scope: Scope = "layer", pattern: Pattern = DENSE, *, least: float = 0.0
    ) -> None:
        self.schedule, self.scope, self.pattern, self.least = schedule, scope, pattern, least
        self.masks: Masks | None = None

    def __call__(self, module: nn.Module, step: int) -> None:
        """Change or apply the masks behind step ``step``; -1: before the first."""
        if self.masks is None:
            self.masks = zeros(module)
        applied(module, self.masks)
        wanted = self.schedule.at(step)
        if wanted is not None:
            self.masks = magnitude(module, wanted, self.scope, self.pattern, least=self.least)
            applied(module, self.masks)
