"""The time of an edited network, from the measured layers of the one that it was edited from.

Modules that the edit leaves alone keep their measured time. One that it changes is scaled by a model of its kind of
kernel, ``t = c + a·MACs + b·bytes`` with no negative term, fitted to this network's own measured layers, relative
errors counting alike. So a layer's own peculiarities stay in its prediction, and the model only says how much less
there is to do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flyweight.advise._work import MOVE, UNALIGNED, Work
from flyweight.contracts import LayerTimes

Z90 = 1.645  # half width of a 90 % interval in standard deviations
RUN_SPREAD = 0.04  # of a whole run: what two sessions with the same network differ by, and layout changes that move
LEAST_SPREAD = 0.15  # relative standard deviation of a kind with too few layers to tell
FEW = 5  # layers of a kind up to which its spread is not to be trusted
KERNEL_US = 0.5  # a kernel of which nothing is known takes at least this


@dataclass(frozen=True)
class Cost:
    """``t = fixed + macs·a + bytes·b`` of one kind of kernel, in µs; ``spread``: relative standard deviation."""

    fixed_us: float
    us_per_mac: float
    us_per_byte: float
    spread: float

    def of(self, work: Work) -> float:
        """Return the modelled time in µs."""
        return max(self.fixed_us + self.us_per_mac * work.macs + self.us_per_byte * work.bytes, KERNEL_US)


@dataclass(frozen=True)
class Prediction:
    """Predicted time of a network and the half width of its 90 % interval, in µs."""

    us: float
    half_us: float
    by_module: Mapping[str, float]


@dataclass(frozen=True)
class TimeModel:
    """Measured modules of one network, and the costs fitted to them.

    Attributes:
        measured: µs by module, scaled so that they sum to a whole run. costs: by kind. total_us: of a whole run.
    """

    works: Mapping[str, Work]
    measured: Mapping[str, float]
    costs: Mapping[str, Cost]
    total_us: float

    def predict(self, edited: Mapping[str, Work]) -> Prediction:
        """Return the time of a network whose modules do ``edited``."""
        found: dict[str, float] = {}
        doubt: dict[str, float] = {}
        for module, work in edited.items():
            old, time = self.works.get(module), self.measured.get(module, 0.0)
            if old is not None and old.signature == work.signature:
                found[module] = time
                continue
            found[module] = self._changed(work, old, time)
            doubt[work.kind] = doubt.get(work.kind, 0.0) + found[module]
        nowhere = sum(time for module, time in self.measured.items() if module not in self.works)
        spread = math.hypot(
            *(time * self._cost(kind).spread for kind, time in doubt.items()), RUN_SPREAD * self.total_us
        )
        return Prediction(sum(found.values()) + nowhere, Z90 * spread, found)

    def _changed(self, work: Work, old: Work | None, time: float) -> float:
        if work.fused:
            return 0.0
        if old is None:
            return self._cost(work.kind).of(work)
        cost = self._cost(work.kind)
        if time == 0.0:  # it ran inside another kernel, and still does unless it became something else
            return 0.0 if _operators(old) == _operators(work) else cost.of(work)
        return time * cost.of(work) / cost.of(old) if old.kind == work.kind else cost.of(work)

    def _cost(self, kind: str) -> Cost:
        if kind == UNALIGNED and kind not in self.costs:
            like = self._cost("depthwise")
            return Cost(like.fixed_us, 5 * like.us_per_mac, 5 * like.us_per_byte, 0.5)
        for name in (kind, *_LIKE.get(kind, ()), *self.costs):
            if name in self.costs:
                return self.costs[name]
        return Cost(KERNEL_US, 0.0, 0.0, 1.0)


def _operators(work: Work) -> list[str]:
    return [entry[0] for entry in work.signature]


# whose cost a kind takes that no measured layer has
_LIKE = {
    "pointwise": ("dense", "linear"), "dense": ("pointwise",), "grouped": ("depthwise", "dense"),
    "depthwise": (UNALIGNED, MOVE), "linear": ("pointwise",), "transposed": ("dense", "pointwise"),
    MOVE: ("depthwise",),
}  # fmt: skip


def time_model(works: Mapping[str, Work], times: LayerTimes) -> TimeModel:
    """Return the model of a network that was measured.

    At one thread a run's time is its CPU time, which other processes disturb less than the wall clock; at more its
    wall clock. Kernels are scaled to sum to it.
    """
    total = times.cpu_us if times.threads == 1 and times.cpu_us else times.run_us
    share = total / times.kernels_us if times.kernels_us else 1.0
    measured = {module: us * share for module, us in times.by_module().items()}
    fixed_us = min((us for us in measured.values() if us > 0), default=KERNEL_US)  # what any kernel takes
    kinds: dict[str, list[tuple[Work, float]]] = {}
    for module, us in measured.items():
        if module in works and us > 0:
            kinds.setdefault(works[module].kind, []).append((works[module], us))
    return TimeModel(works, measured, {kind: fit(pairs, fixed_us) for kind, pairs in kinds.items()}, total)


def fit(pairs: Sequence[tuple[Work, float]], fixed_us: float) -> Cost:
    """Return the cost that fits measured modules of one kind best: least squares of relative errors, none negative.

    The constant is given: layers that are nearly alike would be explained by it alone.
    """
    features = np.array([[work.macs, work.bytes] for work, _ in pairs])
    times = np.array([us for _, us in pairs])
    scaled, wanted = features / times[:, None], 1 - np.minimum(fixed_us / times, 0.9)
    best, error = np.zeros(2), math.inf
    for used in ((0,), (1,), (0, 1)):
        found = _solved(scaled, wanted, used) if len(used) < max(len(pairs), 2) else None
        if found is not None and (left := float(np.sum((scaled @ found - wanted) ** 2))) < error - 1e-9:
            best, error = found, left
    freedom = max(len(pairs) - int(np.count_nonzero(best)), 1)
    spread = math.sqrt(error / freedom) if math.isfinite(error) else 1.0
    least = LEAST_SPREAD if len(pairs) < FEW else LEAST_SPREAD / 3
    return Cost(fixed_us, float(best[0]), float(best[1]), min(max(spread, least), 1.0))


def _solved(
    scaled: NDArray[np.float64], wanted: NDArray[np.float64], used: tuple[int, ...]
) -> NDArray[np.float64] | None:
    columns = scaled[:, used]
    size = np.linalg.norm(columns, axis=0)
    if not (size > 0).all():
        return None
    solution = np.linalg.lstsq(columns / size, wanted, rcond=None)[0] / size
    if not (np.isfinite(solution).all() and (solution >= 0).all()):
        return None
    found = np.zeros(2)
    found[list(used)] = solution
    return found
