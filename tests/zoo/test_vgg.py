import torch

from flyweight.build import build
from flyweight.spec import InputSpec
from flyweight.zoo.vgg import vgg_16


def test_norms_come_on_top_of_the_biases() -> None:
    counts = []
    for norm in (False, True):
        with torch.device("meta"):
            counts.append(sum(p.numel() for p in build(vgg_16(norm)).parameters()))
    channels = 2 * 64 + 2 * 128 + 3 * 256 + 3 * 512 + 3 * 512
    assert counts[1] - counts[0] == 2 * channels == 8_448  # scale and shift; each convolution keeps its bias


def test_parameters_do_not_depend_on_the_input_size() -> None:
    sizes = (InputSpec(224, 224), InputSpec(32, 65))
    with torch.device("meta"):
        counts = {sum(p.numel() for p in build(vgg_16(False).replace(input=size)).parameters()) for size in sizes}
    assert counts == {138_357_544}
