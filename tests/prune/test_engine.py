"""Pruning: exact on every wiring, or the layer is left whole and why is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from flyweight.errors import UsageError
from flyweight.profile import profile_module
from flyweight.prune import CRITERIA, Evidence, Goal, Plan, difference, plan, prune, silenced
from flyweight.testing._networks import seasoned as seasoned_spec
from flyweight.zoo import ZOO
from tests.prune.awkward import LOSING, PARTLY, conv, image, normed, seasoned
from tests.wirings import BLOCKS, network

EXACT = 1e-10  # in double precision


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    return seasoned((LOSING.get(name) or PARTLY[name][0])())


def widths(found: Plan) -> dict[str, tuple[int, int]]:
    return {layer.layer: (layer.before, layer.after) for layer in found.layers}


def evidence(seed: int = 0) -> Evidence:
    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(outputs.flatten(2).mean(2) if outputs.dim() > 2 else outputs, targets)

    return Evidence([(image(4, seed=i), torch.arange(4) % 2) for i in (seed, seed + 1)], loss)


@pytest.mark.parametrize("name", LOSING)
def test_pruned_equals_the_network_whose_channels_are_zero_where_they_are_made(name: str) -> None:
    net = made(name)
    found = prune(net, image(), Goal(0.5))
    assert found.plan.removed
    dead = silenced(net, found.plan.coupling, found.plan.removed)
    assert difference(dead, found.module, image(2, seed=1)) < EXACT
    assert profile_module(found.module, image()).macs == found.plan.macs[1] < found.plan.macs[0]


@pytest.mark.parametrize("name", PARTLY)
def test_a_layer_that_cannot_lose_channels_is_left_whole_with_its_reason_and_others_lose(name: str) -> None:
    _, layer, word = PARTLY[name]
    net = made(name)
    found = prune(net, image(), Goal(0.5))
    reasons = {x.layer: x.why for x in found.plan.left_whole}
    assert word in reasons[layer], reasons
    assert found.plan.removed
    dead = silenced(net, found.plan.coupling, found.plan.removed)
    assert difference(dead, found.module, image(1, seed=1)) < EXACT


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5),
    st.sampled_from([name for name in CRITERIA if not CRITERIA[name].needs_data]),
    st.floats(0.1, 0.9),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 10**6),
)
def test_whatever_is_asked_of_a_random_network_is_exact_or_left(
    names: list[str], criterion: str, share: float, multiple: int, seed: int
) -> None:
    net, example = network(names, seed), torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    found = prune(net, example, Goal(share, multiple=multiple), criterion, Evidence(seed=seed))
    dead = silenced(net, found.plan.coupling, found.plan.removed)
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert difference(dead, found.module, x) < EXACT
    assert all(after % multiple == 0 for before, after in widths(found.plan).values() if after < before)


@pytest.mark.parametrize("name", ["shufflenet_v1_g3_0.25", "mobilenet_v3_small_1.0", "shiftnet_a"])
def test_networks_of_the_zoo_are_pruned_exactly(name: str) -> None:
    spec = ZOO.get(name).spec
    net = seasoned_spec(spec.replace(input=replace(spec.input, height=64, width=64))).module.double()
    example = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    found = prune(net, example, Goal(0.5))
    dead = silenced(net, found.plan.coupling, found.plan.removed)
    assert difference(dead, found.module, torch.randn_like(example)) < EXACT
    assert found.plan.reached


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_reaches_half_of_the_macs(criterion: str) -> None:
    net = made("plain with norms")
    found = plan(net, image(), Goal(0.5), criterion, evidence())
    assert found.reached
    assert found.share > 0.4


def test_criteria_rank_filters_by_what_they_say() -> None:
    net = seasoned(nn.Sequential(conv(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 2, 1)))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1, 1, 1], [5, 5, 5], [5.1, 5, 5], [5, 5, -6]])[:, :, None, None])
        net[1].weight.copy_(torch.tensor([2, 2, 0.1, 2]))
        net[3].weight[:, 1] = 0  # the loss does not see the second
    goal = Goal(0.8)  # MACs 20 a pixel: one channel of four goes
    gone = {name: plan(net, image(), goal, name, evidence()).removed for name in CRITERIA}
    first = plan(net, image(), goal).coupling.sources[1].ids.start
    assert [gone[name][0] - first for name in ("l1", "geometric_median", "bn_scale", "taylor")] == [0, 1, 2, 1]


def test_local_takes_the_same_share_of_each_layer_where_global_goes_by_importance() -> None:
    net = seasoned(nn.Sequential(normed(3, 20), normed(20, 20), conv(20, 4)))
    with torch.no_grad():
        net[0][1].weight[:].fill_(0.01)  # the first layer is unimportant
    lost = {
        scope: [b - a for b, a in widths(plan(net, image(), Goal(0.5, scope=scope), "bn_scale")).values()]  # type: ignore[arg-type]
        for scope in ("local", "global")
    }
    assert abs(lost["local"][0] - lost["local"][1]) <= 1
    assert lost["global"][0] > lost["global"][1]


def test_layers_keep_a_multiple_of_eight_where_they_lose_some() -> None:
    net = seasoned(nn.Sequential(normed(3, 40), normed(40, 24), conv(24, 4)))
    found = plan(net, image(), Goal(0.5, multiple=8))
    assert [after % 8 for _, after in list(widths(found).values())[:2]] == [0, 0]
    assert found.reached


def test_a_group_convolution_keeps_its_groups_of_equal_size() -> None:
    found = prune(made("grouped convolution and shuffle"), image(), Goal(0.4))
    grouped = found.module.get_submodule("1")
    assert isinstance(grouped, nn.Conv2d)
    assert grouped.groups == 4
    assert grouped.out_channels % 4 == grouped.in_channels % 4 == 0


def test_a_shuffle_whose_columns_are_fixed_is_read_as_one() -> None:
    found = plan(made("a shuffle of as many columns as groups"), image(), Goal(0.3))
    assert not found.left_whole
    assert all(after < before for layer, (before, after) in widths(found).items() if layer in ("first", "second"))


def test_parameters_can_be_the_goal() -> None:
    found = plan(made("flatten into linear"), image(), Goal(0.3, "params"))
    assert found.reached
    assert found.params[1] <= 0.3 * found.params[0]


def test_the_network_itself_is_left_as_it_was() -> None:
    net = made("squeeze and excitation")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = prune(net, image(), Goal(0.5), "taylor", evidence())
    silenced(net, found.plan.coupling, found.plan.removed)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_what_cannot_be_is_refused_with_what_can() -> None:
    net = made("plain with norms")
    with pytest.raises(UsageError, match="There are: l1"):
        plan(net, image(), Goal(), "l2")
    with pytest.raises(UsageError, match="needs images"):
        plan(net, image(), Goal(), "taylor")
    with pytest.raises(UsageError, match="between 0 and 1"):
        Goal(1.0)


def test_a_criterion_that_says_nothing_of_a_layer_leaves_it_whole() -> None:
    net = seasoned(nn.Sequential(conv(3, 16), nn.ReLU(), normed(16, 16), conv(16, 4)))
    found = plan(net, image(), Goal(0.5), "bn_scale")
    assert [x.why for x in found.left_whole] == ["the criterion bn_scale says nothing of them"]
    assert np.array([after for _, after in widths(found).values()])[0] == 16
