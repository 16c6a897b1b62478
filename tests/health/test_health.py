"""flyweight.health: what is planted is found and nothing else, where it became so, and with the reason it must stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from flyweight.errors import GraphError, UsageError
from flyweight.health import Finding, diagnose
from flyweight.testing import _networks as networks


def net(*layers: nn.Module, channels: int = 4) -> nn.Sequential:
    """Return layers between a convolution of random weights and a classifier; every norm has seen data."""
    torch.manual_seed(1)
    made = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), *layers, nn.Flatten(), nn.LazyLinear(3))
    made(torch.randn(8, 3, 6, 6))
    return made.eval()


def found(module: nn.Module, images: Tensor | None = None) -> list[Finding]:
    given = None if images is None else images.numpy()
    return list(diagnose(module, torch.zeros(1, 3, 6, 6), given).findings)


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_dead_channel_is_told_where_it_dies_not_where_that_shows() -> None:
    module = net(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4))
    with torch.no_grad():
        module[1].weight[2] = 0
    (finding,) = found(module)
    assert (finding.layer, finding.kind, finding.channels, finding.of) == ("1", "dead", (2,), 4)
    assert finding.evidence == "weights"


def test_constant_behind_padding_is_left_whole_and_the_layer_is_named() -> None:
    module = net(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1))
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0, 0.5
    (finding,) = found(module)
    assert finding.removable == ()
    assert finding.left_whole == "it reaches '2' as 0.5, and the zeros around that layer's input are another number"


def test_unread_filter_is_told_at_the_layer_that_makes_it() -> None:
    module = net(nn.ReLU(), nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        module[2].weight[:, 1] = 0
    (finding,) = found(module)
    assert (finding.layer, finding.kind, finding.channels, finding.removable) == ("0", "unread", (1,), (1,))


def test_relu_that_is_zero_on_every_image_is_dead_by_the_images_only() -> None:
    module = net(nn.ReLU(), nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        module[0].bias[3] = -1000
    assert found(module) == []
    (finding,) = found(module, images())
    assert (finding.layer, finding.channels, finding.evidence) == ("1", (3,), "8 images")


def test_what_is_called_dead_on_images_is_constant_on_them() -> None:
    module = net(nn.ReLU(), nn.Conv2d(4, 16, 3), nn.ReLU(), channels=4)
    with torch.no_grad():
        module[2].bias.sub_(2)
    x = images(4)
    kept: list[Tensor] = []
    module[3].register_forward_hook(lambda _, __, out: kept.append(out.detach().clone()))
    module(x)
    out = kept[0]
    constant = tuple(c for c in range(16) if float(out[:, c].std()) == 0.0)
    assert constant  # the shift was chosen so that some are
    assert [f.channels for f in found(module, x) if f.layer == "3"] == [constant]


def test_depthwise_kernel_near_zero_is_found_and_one_that_its_norm_makes_up_for_is_not() -> None:
    module = net(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4))
    with torch.no_grad():
        for channel in (1, 2):
            module[1].weight[channel] *= 1e-5
        module[2].running_var[1] = 1.0  # of the first the norm is as it was
        module[2].running_var[2] = 1e-10
        module[2].eps = 0.0
    (finding,) = [f for f in found(module) if f.kind == "near_zero"]
    assert (finding.layer, finding.channels) == ("1", (1,))


@pytest.mark.parametrize(("act", "shift"), [(nn.ReLU6(), 50.0), (nn.Hardswish(), -50.0), (nn.Sigmoid(), 8.0)])
def test_saturated_activation_is_found(act: nn.Module, shift: float) -> None:
    module = net(act, nn.Conv2d(4, 4, 3))
    with torch.no_grad():
        module[0].bias[2] = shift
        module[0].weight[2] *= 0.1 if isinstance(act, nn.Sigmoid) else 14  # a few values are off the limit
    shares = [f for f in found(module, images(32)) if f.kind in ("saturated", "dead")]
    assert [(f.layer, f.channels) for f in shares] == [("1", (2,))]


def test_nan_is_counted_and_the_layer_is_named() -> None:
    module = net(nn.ReLU())
    with torch.no_grad():
        module[0].weight[1, 0, 0, :2] = float("nan")
    (finding,) = found(module)
    assert (finding.layer, finding.kind, finding.channels) == ("0", "not_finite", (1,))
    assert finding.what == "2 of 108 values of its weight are NaN or infinite"  # 4·3·3·3


def test_variance_far_from_the_others_is_found() -> None:
    module = net(nn.BatchNorm2d(4), nn.ReLU())
    with torch.no_grad():
        module[1].running_var[0] = 1e9
    assert [(f.layer, f.kind, f.channels) for f in found(module)] == [("1", "variance", (0,))]


def test_random_weights_are_not_diagnosed() -> None:
    with torch.no_grad():
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
        module[1].weight[0] = 0
    health = diagnose(module, torch.zeros(1, 3, 6, 6))
    assert (health.random, health.findings) == (True, ())


def test_network_is_left_as_it_was() -> None:
    candidate = networks.inverted()
    before = networks.snapshot(candidate)
    diagnose(candidate.module, torch.zeros(candidate.input_shape), networks.inputs(candidate).numpy())
    assert networks.snapshot(candidate) == before


def test_activations_in_place_and_a_fixed_batch_are_watched() -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(1, 4, -1).relu_()

    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Hardswish(inplace=True), nn.Conv2d(4, 4, 1), Fixed()).eval()
    with torch.no_grad():
        module[0].bias[1], module[2].bias[2] = -1000, -1000
    told = found(module, images())
    assert [(f.layer, f.channels, f.evidence) for f in told] == [("1", (1,), "8 images"), ("3", (2,), "8 images")]


def test_network_that_decides_by_values_is_refused_with_the_layer() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.calls = nn.Conv2d(3, 4, 1), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            out: Tensor = self.conv(x)
            return out.relu() if self.calls == 1 else out

    module = Counts().eval()
    with pytest.raises(GraphError, match=r"does not run|runs where"):
        diagnose(module, torch.zeros(1, 3, 6, 6), np.zeros((2, 3, 6, 6), np.float32))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_share_that_is_none_is_wrong_use(share: float) -> None:
    with pytest.raises(UsageError, match="saturated"):
        diagnose(net(), torch.zeros(1, 3, 6, 6), saturated=share)
