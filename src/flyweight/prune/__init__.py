"""Channel pruning on the traced graph: which channels go together, which of them should go, and the exact surgery."""

from flyweight.prune._choose import Goal, Scope, chosen
from flyweight.prune._cost import Cost, Measure
from flyweight.prune._criteria import CRITERIA, Criterion, Evidence, group_scores
from flyweight.prune._engine import Layer, Plan, Pruned, inexactness, plan, prune
from flyweight.prune._rounds import Rounds, prune_in_rounds
from flyweight.prune._silence import difference, silenced
from flyweight.prune._surgery import without
from flyweight.prune._time import Timing, timed_cost
from flyweight.prune._units import Units, units_of

__all__ = [
    "CRITERIA", "Cost", "Criterion", "Evidence", "Goal", "Layer", "Measure", "Plan", "Pruned", "Rounds", "Scope",
    "Timing", "Units",
    "chosen", "difference", "group_scores", "inexactness", "plan", "prune", "prune_in_rounds", "silenced",
    "timed_cost", "units_of", "without",
]  # fmt: skip
