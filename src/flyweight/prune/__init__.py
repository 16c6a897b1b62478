"""Channel pruning on the traced graph: which channels can go together, and which of them should."""

from flyweight.prune._choose import chosen, filter_norms, macs_left
from flyweight.prune._units import Units, units_of

__all__ = ["Units", "chosen", "filter_norms", "macs_left", "units_of"]
