from flyweight.blocks._inverted import adds_input
from flyweight.build import build, feature_maps
from flyweight.zoo.mobilenet_v2 import mobilenet_v2, stages


def test_last_layer_is_not_narrowed_below_width_one() -> None:
    assert [stages(width)[-1].out_channels for width in (0.35, 1.0, 1.4)] == [1280, 1280, 1792]


def test_ten_of_the_seventeen_blocks_add_their_input() -> None:
    spec = mobilenet_v2()
    maps = list(feature_maps(spec).values())
    blocks = zip(spec.stages[1:-1], maps, strict=False)  # the map before each block
    # arXiv 1801.04381, table 2: rows of 1, 2, 3, 4, 3, 3, 1 blocks; all but the first of a row
    assert sum(adds_input(stage, before) for stage, before in blocks) == 0 + 1 + 2 + 3 + 2 + 2 + 0


def test_stride_two_on_an_even_size_pads_only_bottom_and_right_as_tensorflow_does() -> None:
    network = build(mobilenet_v2(0.35, 96))
    assert network.get_submodule("encoder.block2_1.depthwise.pad").padding == (0, 1, 0, 1)
