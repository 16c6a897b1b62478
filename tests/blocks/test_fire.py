import pytest
import torch
from torch import nn

from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.transforms.scale_width import ScaleWidth


def _net(width: int = 128, stride: int = 1, channels: int = 96, **chosen: Value) -> ArchSpec:
    stage = StageSpec("fire", "fire", width, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, channels), 2, (stage,), HeadSpec("conv_classifier"))


def _filters(spec: ArchSpec) -> list[int]:
    return [part.out_channels for part in build(spec).encoder.modules() if isinstance(part, nn.Conv2d)]


def test_an_eighth_is_squeezed_and_half_of_the_filters_are_three_by_three() -> None:
    assert _filters(_net(128)) == [16, 64, 64]  # fire2: s1x1 16, e1x1 64, e3x3 64 (arXiv 1602.07360, table 1)


def test_a_width_edit_scales_the_squeeze_too() -> None:
    assert _filters(ScaleWidth((), 2.0).edit(_net(128))) == [32, 128, 128]


def test_concatenated_relu_needs_half_the_widening_filters() -> None:
    assert _filters(_net(128, activation="crelu")) == [16, 32, 32]


@pytest.mark.parametrize("chosen", [{}, {"activation": "crelu"}, {"share": 0.25, "kernel": 5, "norm": True}])
@pytest.mark.parametrize("stride", [1, 2])
def test_shape_behind_the_fire_is_the_one_computed(chosen: dict[str, Value], stride: int) -> None:
    spec = _net(40, stride, **chosen)
    shape = feature_maps(spec)["fire"]
    out = build(spec).get_submodule("encoder.fire")(torch.randn(1, 96, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (40, -(-9 // stride), -(-12 // stride))


def test_residual_adds_the_input_before_the_activation() -> None:
    spec = _net(64, channels=64)
    plain, adding = (build(spec), build(spec.replace(stages=(spec.stages[0].with_settings(residual=True),))))
    x = torch.randn(1, 64, 9, 12)
    fire = plain.encoder.fire
    wide = torch.cat([fire.expand1(fire.squeeze(x)), fire.expand3(fire.squeeze(x))], 1)
    assert torch.equal(adding.encoder.fire(x), torch.relu(x + wide))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"residual": True}, r"stage 'fire': residual adds the input's 96 channels to 128 with stride 1"),
        ({"share": 1.0}, r"stage 'fire': share is 1.0 of 128 filters"),
        ({"squeeze": 0.0}, r"stage 'fire': squeeze is 0.0; allowed are ratios above 0"),
        ({"squeeze": float(2)}, r"stage 'fire': squeeze is 2.0"),
    ],
)
def test_a_fire_that_cannot_be_built_names_the_stage(chosen: dict[str, Value], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(_net(**chosen))
