from flyweight.build import feature_maps
from flyweight.spec import InputSpec
from flyweight.zoo.googlenet import googlenet


def test_poolings_keep_a_last_window_that_ends_outside() -> None:
    maps = feature_maps(googlenet())
    # from 112: ⌈(112 − 3) / 2⌉ + 1 = 56, and so on; the last one pools 2×2
    assert [maps[f"pool{index}"].height for index in (1, 2, 3, 4)] == [56, 28, 14, 7]
    odd = feature_maps(googlenet().replace(input=InputSpec(65, 97)))["pool1"]
    assert (odd.height, odd.width) == (16, 24)  # from 33×49: 30 / 2 + 1, 46 / 2 + 1


def test_widths_are_those_of_table_1() -> None:
    widths = [stage.out_channels for stage in googlenet().stages if stage.block == "inception"]
    assert widths == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
