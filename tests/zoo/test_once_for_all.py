from typing import Any

import pytest
import torch

from flyweight.build import build
from flyweight.errors import SpecError
from flyweight.profile import profile_module
from flyweight.zoo.once_for_all import subnet


@pytest.mark.parametrize(
    ("kernel", "expansion", "depth", "params", "macs"),
    [  # counted from mit-han-lab/once-for-all ofa_mbv3.py at width 1.0
        (5, 4, 3, 4_551_792, 250_746_944),
        (3, 4, 3, 4_481_136, 225_006_656),
        (3, 6, 4, 7_299_960, 433_141_536),
        (7, 3, 2, 3_493_352, 151_290_192),
    ],
)
def test_counts_between_the_ends_of_the_space_are_those_of_the_source(
    kernel: int, expansion: int, depth: int, params: int, macs: int
) -> None:
    with torch.device("meta"):
        network = build(subnet(kernel, expansion, depth))
        assert sum(p.numel() for p in network.parameters()) == params
        assert profile_module(network, torch.zeros(1, 3, 224, 224)).macs == macs


def test_a_shallow_stage_uses_the_first_of_its_four_choices() -> None:
    kernels = [3, 5, 7, 3] * 5
    spec = subnet(kernels, 3, [2, 3, 4, 2, 3], 128)
    chosen = [stage.setting("kernel", 0) for stage in spec.stages if stage.name.startswith("block")]
    assert chosen == [3, *(3, 5), *(3, 5, 7), *(3, 5, 7, 3), *(3, 5), *(3, 5, 7)]


def test_every_weight_of_a_subnet_fits_into_the_largest_network() -> None:
    with torch.device("meta"):
        whole = dict(build(subnet(7, 6, 4)).named_parameters())
        part = dict(build(subnet([3, 5, 7, 5] * 5, [6, 4, 3, 3] * 5, [2, 3, 4, 2, 3])).named_parameters())
    assert part.keys() <= whole.keys()
    for name, weight in part.items():
        assert all(a <= b for a, b in zip(weight.shape, whole[name].shape, strict=True)), name


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kernels": 4}, r"kernels is 4; the supernet offers 3, 5, 7"),
        ({"kernels": [3] * 19 + [9]}, r"kernels\[19\] is 9; the supernet offers 3, 5, 7"),
        ({"expansions": [3, 4]}, r"2 expansions; give one for all, or 20"),
        ({"depths": 1}, r"depths is 1; the supernet offers 2, 3, 4"),
        ({"resolution": 130}, r"resolution is 130; the supernet offers 128, 132, 136 … 224"),
        ({"width": 1.1}, r"width is 1.1; the supernet offers 1.0, 1.2"),
    ],
)
def test_a_choice_outside_the_space_is_an_error_that_says_what_is_offered(
    changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        subnet(**{"kernels": 3, "expansions": 3, "depths": 2, **changed})
