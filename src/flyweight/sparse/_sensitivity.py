"""What each layer alone can lose: one layer pruned at a time, the others whole (Han et al. 2015, figure 6)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from flyweight.contracts import Progress, Silent
from flyweight.sparse._hold import applied
from flyweight.sparse._masks import DENSE, Pattern, magnitude, weights_of

DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)


@dataclass(frozen=True)
class Sensitivity:
    """A layer's metric by its density, all other layers whole, without training.

    Attributes:
        layer: its weight's name. weights: how many. metric: by density, falling densities.
    """

    layer: str
    weights: int
    metric: Mapping[float, float]

    def least_density(self, least_metric: float) -> float:
        """Return the smallest density down to which the metric never fell below ``least_metric``; 1: none."""
        found = 1.0
        for density, metric in self.metric.items():
            if metric < least_metric:
                break
            found = density
        return found


def scan(
    module: nn.Module,
    metric: Callable[[nn.Module], float],
    densities: Sequence[float] = DENSITIES,
    pattern: Pattern = DENSE,
    progress: Progress | None = None,
) -> tuple[Sensitivity, ...]:
    """Prune every layer by itself to every density, and measure.

    Args:
        metric: higher is better; called ``layers * densities`` times with a copy in eval mode.
    """
    progress = progress or Silent()
    trial = copy.deepcopy(module).eval()
    whole = {name: weight.detach().clone() for name, weight in weights_of(trial).items()}
    progress.start("scan the layers", len(whole) * len(densities))
    rows = []
    for name, weight in weights_of(trial).items():
        found = {}
        for density in sorted(densities, reverse=True):
            applied(trial, magnitude(trial, {name: density}, "layer", pattern))
            found[density] = metric(trial)
            weight.data.copy_(whole[name])
            progress.advance(1, name)
        rows.append(Sensitivity(name, weight.numel(), found))
    progress.finish()
    return tuple(rows)


def densities_within(rows: Sequence[Sensitivity], least_metric: float) -> dict[str, float]:
    """Return for every layer the smallest density that keeps the metric, the others whole; 1 where none does."""
    return {row.layer: row.least_density(least_metric) for row in rows}
