"""k-means of numbers on a line: sorted once, each round is a search of k borders and k differences of running sums.

Source: Lloyd 1982; the three beginnings: Han et al. 2016 (arXiv 1510.00149), section 3.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from flyweight.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Start: TypeAlias = Literal["linear", "density", "random"]
STARTS: tuple[Start, ...] = get_args(Start)
ROUNDS = 200


def kmeans(
    values: NDArray[np.float32], count: int, start: Start = "linear", seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return at most ``count`` centroids, rising, and for each value the index of its own.

    Args:
        values: ``(n,)``, finite, at least one. Where they are no more than ``count`` different ones, these are it.
        start: ``linear``: evenly from the smallest to the largest, so that large weights, which matter most, get
            centroids near them; ``density``: at even steps of their cumulative distribution; ``random``: some of them.
        seed: of ``random``.

    Raises:
        UsageError: no value, one that is not finite, fewer than one centroid, or an unknown start.
    """
    if start not in STARTS or count < 1 or not len(values) or not np.isfinite(values).all():
        raise UsageError(
            f"k-means of {len(values)} values with {count} centroids, beginning '{start}'. Wanted: finite values, at "
            f"least one centroid, and one of: {', '.join(STARTS)}."
        )
    ordered = np.sort(values.astype(np.float64))
    different = np.unique(ordered)
    centres = different if len(different) <= count else _lloyd(ordered, _begin(different, ordered, count, start, seed))
    book = np.unique(centres.astype(np.float32))
    return book, np.searchsorted(_borders(book.astype(np.float64)), values.astype(np.float64), side="left")


def _begin(
    different: NDArray[np.float64], ordered: NDArray[np.float64], count: int, start: Start, seed: int
) -> NDArray[np.float64]:
    if start == "linear":
        return np.linspace(ordered[0], ordered[-1], count)
    if start == "density":
        places = (np.arange(count) + 0.5) / count * len(ordered)
        return np.unique(ordered[places.astype(np.int64)])
    return np.sort(np.random.default_rng(seed).choice(different, count, replace=False))


def _lloyd(ordered: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the centres where nothing moves any more; one without values goes."""
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    before = np.zeros(0, np.int64)
    for _ in range(ROUNDS):
        ends = np.searchsorted(ordered, _borders(centres), side="right")
        ends = np.concatenate([[0], ends, [len(ordered)]])
        if np.array_equal(ends, before):
            break
        before, counts = ends, np.diff(ends)
        means = np.diff(sums[ends]) / np.maximum(counts, 1)
        centres = np.sort(np.where(counts > 0, means, centres))
    taken: NDArray[np.float64] = centres[np.diff(before) > 0] if len(before) == len(centres) + 1 else centres
    return taken


def _borders(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    return (centres[1:] + centres[:-1]) / 2
