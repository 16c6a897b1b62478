"""The modelled time of a pruned network, and which channels go when time counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.coupling import Coupling, couple
from flyweight.errors import UsageError
from flyweight.prune import Goal, Timing, plan, timed_cost
from flyweight.trace import trace
from tests.prune.awkward import image, seasoned


class Chain(nn.Module):
    """Two convolutions whose channels are free, and one that makes the output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 16, 1), nn.Conv2d(16, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.second(self.first(x).relu()).relu())
        return out


def net() -> Chain:
    torch.manual_seed(0)
    return seasoned(Chain())  # type: ignore[return-value]


def coupled() -> Coupling:
    return couple(trace(net(), image()))


def ids(coupling: Coupling, module: str, count: int) -> tuple[int, ...]:
    """The first so many channels that a layer makes."""
    source = next(source for source in coupling.sources if source.module == module)
    return tuple(source.ids)[:count]


def timing(coupling: Coupling, share: float, us: dict[str, float]) -> Timing:
    gone = (*ids(coupling, "first", round(32 * (1 - share))), *ids(coupling, "second", round(16 * (1 - share))))
    return Timing(gone, us)


def mask(coupling: Coupling, gone: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    found = np.zeros(len(coupling.group_of), bool)
    found[list(gone)] = True
    return found


def test_a_layer_measured_at_full_width_alone_is_taken_to_go_with_its_channels() -> None:
    coupling = coupled()
    cost = timed_cost(coupling, [timing(coupling, 1, {"first": 100.0, "second": 80.0, "last": 10.0})])
    assert cost.left(mask(coupling, ())) == pytest.approx(190)
    half = mask(coupling, ids(coupling, "first", 16))
    assert cost.left(half) == pytest.approx(100 / 2 + 80 / 2 + 10)  # first makes half, second reads half


def test_a_layer_that_never_gets_faster_is_known_for_it() -> None:
    coupling = coupled()
    measured = [timing(coupling, share, {"first": 50.0, "second": 80 * share**2}) for share in (1, 0.75, 0.5, 0.25)]
    cost = timed_cost(coupling, measured)
    assert cost.left(mask(coupling, ids(coupling, "first", 16))) == pytest.approx(50 + 80 / 2, rel=1e-3)
    assert cost.left(mask(coupling, ids(coupling, "second", 8))) == pytest.approx(50 + 80 / 2, rel=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 50), st.floats(0, 100), st.floats(0, 100))
def test_times_of_the_models_form_are_found_again(constant: float, product: float, mean: float) -> None:
    """t = c + a·x·y + b·(x + y) / 2; second reads what first makes, so that x = y = share here."""
    coupling = coupled()
    shares = (1.0, 0.75, 0.5, 0.25)
    times = [constant + product * share**2 + mean * share + 1 for share in shares]
    cost = timed_cost(coupling, [timing(coupling, s, {"second": t}) for s, t in zip(shares, times, strict=True)])
    for share, time in zip(shares, times, strict=True):
        assert cost.left(mask(coupling, timing(coupling, share, {}).removed)) == pytest.approx(time, rel=1e-4)


def test_gain_counts_what_left_counts() -> None:
    coupling = coupled()
    cost = timed_cost(coupling, [timing(coupling, s, {"first": 10 + 90 * s, "second": 80 * s * s}) for s in (1, 0.5)])
    gone, lost = ids(coupling, "first", 8), ids(coupling, "second", 4)
    difference = cost.left(mask(coupling, gone)) - cost.left(mask(coupling, (*gone, *lost)))
    assert cost.gain(lost, mask(coupling, gone)) == pytest.approx(difference)


def test_channels_of_the_slow_layer_go_where_what_is_lost_is_alike() -> None:
    coupling = coupled()
    us = {"first": 1000.0, "second": 1.0, "last": 1.0}
    found = plan(net(), image(), Goal(0.7, "time", "gain", 4), "l1", timings=[timing(coupling, 1, us)])
    left = {layer.layer: layer.after for layer in found.layers}
    assert found.reached and found.time_us[0] == pytest.approx(1002)
    assert left["first"] < 32 * 0.75 and left["second"] == 16  # 'second' costs nothing: all of its channels stay
    other = plan(net(), image(), Goal(0.7, "time", "gain", 4), "l1", timings=[timing(coupling, 1, {"last": 100.0})])
    assert {layer.layer: layer.after for layer in other.layers}["first"] == 32


def test_each_step_of_gain_takes_a_multiple() -> None:
    coupling = coupled()
    us = {"first": 100.0, "second": 80.0, "last": 10.0}
    found = plan(net(), image(), Goal(0.6, "time", "gain", 8), "l1", timings=[timing(coupling, 1, us)])
    assert all(layer.after % 8 == 0 for layer in found.layers if layer.after < layer.before)


def test_a_goal_of_time_without_timings_is_refused() -> None:
    with pytest.raises(UsageError, match=r"needs timings .* flyweight\.prune_time\.timed"):
        plan(net(), image(), Goal(0.5, "time", "gain"))
