import pytest
import torch

from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import InputSpec
from flyweight.zoo.alexnet import alexnet


def test_maps_have_the_sizes_of_the_one_tower_network() -> None:
    sizes = [shape.height for shape in feature_maps(alexnet()).values()]
    assert sizes == [55, 27, 27, 13, 13, 13, 13, 6]  # (224 + 2·2 − 11) / 4 + 1 = 55, then (n − 3) / 2 + 1 per pooling


def test_other_input_sizes_are_pooled_to_what_the_fully_connected_layers_read() -> None:
    with torch.device("meta"):
        network = build(alexnet().replace(input=InputSpec(97, 128)))
        assert network(torch.zeros(1, 3, 97, 128)).shape == (1, 1000)
    assert sum(p.numel() for p in network.parameters()) == 61_100_840


def test_too_small_an_input_is_an_error_that_names_the_stage() -> None:
    assert feature_maps(alexnet().replace(input=InputSpec(63, 63)))["pool5"].height == 1
    with pytest.raises(SpecError, match=r"stage 'pool5': its input is 2x2"):
        feature_maps(alexnet().replace(input=InputSpec(62, 62)))
