import pytest
import torch

from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(block: str, width: int, stride: int = 1, **chosen: Value) -> ArchSpec:
    stage = StageSpec("a", block, width, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 6, 16), 2, (stage,), HeadSpec("pool_classifier"))


def test_a_dense_layer_adds_its_width_to_its_input() -> None:
    x = torch.randn(1, 16, 9, 6)
    out = build(_net("dense_layer", 12)).get_submodule("encoder.a")(x)
    assert out.shape == (1, 16 + 12, 9, 6)
    assert out[:, :16].equal(x)


def test_parameters_of_a_dense_layer() -> None:
    count = sum(p.numel() for p in build(_net("dense_layer", 12)).encoder.parameters())
    assert count == 2 * 16 + 16 * 48 + 2 * 48 + 48 * 12 * 3 * 3  # norm, 1×1 to 4·12, norm, 3×3


@pytest.mark.parametrize("activation", ["relu", "crelu"])
@pytest.mark.parametrize(
    ("block", "width", "stride"), [("dense_layer", 12, 1), ("dense_transition", 10, 2), ("norm_act", 16, 1)]
)
def test_shape_behind_a_block_is_the_one_computed(block: str, width: int, stride: int, activation: str) -> None:
    spec = _net(block, width, stride, activation=activation)
    shape = feature_maps(spec)["a"]
    out = build(spec).get_submodule("encoder.a")(torch.randn(1, 16, 9, 6))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width)


def test_a_dense_layer_with_a_stride_is_an_error_that_names_it() -> None:
    with pytest.raises(SpecError, match="stage 'a': stride is 2, but a dense layer joins its output to its input"):
        build(_net("dense_layer", 12, 2))


def test_a_transition_without_pixels_to_average_is_an_error_that_names_it() -> None:
    spec = _net("dense_transition", 12, 2).replace(input=InputSpec(1, 6, 16))
    with pytest.raises(SpecError, match=r"stage 'a': its input is 1x6, but a 2x2 window .* at least 2x2"):
        build(spec)
