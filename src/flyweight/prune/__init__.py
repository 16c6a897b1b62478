"""Channel pruning on the traced graph: which channels go together, which of them should go, and the exact surgery."""

from flyweight.prune._choose import Goal, chosen
from flyweight.prune._cost import Cost
from flyweight.prune._criteria import CRITERIA, Criterion, Evidence, group_scores
from flyweight.prune._engine import Layer, Plan, Pruned, inexactness, plan, prune
from flyweight.prune._rounds import Rounds, prune_in_rounds
from flyweight.prune._silence import difference, silenced
from flyweight.prune._surgery import without
from flyweight.prune._units import Units, units_of

__all__ = [
    "CRITERIA", "Cost", "Criterion", "Evidence", "Goal", "Layer", "Plan", "Pruned", "Rounds", "Units", "chosen",
    "difference", "group_scores", "inexactness", "plan", "prune", "prune_in_rounds", "silenced", "units_of", "without",
]  # fmt: skip
