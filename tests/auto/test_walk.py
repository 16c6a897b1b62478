"""The walk on networks that are only figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from flyweight.auto._walk import COMPARED, ROUNDS, TRIES, Goal, Outcome, State, Walk


@dataclass(frozen=True)
class Cut:
    """An edit: what it leaves of time and bytes, and the points it costs."""

    name: str
    ms: float = 1.0
    bytes: float = 1.0
    points: float = 0.0


@dataclass
class Figures:
    """Makes states by arithmetic. int8 halves the time and takes a quarter of the bytes."""

    first: State
    cuts: Sequence[Cut]
    winning: Sequence[Cut] = ()
    gain: float = 0.0
    tried: list[tuple[str, str]] = field(default_factory=list)
    judged_as: dict[str, bool] = field(default_factory=dict)

    def start(self) -> State:
        return self.first

    def proposals(self, state: State, need: float) -> Sequence[Cut]:
        return self.cuts

    def wins(self, state: State) -> Sequence[Cut]:
        return self.winning

    def make(self, state: State, edit: Cut) -> State | None:
        self.tried.append((state.name, edit.name))
        name, ms = f"a{len(self.tried)}", state.ms * edit.ms
        return State(name, ms, round(state.bytes * edit.bytes), state.accuracy - edit.points)

    def compressed(self, state: State) -> State | None:
        return State(state.name + ".int8", state.ms / 2, state.bytes // 4, state.accuracy)

    def retrained(self, state: State) -> State | None:
        return State("final", state.ms, state.bytes, state.accuracy + self.gain)

    def judged(self, state: State, kept: bool, why: str) -> None:
        self.judged_as[state.name] = kept


START = State("v0", ms=16.0, bytes=4000, accuracy=80.0)
HALF = Cut("half", ms=0.5, bytes=0.5, points=1.0)


def walked(maker: Figures, goal: Goal) -> Outcome:
    return Walk(maker, goal).run()


def test_a_budget_that_the_start_keeps_needs_no_edit() -> None:
    maker = Figures(START, [HALF])
    assert walked(maker, Goal(max_ms=20.0)).chosen == START
    assert maker.tried == []


def test_int8_alone_is_enough_where_it_is() -> None:
    maker = Figures(START, [HALF])
    found = walked(maker, Goal(max_ms=9.0))  # 16 / 2 = 8
    assert (found.chosen.name, found.reached, maker.tried) == ("v0.int8", True, [])


def test_halving_twice_and_int8_reach_an_eighth() -> None:
    maker = Figures(START, [HALF])
    found = walked(maker, Goal(max_ms=2.2))  # 16 -> 8 -> 4, in int8 2; aimed at is 0.95 * 2.2
    assert found.reached
    assert (found.chosen.ms, found.chosen.accuracy) == (2.0, 78.0)


def test_of_two_edits_that_reach_the_goal_the_more_accurate_is_kept() -> None:
    maker = Figures(START, [Cut("dear", ms=0.4, points=4.0), Cut("cheap", ms=0.4, points=1.0)])
    found = walked(maker, Goal(max_ms=4.0))
    assert maker.judged_as == {"a1": False, "a2": True}
    assert found.chosen.accuracy == 79.0


def test_an_edit_that_buys_nothing_is_left() -> None:
    maker = Figures(START, [Cut("idle", ms=0.99), HALF])
    walked(maker, Goal(max_ms=4.5))
    assert maker.judged_as == {"a1": False, "a2": True}


def test_a_network_below_the_floor_is_never_chosen() -> None:
    maker = Figures(START, [Cut("cut", ms=0.5, points=4.0)])
    found = walked(maker, Goal(max_ms=4.5, max_drop=2.0))  # the step may stand, what ships may not
    assert not found.reached
    assert (found.chosen.name, found.chosen.accuracy) == ("v0.int8", 80.0)


def test_what_training_in_one_go_wins_back_counts() -> None:
    found = walked(Figures(START, [Cut("cut", ms=0.5, points=4.0)], gain=3.0), Goal(max_ms=4.5, max_drop=2.0))
    assert (found.reached, found.chosen.name, found.chosen.accuracy) == (True, "final.int8", 79.0)


def test_skips_are_taken_near_the_goal_and_paid_for_by_another_cut() -> None:
    maker = Figures(START, [HALF], winning=[Cut("skips", ms=1.2, points=-6.0)])
    found = walked(maker, Goal(max_ms=2.0))
    assert found.reached
    assert sum(name == "skips" for _, name in maker.tried) == 1
    assert found.chosen.accuracy == 80.0 + 6.0 - 3 * 1.0  # three halvings: 16 * 1.2 / 2**4 = 1.2


def test_an_impossible_budget_ends_with_the_nearest_network() -> None:
    maker = Figures(START, [Cut("cut", ms=0.8, bytes=0.8, points=1.0)])
    found = walked(maker, Goal(max_ms=1e-6, max_bytes=1, max_drop=3.0))
    assert not found.reached
    assert found.chosen == min((s for s in (found.chosen, START)), key=lambda s: s.ms)
    assert START.accuracy - found.chosen.accuracy <= 3.0
    assert found.chosen.ms == 16 * 0.8**3 / 2  # three cuts keep the floor of 77 points


@given(
    st.lists(
        st.builds(Cut, st.text("abc", max_size=2), st.floats(0.1, 1.5), st.floats(0.1, 1.5), st.floats(-5, 50)),
        max_size=6,
    ),
    st.floats(1e-9, 20),
    st.one_of(st.none(), st.floats(0, 100)),
)
def test_every_walk_ends_within_its_bounds_on_a_network_that_it_measured(
    cuts: list[Cut], max_ms: float, max_drop: float | None
) -> None:
    maker = Figures(START, cuts, winning=cuts[:2])
    goal = Goal(max_ms=max_ms, max_drop=max_drop)
    walk = Walk(maker, goal)
    found = walk.run()
    assert len(maker.tried) <= (ROUNDS + 1) * TRIES
    assert COMPARED <= TRIES
    assert found.chosen in walk.seen
    assert found.chosen.accuracy >= (-math.inf if max_drop is None else START.accuracy - max_drop)
    assert found.reached == (goal.over(found.chosen) <= 1)
