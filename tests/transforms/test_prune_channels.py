"""Channel pruning: what is left equals the network whose pruned channels are zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flyweight.contracts import Candidate, Preprocessing
from flyweight.coupling import couple
from flyweight.errors import TransformError
from flyweight.profile import profile_module
from flyweight.trace import trace
from flyweight.transforms.prune_channels import PruneChannels, Pruned, pruned


class Net(nn.Module):
    """Named children, and a function of them and the input as ``forward``."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def conv(inputs: int, outputs: int, kernel: int = 3, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **more)


def shuffled(n: Net, x: Tensor) -> Tensor:
    y = n.a(x).relu()
    y = y.view(1, 4, 8, *y.shape[2:]).transpose(1, 2).flatten(1, 2)
    out: Tensor = n.b(y)
    return out


def chunked(n: Net, x: Tensor) -> Tensor:
    left, right = n.a(x).chunk(2, 1)
    out: Tensor = n.b(torch.cat((left, n.c(right)), 1).relu())
    return out


def skipped(n: Net, x: Tensor) -> Tensor:
    y = n.norm(n.a(x)).relu()
    out: Tensor = n.b((y + n.c(y)).mean((2, 3)))
    return out


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Sequential(conv(3, 16), nn.BatchNorm2d(16), nn.ReLU(), conv(16, 4)),
    "depthwise": lambda: nn.Sequential(conv(3, 16, 1), conv(16, 16, groups=16), nn.ReLU6(), conv(16, 4, 1)),
    "depthwise multiplier": lambda: nn.Sequential(conv(3, 16, 1), conv(16, 32, groups=16), nn.ReLU(), conv(32, 4, 1)),
    "grouped": lambda: nn.Sequential(conv(3, 32), nn.ReLU(), conv(32, 32, groups=4), nn.ReLU(), conv(32, 4)),
    "flatten": lambda: nn.Sequential(conv(3, 16), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 5)),
    "CReLU": lambda: Net(lambda n, x: n.b(torch.cat((y := n.a(x), -y), 1).relu()), a=conv(3, 16), b=conv(32, 4)),
    "pixel shuffle": lambda: nn.Sequential(conv(3, 64), nn.PixelShuffle(2), nn.ReLU(), conv(16, 4)),
    "PReLU": lambda: nn.Sequential(conv(3, 16), nn.PReLU(16), conv(16, 16, groups=16), nn.PReLU(16), conv(16, 4)),
    "residual": lambda: Net(skipped, a=conv(3, 16), norm=nn.BatchNorm2d(16), c=conv(16, 16), b=nn.Linear(16, 5)),
    "chunk": lambda: Net(chunked, a=conv(3, 32), c=conv(16, 16), b=conv(32, 4)),
    "transposed depthwise": lambda: nn.Sequential(
        conv(3, 16), nn.ReLU(), nn.ConvTranspose2d(16, 16, 2, 2, groups=16), nn.ReLU(), conv(16, 4)
    ),
}
IMAGE = torch.zeros(1, 3, 8, 8)


def silenced(net: nn.Module, found: Pruned) -> nn.Module:
    """Zero the filters, biases and norm parameters of the channels that were pruned."""
    gone = np.zeros(len(found.coupling.group_of) + 1, bool)
    gone[list(found.removed)] = True
    made = {tuple(s.ids) for s in found.coupling.sources}
    with torch.no_grad():
        params = dict(net.named_parameters())
        for axis in found.coupling.axes:
            own = axis.dim == 0 and (tuple(axis.ids.reshape(-1)) in made or params.get(axis.param, IMAGE).dim() == 1)
            if own and axis.param in params and len(axis.ids) == 1:
                params[axis.param][torch.from_numpy(gone[axis.ids[0]])] = 0
    return net


@pytest.mark.parametrize("name", NETS)
def test_without_the_channels_the_outputs_are_those_of_the_network_with_them_at_zero(name: str) -> None:
    torch.manual_seed(0)
    net = NETS[name]().eval()
    found = pruned(net, IMAGE, 0.5)
    assert found.removed
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        after = found.module(x)
        before = silenced(net, found)(x)
    assert torch.allclose(before, after, rtol=1e-4, atol=1e-5)
    assert profile_module(found.module, IMAGE).macs < profile_module(net, IMAGE).macs


def test_a_layer_whose_code_fixes_its_channels_is_left_whole_and_why_is_said() -> None:
    torch.manual_seed(0)
    net = Net(shuffled, a=conv(3, 32), b=conv(32, 4)).eval()  # its code has 4 x 8 channels
    found = pruned(net, IMAGE, 0.5)
    assert not found.removed
    assert any("fixes" in why for why in found.held.values())


def test_layers_keep_a_multiple_of_eight_channels_where_they_lose_some() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(conv(3, 40), nn.ReLU(), conv(40, 24), nn.ReLU(), conv(24, 4)).eval()
    left = pruned(net, IMAGE, 0.5, multiple=8).module
    assert [left.get_submodule(n).weight.shape[0] % 8 for n in ("0", "2")] == [0, 0]  # type: ignore[union-attr,index]
    assert profile_module(left, IMAGE).macs <= profile_module(net, IMAGE).macs * 0.5


def test_outputs_keep_their_shape_and_the_last_layer_all_its_filters() -> None:
    net = NETS["plain"]().eval()
    coupling = couple(trace(net, IMAGE))
    assert {coupling.channel(i).module for i in pruned(net, IMAGE, 0.3).removed} == {"0"}


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(TransformError, match=r"macs=1\.5"):
        PruneChannels(macs=1.5)


def test_a_network_of_one_layer_has_nothing_to_prune() -> None:
    with pytest.raises(TransformError, match="no channel of this network can be pruned"):
        PruneChannels().requires(Candidate(conv(3, 4).eval(), Preprocessing(8, 8)))
