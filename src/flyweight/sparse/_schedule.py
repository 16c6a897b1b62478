"""How the density falls while a network trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from flyweight.errors import UsageError


class Schedule(Protocol):
    """The density that is wanted behind a step of training, counted from 0; None: the masks stay as they are."""

    def at(self, step: int) -> float | None:
        """Return it."""


@dataclass(frozen=True)
class OneShot:
    """All at once, before the first step."""

    density: float

    def at(self, step: int) -> float | None:
        """Return the density once, then None."""
        return self.density if step < 0 else None


@dataclass(frozen=True)
class Cubic:
    """Quickly at first, where much can go, then slower: Zhu and Gupta 2017 (arXiv 1710.01878), equation 1.

    The share of zeros is s = s_f + (s_i - s_f) (1 - (t - begin) / (end - begin))³.

    Attributes:
        density: in the end. begin, end: steps, the last of them with the final density. every: steps between changes.
        start: density at ``begin``.
    """

    density: float
    end: int
    begin: int = 0
    every: int = 20
    start: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.density <= self.start <= 1 or not 0 <= self.begin < self.end or self.every < 1:
            raise UsageError(
                f"a density from {self.start} to {self.density} over steps {self.begin} to {self.end}, every "
                f"{self.every}; wanted: densities from 0 to 1 that fall, steps from 0 that rise, every 1 or more."
            )

    def at(self, step: int) -> float | None:
        """Return the density where the masks change, at ``begin``, each ``every`` steps, and at ``end``; else None."""
        if not self.begin <= step <= self.end or ((step - self.begin) % self.every and step != self.end):
            return None
        left = 1 - (step - self.begin) / (self.end - self.begin)
        return self.density + (self.start - self.density) * left**3
