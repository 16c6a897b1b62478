import torch

from flyweight.blocks.inverted_residual import InvertedResidual
from flyweight.build import box_code, build, feature_maps
from flyweight.zoo.ssdlite import ssdlite_mobilenet_v3_large


def test_sources_are_the_expansion_at_a_sixteenth_and_the_last_map() -> None:
    maps = feature_maps(ssdlite_mobilenet_v3_large())
    assert [(maps[name].channels, maps[name].height) for name in ("tap", "last")] == [(672, 20), (480, 10)]


def test_backbone_and_heads_have_the_parameters_of_the_reference() -> None:
    with torch.device("meta"):
        network = build(ssdlite_mobilenet_v3_large())
    predictors = sum(p.numel() for part in (network.head.boxes, network.head.classes) for p in part.parameters())
    channels = 672 + 480 + 512 + 256 + 256 + 128
    assert predictors == channels * (11 + 6 * 91) + 6 * 6 * 91 + channels * (11 + 6 * 4) + 6 * 6 * 4 == 1_367_388
    assert sum(p.numel() for p in network.parameters()) - predictors == 2_072_672


def test_the_tapped_block_squeezes_a_quarter_of_its_expanded_width_and_expands_no_more() -> None:
    with torch.device("meta"):
        block = build(ssdlite_mobilenet_v3_large()).encoder["block13"]
    assert isinstance(block, InvertedResidual)
    assert isinstance(block.expand, torch.nn.Identity)
    assert block.se.reduce.out_channels == 168  # 672 / 4


def test_default_boxes_are_those_of_torchvision() -> None:
    code = box_code(ssdlite_mobilenet_v3_large())
    assert len(code) == 6 * (400 + 100 + 25 + 9 + 4 + 1)
    assert code.origins[0].tolist() == [8, 8]  # half a cell of 16 pixels
    assert code.sizes[0].tolist() == [64, 64]  # 0.2 of 320
    assert code.sizes[6 * 400].tolist() == [112, 112]  # 0.35
