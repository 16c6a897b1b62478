from typing import Any

import pytest
import torch

from flyweight.blocks.universal_inverted import MEMBERS
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, Padding, StageSpec, settings

FORMS = [(0, 0), (3, 0), (0, 5), (5, 3)]  # feed-forward, ConvNeXt's, inverted residual, ExtraDW


def _spec(
    start_kernel: int, kernel: int, stride: int = 1, size: tuple[int, int] = (9, 7), **chosen: float | str
) -> ArchSpec:
    """Return one block behind 16 channels."""
    block = settings(start_kernel=start_kernel, kernel=kernel, **chosen)
    stages = (
        StageSpec("stem", "conv", 16, settings=settings(kernel=1)),
        StageSpec("block", "universal_inverted", 16, stride, block),
    )
    return ArchSpec("x", "classify", InputSpec(*size), 2, stages, HeadSpec("pool_classifier"))


def _convs(spec: ArchSpec) -> dict[str, torch.nn.Conv2d]:
    block = build(spec).get_submodule("encoder.block")
    return {n: m for n, m in block.named_modules() if isinstance(m, torch.nn.Conv2d)}


@pytest.mark.parametrize(("start", "kernel"), FORMS)
def test_the_two_kernels_say_which_depthwise_layers_there_are(start: int, kernel: int) -> None:
    shapes = {name: tuple(conv.weight.shape) for name, conv in _convs(_spec(start, kernel)).items()}
    first = {"first.conv": (16, 1, start, start)} if start else {}
    second = {"depthwise.conv": (96, 1, kernel, kernel)} if kernel else {}
    assert shapes == first | {"expand.conv": (96, 16, 1, 1)} | second | {"project.conv": (16, 96, 1, 1)}


def test_the_second_depthwise_layer_has_the_stride_or_the_first_where_it_is_alone() -> None:
    assert {n: c.stride[0] for n, c in _convs(_spec(5, 3, 2)).items() if c.stride[0] > 1} == {"depthwise.conv": 2}
    assert {n: c.stride[0] for n, c in _convs(_spec(5, 0, 2)).items() if c.stride[0] > 1} == {"first.conv": 2}


def test_only_expansion_and_second_depthwise_layer_have_an_activation() -> None:
    block = build(_spec(5, 3)).get_submodule("encoder.block")
    assert [n for n, m in block.named_modules() if isinstance(m, torch.nn.ReLU)] == ["expand.act", "depthwise.act"]


def test_stated_defaults_are_those_that_are_used() -> None:
    spec = _spec(0, 3)
    bare = StageSpec("block", "universal_inverted", 16)
    full = bare.with_settings(**MEMBERS["universal_inverted"].settings)
    assert str(build(spec.replace(stages=(bare,)))) == str(build(spec.replace(stages=(full,))))


@pytest.mark.parametrize(("start", "kernel"), FORMS)
def test_crelu_halves_the_filters_of_the_expansion_and_keeps_all_widths(start: int, kernel: int) -> None:
    convs = _convs(_spec(start, kernel, activation="crelu"))
    shapes = {name: tuple(conv.weight.shape[:2]) for name, conv in convs.items()}
    assert (shapes["expand.conv"], shapes["project.conv"]) == ((96 // 2, 16), (16, 96))
    with torch.device("meta"):
        assert build(_spec(start, kernel, activation="crelu"))(torch.zeros(1, 3, 9, 7)).shape == (1, 2)


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("size", [(65, 97), (32, 64)])
@pytest.mark.parametrize(("start", "kernel"), FORMS[1:])
def test_shape_is_size_over_stride_rounded_up_at_any_size(
    start: int, kernel: int, size: tuple[int, int], padding: Padding
) -> None:
    spec = _spec(start, kernel, 2, size).replace(padding=padding)
    with torch.device("meta"):
        out = build(spec).get_submodule("encoder.block")(torch.zeros(2, 16, *size))
    expected = feature_maps(spec)["block"]
    assert out.shape[2:] == (expected.height, expected.width) == (-(-size[0] // 2), -(-size[1] // 2))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"start_kernel": 0, "kernel": 0, "stride": 2}, "stride 2, but both kernel and start_kernel are 0"),
        ({"start_kernel": 4, "kernel": 3}, "kernel is 4"),
        ({"start_kernel": 3, "kernel": 3, "expand": -1}, "expand is -1.0"),
    ],
)
def test_what_cannot_be_built_is_an_error_that_names_the_stage(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"stage 'block': {message}"):
        build(_spec(**chosen))
