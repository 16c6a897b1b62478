"""The walk towards a goal, on measured figures alone: which edit is tried next, which is kept, when it ends.

Every loop is bounded: a state tries at most ``TRIES`` edits, the walk makes at most ``ROUNDS`` steps, and no network is
made twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

ROUNDS = 10  # steps towards the goal
TRIES = 4  # edits tried at one state
COMPARED = 2  # edits that pay, among which a step chooses
LEAST_GAIN = 0.03  # share by which an edit must lower what is over the goal
WON_BACK = 5.0  # points below the floor that a step may stand: skips and the last training win some back
PRICE = 3.0  # points of the metric that halving what is over the goal may cost
LEAST_WIN = 0.3  # points that an edit for the accuracy must win
NEAR = 2.0  # times the goal below which edits for the accuracy are tried
MARGIN = 0.95  # of the time and the accuracy's drop that is aimed at: the next measurement is another one


@dataclass(frozen=True)
class Goal:
    """What shall hold of the exported file: time of one inference, size, and points of the headline metric that it may
    be below the first rung. None: no limit.
    """

    max_ms: float | None = None
    max_bytes: int | None = None
    max_drop: float | None = None

    def over(self, state: State) -> float:
        """Return how many times the limit on time or size is taken up, whichever more; at most 1 is kept."""
        shares = [0.0]
        if self.max_ms is not None:
            shares.append(state.ms / (MARGIN * self.max_ms))
        if self.max_bytes is not None:
            shares.append(state.bytes / self.max_bytes)
        return max(shares)

    def floor(self, start: State) -> float:
        """Return the accuracy that must be kept, in points."""
        return -math.inf if self.max_drop is None else start.accuracy - self.max_drop


@dataclass(frozen=True)
class State:
    """A measured network: its time in its first runtime, its file, its accuracy in points on the validation split."""

    name: str
    ms: float
    bytes: int
    accuracy: float


Edit = TypeVar("Edit")


class Maker(Protocol[Edit]):
    """Who makes and measures the networks."""

    def start(self) -> State:
        """Return the network that the walk begins with."""

    def proposals(self, state: State, need: float) -> Sequence[Edit]:
        """Return edits that buy time or bytes, the most promising first; ``need``: share of them that may stay."""

    def wins(self, state: State) -> Sequence[Edit]:
        """Return edits that win accuracy at the cost of time, the best first."""

    def make(self, state: State, edit: Edit) -> State | None:
        """Apply an edit, train briefly, export, measure; None where that network was made before or can't be made."""

    def compressed(self, state: State) -> State | None:
        """Return the network folded and in int8, measured; None where that can't be made."""

    def retrained(self, state: State) -> State | None:
        """Return the network trained from new weights, in one go; None where that is no use."""

    def judged(self, state: State, kept: bool, why: str) -> None:
        """Be told what became of a network, in words."""


@dataclass
class Outcome:
    """The end of a walk: the network that ships, whether the goal is kept, and why the walk ended."""

    chosen: State
    reached: bool
    why: str


@dataclass
class Walk(Generic[Edit]):
    """One walk; ``seen`` are all networks that it measured."""

    maker: Maker[Edit]
    goal: Goal
    seen: list[State] = field(default_factory=list)
    small: dict[str, State | None] = field(default_factory=dict)

    def run(self) -> Outcome:
        """Walk until the goal holds, or no edit pays."""
        start = self._noted(self.maker.start())
        if self.goal.over(start) <= 1:
            return Outcome(start, True, f"{start.name} keeps the budget as it is")
        current, why = self._descend(start)
        if current is not start and (last := self.maker.retrained(current)) is not None:
            self._noted(last)
            self._best_form(last)
        return self._end(start, why)

    def _descend(self, start: State) -> tuple[State, str]:
        current, won = start, False
        for _ in range(ROUNDS):
            best = self._best_form(current)
            over = self.goal.over(best)
            if not won and over <= NEAR:
                won = True
                current = self._win(current)
                over = self.goal.over(self._best_form(current))
            if over <= 1:
                return current, "the budget holds"
            after = self._step(current, start, over)
            if after is None:
                return current, f"nothing more pays at {current.name}"
            current = after
        return current, f"{ROUNDS} steps were made"

    def _best_form(self, state: State) -> State:
        """Return the network as it is, or in int8 where that is nearer to the goal."""
        if state.name not in self.small:
            made = self.maker.compressed(state)
            self.small[state.name] = self._noted(made) if made else None
        return min((s for s in (state, self.small[state.name]) if s), key=self.goal.over)

    def _step(self, current: State, start: State, over: float) -> State | None:
        """Try edits; return the best of those that pay."""
        paying: list[State] = []
        share = over / self.goal.over(current)  # what int8 leaves of it
        for made in self._tried(current, self.maker.proposals(current, 1 / over)):
            ratio = self.goal.over(made) / self.goal.over(current)
            if ratio > 1 - LEAST_GAIN:
                self.maker.judged(made, False, f"left: {ratio:.2f} times what {current.name} takes up")
            elif made.accuracy < self.goal.floor(start) - WON_BACK:
                self.maker.judged(made, False, f"left: {start.accuracy - made.accuracy:.1f} points below {start.name}")
            else:
                paying.append(made)
            if len(paying) == COMPARED:
                break
        best = max(paying, key=lambda s: s.accuracy - PRICE * _halvings(share * self.goal.over(s)), default=None)
        for made in paying:
            word = "kept" if made is best else "left: the other edit pays more"
            self.maker.judged(made, made is best, f"{word}, {made.accuracy - current.accuracy:+.1f} points")
        return best

    def _win(self, current: State) -> State:
        """Try edits for the accuracy; return the network with the first that wins enough, else the one given."""
        for made in self._tried(current, self.maker.wins(current)):
            gain = made.accuracy - current.accuracy
            good = gain >= LEAST_WIN
            self.maker.judged(made, good, f"{'kept' if good else 'left'}: {gain:+.1f} points")
            if good:
                return made
        return current

    def _tried(self, current: State, edits: Sequence[Edit]) -> Iterator[State]:
        count = 0
        for edit in edits:
            if count == TRIES:
                return
            if (made := self.maker.make(current, edit)) is not None:
                count += 1
                yield self._noted(made)

    def _noted(self, state: State) -> State:
        self.seen.append(state)
        return state

    def _end(self, start: State, why: str) -> Outcome:
        """Choose what ships: the most accurate that keeps the goal, else the nearest that keeps the accuracy."""
        good = [state for state in self.seen if state.accuracy >= self.goal.floor(start)]
        kept = [state for state in good if self.goal.over(state) <= 1]
        if kept:
            return Outcome(max(kept, key=lambda s: s.accuracy), True, why)
        return Outcome(min(good, key=self.goal.over), False, why)


def _halvings(over: float) -> float:
    return math.log2(max(over, 1.0))
