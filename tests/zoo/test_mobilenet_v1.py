import pytest

from flyweight.build import build
from flyweight.zoo import ZOO
from flyweight.zoo.mobilenet_v1 import MEMBERS, stages

NAMES = [name for name in MEMBERS if MEMBERS[name].params]


@pytest.mark.parametrize("name", NAMES)
def test_parameters_equal_the_published_integer(name: str) -> None:
    entry = ZOO.get(name)
    assert sum(p.numel() for p in build(entry.spec).parameters()) == entry.params


def test_width_is_cut_down_not_rounded_to_eight() -> None:
    assert stages(0.3)[0].out_channels == int(32 * 0.3)  # 9: max(8, int(c * a)), not make_divisible


def test_the_last_depthwise_layer_has_stride_one() -> None:
    assert stages()[-1].stride == 1
