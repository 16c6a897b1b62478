import pytest
import torch
from torch import nn

from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import TransformError
from flyweight.transforms.fold_bn import FoldBatchNorm, folded


def warm(module: nn.Module) -> nn.Module:
    """Give every norm statistics and an affine part that matter."""
    torch.manual_seed(0)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d | nn.BatchNorm1d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
            if norm.affine:
                nn.init.normal_(norm.weight)
                nn.init.normal_(norm.bias)
    return module.eval()


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 8, 3, bias=False),
        nn.Conv2d(6, 12, 3, groups=3),
        nn.Conv2d(6, 6, 3, groups=6, bias=False),
        nn.ConvTranspose2d(6, 8, 4, stride=2, padding=1, bias=False),
        nn.ConvTranspose2d(6, 9, 3, groups=3),
    ],
    ids=["plain", "grouped", "depthwise", "transposed", "grouped transposed"],
)
@pytest.mark.parametrize("affine", [True, False])
def test_folded_layer_computes_norm_of_layer(conv: nn.Conv2d, affine: bool) -> None:
    net = warm(nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels, affine=affine)))
    x = torch.randn(2, 6, 9, 9)
    with torch.no_grad():
        assert torch.allclose(folded(net[0], net[1])(x), net(x), atol=1e-5)


class Residual(nn.Module):
    """A convolution whose output is read by the norm and by the sum: it must not be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class Shared(nn.Module):
    """One convolution before two norms: folding either would change the other."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.conv(self.a(self.conv(x))))


@pytest.mark.parametrize("network", [Residual(), Shared(), nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 3, 1))])
def test_a_norm_that_cannot_be_folded_exactly_is_left_alone(network: nn.Module) -> None:
    with pytest.raises(TransformError, match=r"no batch norm follows"):
        FoldBatchNorm().apply(Candidate(warm(network), Preprocessing(8, 8)), Env())


def test_functional_order_decides_not_the_order_of_attributes() -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x))

    network = warm(Swapped())
    after = FoldBatchNorm().apply(Candidate(network, Preprocessing(8, 8)), Env())
    x = torch.randn(1, 3, 8, 8)
    assert isinstance(after.module.norm, nn.Identity)
    with torch.no_grad():
        assert torch.allclose(after.module(x), network(x), atol=1e-5)
