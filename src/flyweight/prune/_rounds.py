"""Pruning a little at a time, with training in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from flyweight.errors import UsageError
from flyweight.prune._choose import Goal
from flyweight.prune._criteria import Evidence
from flyweight.prune._engine import NO_EVIDENCE, Plan, prune
from flyweight.trace import Example

__all__ = ["Rounds", "prune_in_rounds"]


@dataclass(frozen=True)
class Rounds:
    """A network pruned in rounds, and the plan of each; every plan's channels are those of the network before it."""

    module: nn.Module
    plans: tuple[Plan, ...]

    @property
    def share(self) -> float:
        """The share of the first network's cost that is left."""
        left = 1.0
        for plan in self.plans:
            left *= plan.share
        return left


def prune_in_rounds(
    module: nn.Module,
    example: Example,
    goal: Goal,
    tune: Callable[[nn.Module, int], nn.Module],
    rounds: int = 4,
    criterion: str = "l1",
    evidence: Evidence = NO_EVIDENCE,
) -> Rounds:
    """Prune to a goal in rounds, each to the same share of what it finds, and train on after each.

    A round that leaves more or less than its part is made up for by the next one. In each round a layer keeps at least
    a tenth of its channels.

    Args:
        module, example, goal, criterion, evidence: as for ``plan``; the criterion judges every round's network anew.
        tune: of a pruned network and the round's number, from 0: returns it trained on. Its layers must stay.
        rounds: how many.

    Raises:
        UsageError: fewer than one round, and as ``plan`` says.
    """
    if rounds < 1:
        raise UsageError(f"pruning in {rounds} rounds; at least one is needed.")
    made = Rounds(module, ())
    for number in range(rounds):
        wanted = goal.share ** ((number + 1) / rounds) / made.share
        if wanted < 1:
            found = prune(made.module, example, replace(goal, share=wanted), criterion, evidence)
            made = Rounds(tune(found.module, number), (*made.plans, found.plan))
    return made
