"""What positions along one axis see of another axis: a repeating pattern of intervals, in exact integers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Axis:
    """Position ``i`` sees the pixels ``low[i] … high[i]``; after a period it repeats, ``advance`` pixels further on.

    ``whole`` marks that some operator on the way looked at all pixels; the pattern then still tells the stride.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    advance: int
    whole: bool = False

    @property
    def period(self) -> int:
        """Number of positions after which the pattern repeats."""
        return len(self.low)

    @property
    def size(self) -> int:
        """Largest number of pixels that one position sees."""
        return max(high - low + 1 for low, high in zip(self.low, self.high, strict=True))

    def at(self, position: int) -> tuple[int, int]:
        """Return the first and the last pixel that ``position`` sees; last < first where it sees none."""
        turn, phase = divmod(position, self.period)
        return self.low[phase] + turn * self.advance, self.high[phase] + turn * self.advance

    def fixed(self, position: int) -> Axis:
        """Return the axis of a tensor that has this one position only."""
        low, high = self.at(position)
        return Axis((low,), (high,), 0, self.whole)

    def resampled(self, ratio: Fraction, sources: Callable[[int], Iterable[int]]) -> Axis:
        """Return the axis whose position ``o`` reads the positions ``sources(o)``, ``ratio`` further on each time."""
        period = ratio.denominator * (self.period // math.gcd(self.period, ratio.numerator))
        seen = []
        for output in range(period):
            read = [self.at(source) for source in sources(output)]
            low = self.at(math.floor(output * ratio))[0]
            seen.append(_cover(read or [(low, low - 1)]))
        advance = Fraction(self.advance, self.period) * ratio * period
        return _axis(seen, int(advance), self.whole)

    def window(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Axis:
        """Return the axis behind a convolution or a pooling."""
        return self.resampled(Fraction(stride), lambda o: (o * stride - padding + t * dilation for t in range(kernel)))

    def transposed(self, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> Axis:
        """Return the axis behind a transposed convolution."""

        def sources(output: int) -> list[int]:
            reached = (output + padding - tap * dilation for tap in range(kernel))
            return [position // stride for position in reached if position % stride == 0]

        return self.resampled(Fraction(1, stride), sources)

    def hull(self, other: Axis, positions: int) -> Axis:
        """Return the axis that sees what either sees; if their strides differ, right for the first ``positions``."""
        main = self if self.advance else other
        if self.advance * other.period == other.advance * self.period:
            period = math.lcm(self.period, other.period)
        else:
            period = main.period * math.ceil(max(positions, 1) / main.period)
        seen = [_cover([self.at(i), other.at(i)]) for i in range(period)]
        return _axis(seen, main.advance * period // main.period, self.whole or other.whole)


def _cover(intervals: list[tuple[int, int]]) -> tuple[int, int]:
    filled = [(low, high) for low, high in intervals if low <= high] or intervals[:1]
    return min(low for low, _ in filled), max(high for _, high in filled)


def _axis(seen: list[tuple[int, int]], advance: int, whole: bool) -> Axis:
    """Return the axis with the shortest period."""
    full = Axis(tuple(low for low, _ in seen), tuple(high for _, high in seen), advance, whole)
    for period in range(1, full.period):
        if full.period % period or advance * period % full.period:
            continue
        cut = Axis(full.low[:period], full.high[:period], advance * period // full.period, whole)
        if all(cut.at(i) == full.at(i) for i in range(period, full.period)):
            return cut
    return full
