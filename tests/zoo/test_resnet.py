import pytest
import torch

from flyweight.build import build, feature_maps
from flyweight.spec import ArchSpec
from flyweight.zoo.resnet import resnet


def _params(spec: ArchSpec) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(spec).parameters())


@pytest.mark.parametrize(
    ("layers", "published", "blocks"),
    [
        (18, 11_689_512, ((64, 2), (128, 2), (256, 2), (512, 2))),
        (50, 25_557_032, ((256, 3), (512, 4), (1024, 6), (2048, 3))),
    ],
)
def test_squeeze_and_excitation_adds_two_layers_to_every_block(
    layers: int, published: int, blocks: tuple[tuple[int, int], ...]
) -> None:
    added = 0
    for width, count in blocks:
        squeezed = width // 16
        added += count * (width * squeezed + squeezed + squeezed * width + width)  # both layers have biases
    assert _params(resnet(layers, se=1 / 16)) == published + added


@pytest.mark.parametrize("layers", [18, 50])
def test_name_counts_the_layers_with_weights(layers: int) -> None:
    convolutions = {"residual": 2, "residual_bottleneck": 3}
    blocks = sum(convolutions.get(stage.block, 0) for stage in resnet(layers).stages)
    assert 1 + blocks + 1 == layers  # the stem, the blocks, the classifier


def test_last_map_has_a_thirty_second_of_the_inputs_size() -> None:
    last = list(feature_maps(resnet(50)).values())[-1]
    assert (last.channels, last.height, last.width) == (2048, 7, 7)
