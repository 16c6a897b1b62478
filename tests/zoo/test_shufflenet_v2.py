import pytest
import torch

from flyweight.build import build
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.zoo.shufflenet_v2 import MEMBERS, shufflenet_v2, shufflenet_v2_megvii


def _params(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(MEMBERS[name].spec).parameters())


def test_at_half_width_both_definitions_differ_by_the_classifiers_bias_alone() -> None:
    assert (
        _params("shufflenet_v2_0.5") - _params("shufflenet_v2_megvii_0.5") == 1000
    )  # 24 in, 48 out: half is the input


def test_both_definitions_have_the_same_widths() -> None:
    for width in (0.5, 1.0, 1.5, 2.0):
        ours, authors = ([s.out_channels for s in f(width).stages] for f in (shufflenet_v2, shufflenet_v2_megvii))
        assert ours == authors


@pytest.mark.parametrize("factor", [0.3, 0.5, 1.3])
@pytest.mark.parametrize("name", ["shufflenet_v2_1.0", "shufflenet_v2_megvii_1.0"])
def test_any_width_multiplier_gives_channels_that_can_be_halved(name: str, factor: float) -> None:
    with torch.device("meta"):
        build(ScaleWidth((), factor).edit(MEMBERS[name].spec))
