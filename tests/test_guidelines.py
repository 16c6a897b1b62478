"""The guidelines of ShuffleNetV2, their figures computed by hand; inputs of the layers in question are 8×8 pixels."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.errors import UsageError
from flyweight.guidelines import LIMITS, Finding, Guideline, broken, guidelines
from flyweight.profile import profile_module, profile_spec
from flyweight.zoo import ZOO


def found(layer: nn.Module, channels: int, made: int, guideline: Guideline, multiple: int = 8) -> list[Finding]:
    """Return the findings on ``layer``, between convolutions that belong to the input and the output."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, channels, 1), layer, nn.Conv2d(made, 5, 1)).to("meta").eval()
        profile = profile_module(net, torch.zeros(1, 3, 8, 8))
    return [f for f in guidelines(profile, multiple) if f.guideline == guideline and f.layer.split(".")[0] == "1"]


def pointwise(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)


# ---- G1 ------------------------------------------------------------------------------------------------------------


def test_equal_widths_have_the_least_memory_access() -> None:
    assert found(pointwise(16, 16), 16, 16, "G1")[0].figure == 1


def test_unequal_widths_have_the_papers_ratio() -> None:
    (finding,) = found(pointwise(8, 32), 8, 32, "G1")
    assert finding.figure == (64 * (8 + 32) + 8 * 32) / (2 * math.sqrt(64 * 64 * 8 * 32) + 8 * 32)  # hw(c1+c2)+c1c2
    assert finding.sentence.startswith("8 to 32 channels: 1.22 ×")


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_no_widths_go_below_the_bound(inputs: int, outputs: int, stride: int) -> None:
    layer = nn.Conv2d(inputs, outputs, 3, stride, 1)
    assert found(layer, inputs, outputs, "G1")[0].figure >= 1 - 1e-12


def test_depthwise_and_first_convolutions_have_no_choice_of_widths() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 96, 3), nn.Conv2d(96, 96, 3, groups=96))
        findings = guidelines(profile_module(net, torch.zeros(1, 3, 8, 8)))
    assert [f for f in findings if f.guideline in ("G1", "G2")] == []


# ---- G2 ------------------------------------------------------------------------------------------------------------


def test_groups_cost_memory_access_at_equal_macs() -> None:
    (finding,) = found(pointwise(16, 64, groups=4), 16, 64, "G2")
    weights = 16 * 64 // 4
    assert finding.figure == (64 * (16 + 64) + weights) / (64 * (16 + 64 / 4) + weights)
    assert finding.broken


# ---- G3 ------------------------------------------------------------------------------------------------------------


class Branches(nn.Module):
    """``count`` parallel 1×1 convolutions, concatenated."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(pointwise(8, 8) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([part(x) for part in self.parts], 1)


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.inner(x)
        return out


@pytest.mark.parametrize(("count", "is_broken"), [(2, False), (3, True), (4, True)])
def test_branches_with_convolutions_are_counted(count: int, is_broken: bool) -> None:
    (finding,) = found(Branches(count), 8, 8 * count, "G3")
    assert (finding.figure, finding.broken) == (count, is_broken)


def test_shortcut_without_convolution_is_no_branch() -> None:
    assert found(Residual(pointwise(8, 8)), 8, 8, "G3") == []


def test_branches_inside_a_branch_are_counted_with_it() -> None:
    class Nested(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.other = Branches(3), pointwise(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([self.wide(x), self.other(x)], 1)

    (finding,) = found(Nested(), 8, 32, "G3")
    assert (finding.layer, finding.figure) == ("1", 3 + 1)


# ---- G4 and squeeze-and-excitation ---------------------------------------------------------------------------------


def test_share_of_an_addition_is_that_of_its_bytes() -> None:
    with torch.device("meta"):
        block = Residual(nn.Sequential(pointwise(8, 8), nn.BatchNorm2d(8), nn.ReLU()))
        net = nn.Sequential(block).eval()
        findings = guidelines(profile_module(net, torch.zeros(1, 8, 8, 8)))
    tensor, weights = 8 * 8 * 8, 8 * 8
    shares = {f.layer: f.figure for f in findings if f.guideline == "G4"}
    assert shares == {"0": 3 * tensor / (3 * tensor + 2 * tensor + weights)}  # norm and ReLU run inside the convolution


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool, self.squeeze = nn.AdaptiveAvgPool2d(1), pointwise(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x * self.squeeze(self.pool(x)).sigmoid()
        return out


def test_share_of_a_gate_is_that_of_its_pooling_its_convolutions_and_its_product() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Sequential(pointwise(8, 8), Gate()))
        findings = guidelines(profile_module(net, torch.zeros(1, 8, 8, 8)))
    (finding,) = [f for f in findings if f.guideline == "SE"]
    big, small, weights = 512, 8, 64
    gate = (big + small) + (small + weights + small) + (big + small + big)  # pool, convolution, product
    assert finding.layer == "0.1"
    assert finding.figure == gate / (gate + big + weights + big)  # beside them the convolution '0.0'


def test_product_of_two_maps_is_no_gate() -> None:
    class Squared(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x.sigmoid()

    assert found(Squared(), 8, 8, "SE") == []


# ---- widths --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("multiple", "padded"),
    [(8, 16 * 16), (16, 16 * 16), (32, 32 * 32)],  # 12 and 10 channels rounded up
)
def test_widths_off_the_multiple_cost_padding(multiple: int, padded: int) -> None:
    (finding,) = found(pointwise(12, 10), 12, 10, "width", multiple)
    assert finding.figure == pytest.approx(padded / (12 * 10))


def test_depthwise_width_is_padded_once() -> None:
    layer = nn.Conv2d(12, 12, 3, groups=12)
    assert found(layer, 12, 12, "width")[0].figure == pytest.approx(16 / 12)


def test_multiple_below_one_is_an_error() -> None:
    with pytest.raises(UsageError, match="multiple is 0"):
        guidelines(profile_spec(ZOO.get("mobilenet_v1_0.25_128").spec), 0)


# ---- networks ------------------------------------------------------------------------------------------------------


def test_each_guideline_is_broken_where_its_network_is_known_for_it() -> None:
    def kinds(name: str) -> set[str]:
        return {f.guideline for f in broken(guidelines(profile_spec(ZOO.get(name).spec)))}

    assert "G1" in kinds("mobilenet_v2_1.0")  # expansion 6
    assert "G2" in kinds("shufflenet_v1_g3_1.0")
    assert "G3" in kinds("googlenet")
    assert "G4" in kinds("resnet_50")
    assert "SE" in kinds("mobilenet_v3_large_1.0")
    assert kinds("shufflenet_v2_1.0") == set()  # made by the guidelines
    assert kinds("mobilenet_v1_1.0_224") == set()


def test_broken_ones_come_farthest_above_their_limit_first() -> None:
    found = broken(guidelines(profile_spec(ZOO.get("googlenet").spec)))
    ratios = [f.figure / LIMITS[f.guideline] for f in found]
    assert ratios == sorted(ratios, reverse=True)
    assert min(ratios) > 1
