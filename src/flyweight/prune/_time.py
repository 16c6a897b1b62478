"""What a network takes without some channels: modelled from the measured layers of a few pruned copies of it.

A layer's time is taken to be ``t = c + a·x·y + b·(x + y) / 2`` with no negative term, ``x`` and ``y`` being the shares
of the channels that it reads and makes; of layers with one kind of channels (depthwise, pooling, additions)
``t = c + b·x``. The terms are fitted to the layer's own measured times at several widths, relative errors counting
alike. So a layer that waits for memory, or whose kernel hardly gets faster with fewer channels, is known for that.

Source of the idea: NetAdapt (Yang et al., ECCV 2018, section 3.3), whose tables hold whole layers by width; the
model between the widths is ours.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flyweight.coupling import NONE, Coupling, ParamAxis
from flyweight.prune._cost import Cost, Part

__all__ = ["Timing", "timed_cost"]

WEIGHED = ("conv", "conv_transpose", "linear")


@dataclass(frozen=True)
class Timing:
    """A network that was measured.

    Attributes:
        removed: numbers of the channels that it was without, as in the coupling of the whole network.
        us: µs by module; they sum to the whole run.
    """

    removed: tuple[int, ...]
    us: Mapping[str, float]

    @property
    def total_us(self) -> float:
        """Of a whole run."""
        return sum(self.us.values())


def timed_cost(coupling: Coupling, timings: Sequence[Timing]) -> Cost:
    """Return the modelled time, in µs, of a network without some of its channels.

    Args:
        coupling: of the whole network.
        timings: of it and of pruned copies. With one alone, all of a layer's time is taken to go with its channels.
    """
    axes, fixed, parts = _axes_of(coupling), 0.0, list[Part]()
    masks = [_mask(coupling, timing.removed) for timing in timings]
    for module in dict.fromkeys(name for timing in timings for name in timing.us):
        times = np.array([timing.us.get(module, 0.0) for timing in timings])
        own = axes.get(module, ())
        terms = _terms(own, masks)
        constant, *slopes = _fitted(np.stack([np.ones(len(times)), *terms], 1), times)
        fixed += constant
        parts += _parts(own, slopes)
    return Cost(fixed, tuple(parts))


def _axes_of(coupling: Coupling) -> Mapping[str, tuple[ParamAxis, ...]]:
    """Return the channels along which each module's work runs: those read and made, or only those made."""
    found: dict[str, tuple[ParamAxis, ...]] = {}
    for node in coupling.graph.nodes:
        weight = node.operands[1] if node.op in WEIGHED and len(node.operands) > 1 else ""
        own = tuple(axis for axis in coupling.params.get(weight, ()) if (axis.ids != NONE).any())
        if own:
            found[node.module] = own[:2]
        elif node.module not in found and node.outputs:
            ids = np.unique(coupling.labels[node.outputs[0]])
            if (ids != NONE).any():
                found[node.module] = (ParamAxis("", 0, ids[ids != NONE][None]),)
    return found


def _mask(coupling: Coupling, removed: Sequence[int]) -> NDArray[np.bool_]:
    gone = np.zeros(len(coupling.group_of) + 1, bool)  # the last: what has no channel
    gone[list(removed)] = True
    return gone


def _terms(axes: Sequence[ParamAxis], masks: Sequence[NDArray[np.bool_]]) -> list[NDArray[np.float64]]:
    """Return the product and the mean of the shares left; of one kind of channels only their share."""
    shares = np.array([[1.0 - gone[axis.ids].mean() for axis in axes] for gone in masks])
    if not axes:
        return []
    return [shares[:, 0]] if len(axes) == 1 else [shares.prod(1), shares.mean(1)]


def _parts(axes: Sequence[ParamAxis], slopes: Sequence[float]) -> list[Part]:
    if len(slopes) < 2:
        return [(slope, tuple(axes)) for slope in slopes if slope]
    both, mean = slopes
    found: list[Part] = [(both, tuple(axes))] if both else []
    return found + ([(mean / 2, (axis,)) for axis in axes] if mean else [])


def _fitted(terms: NDArray[np.float64], times: NDArray[np.float64]) -> list[float]:
    """Return the coefficients of least relative squares, none negative; the constant only where it is needed.

    Of equally good ones those that let the time fall with the channels, so that a single timing is a proportion.
    """
    best, least = np.zeros(terms.shape[1]), math.inf
    seen = times > 0
    if not seen.any():
        return best.tolist()
    scaled = terms[seen] / times[seen, None]
    places = [*range(1, terms.shape[1]), 0]
    for size in range(1, len(places) + 1):
        for used in itertools.combinations(places, size):
            found = np.linalg.lstsq(scaled[:, used], np.ones(len(scaled)), rcond=None)[0]
            error = float(np.sum((scaled[:, used] @ found - 1) ** 2))
            if (found >= 0).all() and error < least - 1e-9:
                best, least = np.zeros(terms.shape[1]), error
                best[list(used)] = found
    return best.tolist()
