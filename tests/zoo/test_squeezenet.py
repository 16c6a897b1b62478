import pytest
import torch

from flyweight.build import build, feature_maps
from flyweight.profile import profile_module
from flyweight.spec import InputSpec
from flyweight.zoo.squeezenet import MEMBERS, squeezenet


@pytest.mark.parametrize(("version", "sizes"), [("1.0", [109, 54, 27, 13]), ("1.1", [111, 55, 27, 13])])
def test_stem_is_not_padded_and_pooling_rounds_up(version: str, sizes: list[int]) -> None:
    # 1.0: (224 - 7) // 2 + 1 = 109; then ⌈(s - 3) / 2⌉ + 1: ⌈53⌉ + 1, ⌈25.5⌉ + 1, ⌈12⌉ + 1
    maps = feature_maps(squeezenet(version))
    assert [maps[stage.name].height for stage in squeezenet(version).stages if stage.stride == 2] == sizes


def test_no_layer_has_a_norm() -> None:
    for entry in MEMBERS.values():
        assert not [name for name, _ in build(entry.spec).named_buffers()]


def test_caffes_input_and_padded_classifier_give_the_published_operations_of_1_0() -> None:
    spec = squeezenet("1.0")
    spec = spec.replace(input=InputSpec(227, 227))
    with torch.device("meta"):
        macs = profile_module(build(spec), torch.zeros(1, 3, 227, 227)).macs
    macs += (15**2 - 13**2) * 512 * 1000  # conv10 of the first prototxt pads its 13x13 map by a pixel
    assert round(2 * macs / 1e9, 2) == 1.72  # README: 1.72 GFLOPS per image, two operations per multiply-accumulate
