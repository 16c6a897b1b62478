import pytest
import torch

from flyweight.build import build
from flyweight.zoo.ghostnet import ghostnet


def test_squeezed_widths_are_a_quarter_of_the_expanded_rounded_to_fours() -> None:
    with torch.device("meta"):
        network = build(ghostnet(1.0))
    squeezed = [p.shape[0] for key, p in network.named_parameters() if key.endswith("se.reduce.weight")]
    # expanded: 72, 120, 480, 672, 672, 960, 960 (arXiv 1911.11907, table 7); 72 / 4 = 18 becomes 20, 120 / 4 = 30, 32
    assert squeezed == [20, 32, 120, 168, 168, 240, 240]


@pytest.mark.parametrize("width", [0.5, 1.0, 1.3])
def test_expanded_widths_are_the_tables_scaled_and_rounded_on_their_own(width: float) -> None:
    with torch.device("meta"):
        network = build(ghostnet(width))
    expanded = [block.expand.width for name, block in network.encoder.named_children() if name.startswith("block")]
    table = [16, 48, 72, 72, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960, 960, 960]
    assert expanded == [int(channels * width + 2) // 4 * 4 for channels in table]


def test_hidden_layer_is_1280_wide_at_every_width() -> None:
    assert {ghostnet(width).head.widths for width in (0.5, 1.0, 1.3)} == {(1280,)}
