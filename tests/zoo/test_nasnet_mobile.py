import pytest
import torch

from flyweight.blocks._layers import FeatureMap
from flyweight.blocks.nasnet import FactorizedReduction
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.profile import profile_module
from flyweight.spec import ArchSpec, InputSpec, Value
from flyweight.zoo.nasnet_mobile import nasnet_mobile


def test_macs_are_those_of_cadenes_port_without_the_outputs_that_it_cuts_off() -> None:
    def one_row_and_column_more(filters: int, size: int) -> int:
        # in 5 branches, with kernels 5, 7, 7, 5 and 3, the first separable convolution
        positions = (size + 1) ** 2 - size**2
        return positions * (filters * (25 + 49 + 49 + 25 + 9) + 5 * filters * filters)

    cut_off = one_row_and_column_more(22, 28) + one_row_and_column_more(88, 14) + one_row_and_column_more(176, 7)
    with torch.device("meta"):
        macs = profile_module(build(nasnet_mobile()), torch.zeros(1, 3, 224, 224)).macs
    assert macs + cut_off == 568_234_858


def test_keras_counts_the_moving_statistics_as_well() -> None:
    with torch.device("meta"):
        network = build(nasnet_mobile())
    channels = sum(m.num_features for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert sum(p.numel() for p in network.parameters()) + 2 * channels == 5_326_716


def test_last_cell_gives_1056_channels_at_a_thirty_second_of_the_input() -> None:
    last = feature_maps(nasnet_mobile())["cell11"]
    assert (last.channels, last.height, last.width) == (1056, 7, 7)


@pytest.mark.parametrize("size", [6, 7])
def test_factorized_reduction_reads_even_pixels_and_then_odd_ones(size: int) -> None:
    reduction = FactorizedReduction(FeatureMap(1, size, size), 2, torch.nn.Identity(), nasnet_mobile()).eval()
    torch.nn.init.ones_(reduction.even.weight)
    torch.nn.init.ones_(reduction.odd.weight)
    x = torch.arange(1.0, size + 1).diag()[None, None]
    out = reduction(x)[0] * (1 + 1e-3) ** 0.5
    odd = [2.0, 4.0, 6.0, 0.0][: (size + 1) // 2]  # a zero behind an odd size
    assert out[0].diag().tolist() == pytest.approx([1.0, 3.0, 5.0, 7.0][: (size + 1) // 2])
    assert out[1].diag().tolist() == pytest.approx(odd)


def _changed(**chosen: Value) -> ArchSpec:
    spec = nasnet_mobile().replace(input=InputSpec(64, 64))
    stages = (stage.with_settings(**chosen) if stage.name == "cell1" else stage for stage in spec.stages)
    return spec.replace(stages=tuple(stages))


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"pairs": ("sep5 0, sep3 1",), "concat": (1,)}, "pair 'sep5 0, sep3 1' must read like"),
        ({"pairs": ("sep5 0 + sep3 2",), "concat": (1,)}, "reads a state that isn't there yet. Before it are 0 to 1"),
        ({"concat": (1, 9)}, r"concat is \(1, 9\); it needs states from 0 to 6"),
        ({"concat": (2, 3, 4, 5, 6)}, "out_channels is 264, but 5 states"),
        ({"previous": "conv0"}, "'conv0' has 31x31 pixels, which neither are nor halve to the 8x8"),
        ({"fit_previous": False}, "skip can't read state 1: it has 88 channels of 8x8, but 44 channels"),
    ],
)
def test_a_cell_that_cannot_be_is_an_error_that_names_the_stage(chosen: dict[str, Value], words: str) -> None:
    with torch.device("meta"), pytest.raises(SpecError, match=f"stage 'cell1': .*{words}"):
        build(_changed(**chosen))
