"""Input sizes that fit a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from flyweight.errors import GraphError, UsageError
from flyweight.resolution import last_map, resolution, resolutions
from flyweight.trace import trace


def halving(times: int) -> nn.Sequential:
    """Convolutions that halve, then a global mean and a classifier."""
    layers = [nn.Conv2d(1 if i == 0 else 2, 2, 3, 2, 1, bias=False) for i in range(times)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3))


def test_the_last_map_is_the_one_before_the_global_mean() -> None:
    graph = trace(halving(3), torch.zeros(1, 1, 40, 24))
    assert last_map(graph) == ((40 // 2**3, 24 // 2**3), 2**3)


def test_sizes_that_fit_are_k_times_two_to_the_number_of_halvings() -> None:
    found = resolutions(halving(4), (1, 1, 100, 100))
    assert [(each.input_px, each.map_px) for each in found if each.fits] == [
        (16 * k, (k, k)) for k in (3, 4, 5, 6, 7, 8, 9)
    ]


def test_what_lies_over_the_border_is_no_effective_pixel_but_costs_as_much() -> None:
    net = halving(3)
    uneven, even = (resolution(net, (1, 1, 1, 1), pixels) for pixels in (57, 64))
    assert not uneven.fits and even.fits
    assert uneven.map_px == even.map_px == (8, 8)  # 57 is rounded up to 29, 15, 8
    assert uneven.effective == (57 / 8) ** 2 and even.effective == 8 * 8
    assert even.macs == (32 * 32 * 2 + 16 * 16 * 2 * 2 + 8 * 8 * 2 * 2) * 9 + 2 * 3


def test_a_map_without_stride_ends_a_decoder_so_the_deepest_one_counts() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Conv2d(2, 2, 3, 2, 1), nn.Upsample(scale_factor=4))
    assert last_map(trace(net, torch.zeros(1, 1, 32, 32))) == ((8, 8), 4)


def test_sizes_at_which_the_network_does_not_run_are_left_out() -> None:
    settled = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.Flatten(), nn.Linear(2 * 5 * 5, 3))
    assert [each.input_px for each in resolutions(settled, (1, 1, 10, 10))] == [10]
    with pytest.raises(GraphError):
        resolutions(settled, (1, 1, 10, 10), sides=())[0] if resolution(settled, (1, 1, 10, 10), 12) else None


def test_networks_without_maps_are_refused_with_a_sentence() -> None:
    with pytest.raises(UsageError, match="sizes are planned for images"):
        resolutions(nn.Linear(4, 2), (1, 4))
    with pytest.raises(UsageError, match="makes no map"):
        resolutions(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), (1, 1, 4, 4))
