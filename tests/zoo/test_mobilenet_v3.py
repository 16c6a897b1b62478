import pytest

from flyweight.build import build
from flyweight.zoo.mobilenet_v3 import MEMBERS, mobilenet_v3


def _squeezed(name: str) -> list[int]:
    network = build(MEMBERS[name].spec)
    return [p.shape[0] for key, p in network.named_parameters() if key.endswith("se.reduce.weight")]


def test_squeezed_widths_are_the_published_ones() -> None:
    assert _squeezed("mobilenet_v3_large_1.0") == [24, 32, 32, 120, 168, 168, 240, 240]
    assert _squeezed("mobilenet_v3_small_1.0") == [8, 24, 64, 64, 32, 40, 72, 144, 144]


def test_narrow_networks_keep_the_hidden_layer_in_tensorflow_and_narrow_it_in_torchvision() -> None:
    assert mobilenet_v3("large", 0.75).head.widths == (1280,)
    assert mobilenet_v3("large", 0.75, "torchvision").head.widths == (960,)


@pytest.mark.parametrize(("rule", "expanded"), [("tensorflow", 160), ("torchvision", 152)])
def test_expanded_width_at_three_quarters_is_a_ratio_of_the_input_or_of_the_table(rule: str, expanded: int) -> None:
    spec = mobilenet_v3("large", 0.75, "torchvision" if rule == "torchvision" else "tensorflow")
    shape = build(spec).get_submodule("encoder.block8.expand.conv").get_parameter("weight").shape
    # block 8 is 80 -> 200 -> 80 in table 1, of which at 0.75 come in
    # 80 · 0.75 = 60 -> 64: TensorFlow 64 · 2.5 = 160, torchvision 200 · 0.75 = 150 -> 152
    assert shape[0] == expanded


def test_minimalistic_networks_have_3x3_kernels_relu_and_no_squeeze_and_excitation() -> None:
    spec = mobilenet_v3("small", minimalistic=True)
    chosen = [dict(stage.settings) for stage in spec.stages if stage.block == "inverted_residual"]
    assert {one["kernel"] for one in chosen} == {3}
    assert {one["activation"] for one in chosen} == {"relu"}
    assert not any("se" in one for one in chosen)
