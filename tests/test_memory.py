"""Peak of live activations, on graphs small enough to add up by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.errors import UsageError
from flyweight.graph import Graph
from flyweight.memory import live_activations, peak_activation
from flyweight.trace import trace

KB = 4 * 256  # bytes of one 16x16 float32 channel


def image(channels: int) -> Tensor:
    return torch.zeros(1, channels, 16, 16)


def traced(net: nn.Module, channels: int = 1) -> Graph:
    return trace(net, image(channels))


def conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1)


def test_a_chain_holds_input_and_output_of_the_running_layer() -> None:
    graph = traced(nn.Sequential(conv(1, 4), conv(4, 6), conv(6, 2)))
    assert live_activations(graph) == ((1 + 4) * KB, (4 + 6) * KB, (6 + 2) * KB)
    peak = peak_activation(graph)
    assert (peak.bytes, peak.node.module) == (10 * KB, "1")


def test_a_shortcut_stays_live_across_its_branch() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.widen, self.narrow = conv(2, 5), conv(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = x + self.narrow(self.widen(x))
            return out

    assert live_activations(traced(Residual(), 2)) == ((2 + 5) * KB, (2 + 5 + 2) * KB, (2 + 2 + 2) * KB)


def test_views_share_their_storage_and_keep_it_alive() -> None:
    class Views(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = x.relu()
            first = y[:, :1]
            z = F.max_pool2d(y, 16)
            return z, first

    graph = traced(Views(), 4)
    assert graph.nodes[-1].op == "max_pool"
    assert live_activations(graph)[-1] == 4 * KB + 4 * 4  # all of y, though only a quarter is returned; x is gone


def test_an_activation_that_writes_in_place_needs_no_second_buffer() -> None:
    chain = [traced(nn.Sequential(conv(1, 4), nn.ReLU(inplace=i), conv(4, 1))) for i in (False, True)]
    assert live_activations(chain[0]) == (5 * KB, 8 * KB, 5 * KB)
    assert live_activations(chain[1]) == (5 * KB, 4 * KB, 5 * KB)


def test_a_planner_that_reuses_buffers_runs_element_wise_layers_in_place() -> None:
    graph = traced(nn.Sequential(conv(1, 4), nn.BatchNorm2d(4), nn.ReLU(), conv(4, 1)))
    assert live_activations(graph, in_place=True) == (5 * KB, 4 * KB, 4 * KB, 5 * KB)


def test_a_buffer_that_is_read_later_is_not_reused() -> None:
    class Keep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y.relu() + y  # relu may not write over y, the sum may

    assert live_activations(traced(Keep()), in_place=True) == (5 * KB, 8 * KB, 8 * KB)


def test_outputs_live_to_the_end() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = conv(1, 8), conv(1, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.a(x), self.b(x)

    assert live_activations(traced(Two())) == ((1 + 8) * KB, (1 + 8 + 1) * KB)


def test_weights_and_what_is_computed_from_them_are_no_activations() -> None:
    net = nn.utils.parametrizations.weight_norm(conv(1, 4))
    assert peak_activation(traced(net)).bytes == 5 * KB
    transposed = nn.Linear(16, 16)
    transposed.forward = lambda x: x @ transposed.weight.t()  # type: ignore[method-assign]
    assert peak_activation(traced(transposed)).bytes == 2 * KB


def test_eager_pytorch_holds_a_block_s_input_until_the_block_returns_and_the_network_s_to_the_end() -> None:
    block = nn.Sequential(conv(2, 6), nn.BatchNorm2d(6), conv(6, 1))
    graph = traced(nn.Sequential(conv(1, 2), block))
    assert live_activations(graph) == (3 * KB, 8 * KB, 12 * KB, 7 * KB)
    assert live_activations(graph, eager=True) == (3 * KB, (1 + 2 + 6) * KB, (1 + 2 + 12) * KB, (1 + 2 + 6 + 1) * KB)


def test_reuse_never_raises_the_peak_and_eager_never_lowers_it() -> None:
    net = nn.Sequential(*(nn.Sequential(conv(c, c + 3), nn.Hardswish(), conv(c + 3, c + 1)) for c in range(1, 6)))
    graph = traced(net)
    least, plain, most = (peak_activation(graph, **kind).bytes for kind in ({"in_place": True}, {}, {"eager": True}))
    assert least <= plain <= most


def test_contradicting_settings_and_an_empty_graph_are_refused() -> None:
    graph = traced(conv(1, 1))
    with pytest.raises(UsageError, match="exclude each other"):
        live_activations(graph, in_place=True, eager=True)
    with pytest.raises(UsageError, match="has no node"):
        peak_activation(traced(nn.Identity()))
