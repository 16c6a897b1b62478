import pytest
import torch
from torch import nn

from flyweight.build import build
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.zoo.shufflenet_v1 import MEMBERS, shufflenet_v1


@pytest.mark.parametrize(("groups", "widths"), [(1, (144, 288, 576)), (3, (240, 480, 960)), (8, (384, 768, 1536))])
def test_stages_are_as_wide_as_in_the_papers_table(groups: int, widths: tuple[int, ...]) -> None:
    spec = shufflenet_v1(groups, 1.0)
    assert tuple(spec.stage(f"stage{index}_1").out_channels for index in (2, 3, 4)) == widths


def test_only_the_first_one_by_one_behind_the_stem_is_not_grouped() -> None:
    with torch.device("meta"):
        network = build(shufflenet_v1(3, 1.0))
    dense = [
        name
        for name, layer in network.encoder.named_modules()
        if isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.kernel_size == (1, 1)
    ]
    assert dense == ["stage2_1.reduce.conv"]


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.25])
@pytest.mark.parametrize("name", [name for name in MEMBERS if name.endswith("_1.0")])
def test_any_width_multiplier_gives_groups_that_divide(name: str, factor: float) -> None:
    with torch.device("meta"):
        build(ScaleWidth((), factor).edit(MEMBERS[name].spec))
