import torch

from flyweight.build import build, feature_maps
from flyweight.spec import InputSpec
from flyweight.zoo.xception import MEMBERS, xception


def test_keras_counts_the_moving_statistics_as_well() -> None:
    with torch.device("meta"):
        network = build(xception())
    trainable = sum(p.numel() for p in network.parameters())
    channels = sum(m.num_features for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert trainable + 2 * channels == 22_910_480
    assert 2 * channels == 54_528


def test_stem_is_not_padded_and_the_rest_is() -> None:
    sizes = [shape.height for shape in feature_maps(MEMBERS["xception"].spec).values()]
    assert sizes[:5] == [149, 147, 74, 37, 19]  # (299 - 3) / 2 + 1, 149 - 2, then halves rounded up
    assert sizes[-1] == 10


def test_width_changes_in_the_first_separable_convolution_but_in_block_12_in_the_last() -> None:
    with torch.device("meta"):
        encoder = build(xception().replace(input=InputSpec(64, 64))).encoder
    widths = {
        name: [
            part.conv.out_channels for part in (block.branch.separable1.pointwise, block.branch.separable2.pointwise)
        ]
        for name, block in encoder.items()
        if name in ("block3", "block12")
    }
    assert widths == {"block3": [728, 728], "block12": [728, 1024]}
