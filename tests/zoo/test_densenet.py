import torch

from flyweight.build import build, feature_maps
from flyweight.zoo.densenet import densenet_121


def test_name_counts_the_layers_with_weights() -> None:
    convolutions = {"conv": 1, "dense_layer": 2, "dense_transition": 1}
    assert sum(convolutions.get(stage.block, 0) for stage in densenet_121().stages) + 1 == 121


def test_channels_grow_by_32_a_layer_and_are_halved_between_the_runs() -> None:
    maps = feature_maps(densenet_121())
    assert maps["conv2_6"].channels == 64 + 6 * 32 == 256
    assert maps["conv3_12"].channels == 128 + 12 * 32 == 512
    assert maps["conv4_24"].channels == 256 + 24 * 32 == 1024
    assert maps["last"].channels == 512 + 16 * 32 == 1024


def test_keras_counts_the_moving_statistics_as_well() -> None:
    with torch.device("meta"):
        network = build(densenet_121())
    statistics = 2 * sum(m.num_features for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert sum(p.numel() for p in network.parameters()) + statistics == 8_062_504
