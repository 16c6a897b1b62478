import pytest

from flyweight.build import feature_maps
from flyweight.errors import SpecError
from flyweight.spec import InputSpec
from flyweight.zoo.inception_v3 import inception_v3


def test_maps_have_the_sizes_of_table_1() -> None:
    maps = feature_maps(inception_v3())
    found = [
        maps[name].height for name in ("conv1a", "conv2a", "conv2b", "pool2", "conv4a", "pool4", "mixed6a", "mixed7a")
    ]
    assert found == [149, 147, 147, 73, 71, 35, 17, 8]


def test_widths_are_those_of_table_1() -> None:
    widths = [stage.out_channels for stage in inception_v3().stages if stage.block == "inception"]
    assert widths == [256, 288, 288, 768, 768, 768, 768, 768, 1280, 2048, 2048]


def test_75_pixels_are_the_fewest_and_74_are_an_error_that_names_the_stage() -> None:
    # backwards from one window of 3: 3 = (7 − 3) // 2 + 1, 7 → 15 → 17 → 35 → 37 → 75
    last = list(feature_maps(inception_v3().replace(input=InputSpec(75, 75))).values())[-1]
    assert (last.height, last.width) == (1, 1)
    with pytest.raises(SpecError, match=r"stage 'mixed7a': its input is 2x2, but a 3x3 window .* at least 3x3"):
        feature_maps(inception_v3().replace(input=InputSpec(74, 74)))
