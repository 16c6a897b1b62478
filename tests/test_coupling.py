"""flyweight.coupling: what is tied is tied, and a group that nothing reads can be taken out with outputs equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.build import skeleton
from flyweight.coupling import Coupling, couple, divergence
from flyweight.prune import without
from flyweight.trace import trace
from flyweight.zoo import ZOO
from tests.wirings import BLOCKS, Residual, network


def coupled(module: nn.Module, *shape: int) -> Coupling:
    return couple(trace(module.eval(), torch.zeros(1, *shape)))


def ids(coupling: Coupling, layer: str) -> list[int]:
    source = next(source for source in coupling.sources if source.module == layer)
    return list(source.ids)


def test_addition_ties_channels_one_by_one() -> None:
    found = coupled(nn.Sequential(nn.Conv2d(3, 4, 1), Residual(nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 2, 1)), 3, 5, 5)
    first, second = ids(found, "0"), ids(found, "1.inside")
    assert [list(found.closed([i])) for i in first] == [[a, b] for a, b in zip(first, second, strict=True)]


def test_depthwise_filters_go_with_the_channel_that_they_read() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 6, 3, groups=2), nn.Conv2d(6, 2, 1))
    found = coupled(net, 3, 5, 5)
    first, second = ids(found, "0"), ids(found, "1")
    assert list(found.closed([first[1]])) == [first[1], *second[3:]]  # 6 filters of 2 channels: three each


def test_a_flattened_map_has_each_channel_once_per_pixel() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4 * 9, 5))
    found = coupled(net, 3, 3, 3)
    axis = next(axis for axis in found.params["2.weight"] if axis.dim == 1)
    assert axis.ids[0].tolist() == np.repeat(ids(found, "0"), 9).tolist()


def test_input_and_output_are_held_and_the_sentence_says_so() -> None:
    found = coupled(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)), 3, 5, 5)
    assert [found.fixed.get(g) for g in found.group_of] == [
        *["they are the network's input"] * 3, *[None] * 4, *["they are the network's output"] * 2,
    ]  # fmt: skip


def test_grouped_convolution_asks_for_equally_many_in_each_group() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 1, groups=2), nn.Conv2d(6, 2, 1))
    found = coupled(net, 3, 5, 5)
    assert [b.blocks.tolist() for b in found.balances] == [
        np.reshape(ids(found, "0"), (2, 2)).tolist(), np.reshape(ids(found, "1"), (2, 3)).tolist(),
    ]  # fmt: skip


def test_shuffled_channels_keep_their_numbers() -> None:
    found = coupled(nn.Sequential(nn.Conv2d(3, 6, 1), nn.ChannelShuffle(2), nn.Conv2d(6, 2, 1)), 3, 5, 5)
    read = next(axis for axis in found.params["2.weight"] if axis.dim == 1).ids[0]
    a = ids(found, "0")
    assert read.tolist() == [a[0], a[3], a[1], a[4], a[2], a[5]]


def test_operator_whose_way_with_channels_is_unknown_holds_them_and_is_named() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LocalResponseNorm(2), nn.GroupNorm(2, 4), nn.Conv2d(4, 2, 1))
    found = coupled(net, 3, 5, 5)
    reasons = [found.fixed.get(int(found.group_of[i]), "") for i in ids(found, "0")]
    assert all(reason.endswith("reads them in a way that is not known") for reason in reasons), reasons


def test_part_of_a_group_cannot_be_removed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Residual(nn.Conv2d(4, 4, 1)), nn.Conv2d(4, 2, 1))
    found = coupled(net, 3, 5, 5)
    with pytest.raises(Exception, match="can't be removed alone"):
        without(net, found, [ids(found, "0")[0]])


def test_code_that_fixes_an_order_of_channels_is_found() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            rows = 2 if y.shape[1] == 6 else 1  # the shuffle differs when channels are gone
            y = y.reshape(1, rows, -1, *y.shape[2:]).transpose(1, 2).reshape(y.shape)
            out: Tensor = self.b(y)
            return out

    net, example = Fixed().eval(), torch.zeros(1, 3, 4, 4)
    before = couple(trace(net, example))
    gone = [ids(before, "a")[1], ids(before, "a")[4]]
    clash = divergence(before, gone, trace(without(net, before, gone), example))
    assert clash is not None
    assert (clash[0].op, clash[1]) == ("transpose", "its code fixes a number or an order of channels")


@settings(max_examples=100)
@given(st.lists(st.sampled_from(sorted(BLOCKS)), min_size=1, max_size=5), st.integers(0, 10**6))
def test_a_group_that_no_layer_reads_is_removed_with_outputs_equal(names: list[str], pick: int) -> None:
    net = network(names, pick)
    example = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    found = couple(trace(net, example))
    rng = np.random.default_rng(pick)
    gone = _whole(found, rng)
    if not len(gone):
        event("nothing to remove")
        return
    _unread(net, found, gone)
    made = without(net, found, gone)
    assert divergence(found, gone, trace(made, example)) is None
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(made(x), net(x), rtol=0, atol=1e-12)


def _whole(found: Coupling, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the channels of some groups that may go, equally many in all parts that have to keep step."""
    free = [g for g in range(len(found.groups)) if g not in found.fixed]
    gone = np.zeros(len(found.group_of), bool)
    for group in rng.permutation(free)[:3]:
        gone[found.groups[group]] = True
    for _ in range(20):
        for balance in found.balances:
            lost = gone[balance.blocks]
            for row, missing in zip(balance.blocks, lost.sum(1).max() - lost.sum(1), strict=True):
                gone[found.closed(row[~gone[row]][:missing])] = True
    uneven = any(len(set(gone[b.blocks].sum(1))) > 1 for b in found.balances)
    empty = any(gone[axis.ids[axis.ids >= 0]].all() for axis in found.axes)
    held = any(int(g) in found.fixed for g in found.group_of[gone])
    return np.zeros(0, int) if uneven or empty or held else np.flatnonzero(gone)


def _unread(net: nn.Module, found: Coupling, gone: np.ndarray[tuple[int], np.dtype[np.int64]]) -> None:
    """Make every layer multiply these channels by zero."""
    with torch.no_grad():
        for node in found.graph.nodes:
            if node.op not in ("conv", "conv_transpose", "linear"):
                continue
            weight = net.get_parameter(node.operands[1])
            inner = 0 if node.op == "conv_transpose" else 1
            axis = next((a for a in found.params[node.operands[1]] if a.dim == inner), None)
            if axis is None or (node.attr("groups", 1) == axis.ids.size and inner == 0):  # depthwise
                continue
            rows = weight.chunk(len(axis.ids), dim=0) if inner == 1 else (weight,)
            for block, numbers in zip(rows, axis.ids, strict=True):
                block.index_fill_(inner, torch.from_numpy(np.flatnonzero(np.isin(numbers, gone))), 0.0)


@pytest.mark.parametrize("name", ["densenet_121", "efficientnet_b0", "shufflenet_v2_0.5", "lraspp_mobilenet_v3_large"])
def test_every_channel_of_a_zoo_network_is_understood(name: str) -> None:
    found = couple(trace(*skeleton(ZOO.get(name).spec)))
    assert set(found.fixed.values()) == {"they are the network's input", "they are the network's output"}
