"""Peak of live activations, on graphs small enough to add up by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flyweight.build import build
from flyweight.errors import UsageError
from flyweight.graph import Graph
from flyweight.memory import live_activations, peak_activation
from flyweight.trace import trace
from flyweight.zoo.mobilenet_v1 import mobilenet_v1, mobilenet_v1_deconv

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
    assert live_activations(graph, in_place=True) == (5 * KB, 5 * KB, 5 * KB, 6 * KB)  # the caller keeps the input


def test_a_buffer_that_is_read_later_is_not_reused() -> None:
    class Keep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv(1, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y.relu() + y  # relu may not write over y, the sum may

    assert live_activations(traced(Keep()), in_place=True) == (5 * KB, 9 * KB, 9 * KB)


def test_layouts_of_channel_blocks_round_up_what_convolutions_make_and_what_follows() -> None:
    graph = traced(nn.Sequential(conv(1, 4), nn.ReLU(), conv(4, 20), nn.Flatten()))
    assert live_activations(graph, in_place=True, block=16)[:3] == (17 * KB, 17 * KB, (1 + 16 + 32) * KB)
    assert live_activations(graph, in_place=True)[:3] == (5 * KB, 5 * KB, (1 + 4 + 20) * KB)


def test_where_convolutions_have_a_layout_of_their_own_a_branch_adds_into_the_other_one() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.left, self.right = conv(1, 8), conv(8, 8), conv(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            return self.left(y) + self.right(y)

    graph = traced(Branches())
    assert live_activations(graph, in_place=True, block=8) == (9 * KB, 17 * KB, 17 * KB, 9 * KB)
    assert live_activations(graph, in_place=True) == (9 * KB, 17 * KB, 25 * KB, 17 * KB)


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


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up, after every operator of a real run, the bytes of the storages that are alive and no weights."""

    def __init__(self, weights: list[Tensor], x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.weights = {StorageWeakRef(t.untyped_storage()).cdata for t in weights}
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak_bytes = 0
        self.add(x)

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        reference = StorageWeakRef(storage)
        if reference.cdata not in self.weights:
            self.alive[reference.cdata] = (reference, storage.nbytes())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self.alive.values()))
        return out


class Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 6) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x) if self.shortcut else self.layers(x)
        return out


def inverted_residuals() -> nn.Module:
    stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU6(inplace=True))
    return nn.Sequential(stem, Inverted(32, 16, 1, 1), Inverted(16, 24, 2), Inverted(24, 24, 1))


class Gated(nn.Module):
    """Keeps what it no longer needs in local variables."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate, self.value = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stem(x)
        gate, value = self.gate(features), self.value(features)
        opened = gate.relu_().sigmoid()
        return opened * value


@pytest.mark.parametrize(
    "net",
    [inverted_residuals(), build(mobilenet_v1(0.25, 64)), build(mobilenet_v1_deconv(64)), Gated()],
    ids=["inverted residuals", "mobilenet_v1", "deconv decoder", "local variables"],
)
def test_the_eager_peak_is_the_one_that_a_real_run_reaches(net: nn.Module) -> None:
    x = torch.zeros(1, 3, 64, 64)
    watch = LiveStorages([*net.parameters(), *net.buffers()], x)
    with torch.no_grad(), watch:
        net.eval()(x)
    assert peak_activation(trace(net, x), eager=True).bytes == watch.peak_bytes


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
