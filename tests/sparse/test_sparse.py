"""Magnitude pruning: the masks, the schedules, and zeros that stay exactly zero."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.errors import UsageError
from flyweight.sparse import (
    SCOPES,
    Block,
    Cubic,
    Gradual,
    NOfM,
    OneShot,
    applied,
    densities_within,
    density,
    held,
    holding,
    magnitude,
    scan,
    weights_of,
    zeros,
)


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten(),
        nn.Linear(8 * 16, 10),
    )  # fmt: skip


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("share", [0.0, 0.08, 0.5, 1.0])
def test_the_share_that_is_asked_for_stays(scope: str, share: float) -> None:
    module = net()
    masks = magnitude(module, share, scope)  # type: ignore[arg-type]
    assert set(masks) == {"0.weight", "4.weight"}  # not the depthwise convolution's, nor biases
    assert density(masks) == pytest.approx(share, abs=2 / 1496)  # 216 + 1280 weights


def test_a_layer_keeps_its_largest() -> None:
    module = net()
    weight = module[4].weight.detach().abs()
    mask = magnitude(module, {"4.weight": 0.1})["4.weight"]
    assert int(mask.sum()) == 128 and weight[mask].min() > weight[~mask].max()


def test_lamp_keeps_every_layers_largest_weight_where_global_empties_a_layer_of_small_ones() -> None:
    module = net()
    module[0].weight.data.mul_(1e-4)
    assert not magnitude(module, 0.2, "global")["0.weight"].any()
    for scope in ("lamp", "deviation"):
        assert magnitude(module, 0.2, scope)["0.weight"].any()  # type: ignore[arg-type]
    assert magnitude(module, 0.2, "global", least=0.25)["0.weight"].sum() == 54  # a quarter of 216


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.sampled_from([(2, 4), (1, 4), (4, 8), (1, 1)]))
@settings(max_examples=40, deadline=None)
def test_n_of_m_holds_in_every_group(seed: int, rows: int, columns: int, pattern: tuple[int, int]) -> None:
    torch.manual_seed(seed)
    keep, of = pattern
    module = nn.Sequential(nn.Linear(columns, rows))
    mask = magnitude(module, 1.0, "layer", NOfM(keep, of))["0.weight"]
    weight = module[0].weight.detach().abs()
    for row in range(rows):
        for at in range(0, columns, of):
            group, stay = weight[row, at : at + of], mask[row, at : at + of]
            assert int(stay.sum()) == min(keep, len(group))
            assert not (~stay).any() or group[stay].min() >= group[~stay].max()


def test_n_of_m_of_a_convolution_runs_along_its_inputs() -> None:
    mask = magnitude(nn.Sequential(nn.Conv2d(8, 4, 3)), 1.0, "layer", NOfM(2, 4))["0.weight"]
    assert (mask.reshape(4, 2, 4, 9).sum(2) == 2).all()


def test_blocks_go_as_a_whole() -> None:
    module = net()
    mask = magnitude(module, 0.25, "global", Block(2, 4))["4.weight"]
    assert set(mask.reshape(5, 2, 32, 4).sum((1, 3)).unique().tolist()) == {0, 8}


@pytest.mark.parametrize("make", [
    lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
])  # fmt: skip
def test_zeros_stay_exactly_zero_under_momentum_and_weight_decay(make: object) -> None:
    module = net()
    optimizer = make(module.parameters())  # type: ignore[operator]
    step(module, optimizer, 0)  # momentum is there before anything is pruned
    masks = magnitude(module, 0.3, "layer")
    with held(optimizer, module, masks):
        for number in range(5):
            step(module, optimizer, number)
            for name, weight in weights_of(module).items():
                assert (weight[~masks[name]] == 0).all() and (weight[masks[name]] != 0).all()
    step(module, optimizer, 9)
    assert (module[4].weight != 0).all()  # let go: momentum alone moves them


def step(module: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    torch.manual_seed(seed)
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(module(torch.randn(4, 3, 4, 4)), torch.arange(4))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def test_the_cubic_schedule_is_the_papers() -> None:
    schedule = Cubic(0.1, begin=10, end=50, every=20)
    assert [schedule.at(step) for step in (9, 11, 51)] == [None] * 3
    assert schedule.at(10) == 1 and schedule.at(50) == pytest.approx(0.1)
    assert schedule.at(30) == pytest.approx(0.1 + 0.9 / 8)  # half way: (1 - 1/2)³


def test_gradual_pruning_only_takes_and_goes_on_from_the_weights_alone() -> None:
    module, schedule = net(), Cubic(0.2, end=8, every=2)
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    gradual = Gradual(schedule)
    gradual(module, -1)
    before = zeros(module)
    for number in range(10):
        step(module, optimizer, number)
        if number == 5:  # killed, and gone on from what was saved
            applied(module, gradual.masks or {})
            gradual = Gradual(schedule)
            gradual(module, 4)
        gradual(module, number)
        now = zeros(module)
        assert all((before[name] | ~now[name]).all() for name in now)  # what is zero stays zero
        before = now
    assert density({n: before[n] for n in weights_of(module)}) == pytest.approx(0.2, abs=0.001)


def test_one_shot_prunes_before_the_first_step_and_holding_keeps_it() -> None:
    module = net()
    one = Gradual(OneShot(0.5), "global")
    one(module, -1)
    masks = zeros(module)
    assert density({n: masks[n] for n in weights_of(module)}) == pytest.approx(0.5, abs=0.001)
    optimizer = torch.optim.Adam(module.parameters())
    step(module, optimizer, 0)
    holding(masks)(module, 0)
    assert all(torch.equal(zeros(module)[name], mask) for name, mask in masks.items())


def test_the_scan_prunes_one_layer_at_a_time_and_leaves_the_network_as_it_was() -> None:
    module = net()
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    rows = scan(module, lambda m: float((m[0].weight != 0).float().mean()), (0.1, 0.5))
    assert [row.layer for row in rows] == ["0.weight", "4.weight"]
    assert rows[0].metric == {0.5: 0.5, 0.1: pytest.approx(22 / 216)} and set(rows[1].metric.values()) == {1.0}
    assert densities_within(rows, 0.4) == {"0.weight": 0.5, "4.weight": 0.1}
    assert all(torch.equal(state[name], tensor) for name, tensor in module.state_dict().items())


@pytest.mark.parametrize(
    ("density", "scope", "message"),
    [(1.5, "layer", "0 \\(nothing is left\\) to 1"), (0.5, "best", "layer, global"), ({"x": 0.5}, "layer", "0.weight"),
     ({"0.weight": 0.5}, "global", "for the scope")],
)  # fmt: skip
def test_what_can_not_be_pruned_is_told(density: object, scope: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        magnitude(net(), density, scope)  # type: ignore[arg-type]
