from typing import Any

import pytest
import torch

from flyweight.blocks.inverted_residual import MEMBERS
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, Padding, StageSpec, settings

Chosen = bool | int | float | str


def _spec(
    *,
    block: str = "inverted_residual",
    out: int = 16,
    stride: int = 1,
    size: tuple[int, int] = (9, 7),
    **chosen: Chosen,
) -> ArchSpec:
    """Return one block behind 16 channels."""
    stages = (
        StageSpec("stem", "conv", 16, settings=settings(kernel=1)),
        StageSpec("block", block, out, stride, settings(**chosen)),
    )
    return ArchSpec("x", "classify", InputSpec(*size), 2, stages, HeadSpec("pool_classifier"))


def _shapes(spec: ArchSpec) -> dict[str, tuple[int, ...]]:
    block = build(spec).get_submodule("encoder.block")
    return {name.removesuffix(".weight"): tuple(p.shape) for name, p in block.named_parameters() if p.dim() == 4}


def test_expansion_depthwise_and_projection_have_the_expanded_width() -> None:
    wide = 16 * 6
    assert _shapes(_spec(kernel=5)) == {
        "expand.conv": (wide, 16, 1, 1),
        "depthwise.conv": (wide, 1, 5, 5),
        "project.conv": (16, wide, 1, 1),
    }


def test_fused_block_expands_by_its_k_by_k_convolution() -> None:
    shapes = _shapes(_spec(block="fused_inverted_residual", expand=4))
    assert shapes == {"expand.conv": (64, 16, 3, 3), "project.conv": (16, 64, 1, 1)}


def test_expansion_one_has_no_expansion_layer() -> None:
    assert list(_shapes(_spec(expand=1))) == ["depthwise.conv", "project.conv"]


def test_expanded_width_is_rounded_to_the_specs_divisor() -> None:
    assert _shapes(_spec(expand=2.3))["expand.conv"][0] == 40  # 36.8, to multiples of 8
    cut = _spec(expand=2.3).replace(divisor=1)
    assert _shapes(cut)["expand.conv"][0] == 36


def test_squeeze_ratio_is_of_the_expanded_width_or_of_the_input() -> None:
    assert _shapes(_spec(se=0.25))["se.reduce"][0] == 24  # 16 · 6 / 4
    assert _shapes(_spec(se=0.25, se_of="input", se_divisor=1))["se.reduce"][0] == 4  # 16 / 4


@pytest.mark.parametrize(
    ("chosen", "added"), [({}, True), ({"residual": False}, False), ({"out": 24}, False), ({"stride": 2}, False)]
)
@pytest.mark.parametrize("block", ["inverted_residual", "fused_inverted_residual"])
def test_input_is_added_where_stride_and_width_allow_it_and_residual_does(
    block: str, chosen: dict[str, Any], added: bool
) -> None:
    module = build(_spec(block=block, **chosen)).get_submodule("encoder.block")
    for parameter in module.get_submodule("project").parameters():
        torch.nn.init.zeros_(parameter)  # the branch gives 0, so that only what is added is left
    x = torch.randn(1, 16, 9, 7)
    assert torch.equal(module(x), x) if added else not module(x).any()


def test_projection_is_linear() -> None:
    assert not hasattr(build(_spec()).get_submodule("encoder.block.project"), "act")


@pytest.mark.parametrize("padding", ["same", "symmetric"])
@pytest.mark.parametrize("block", ["inverted_residual", "fused_inverted_residual"])
@pytest.mark.parametrize("size", [(65, 97), (32, 64), (1, 1)])
def test_shape_is_size_over_stride_rounded_up_at_any_size(size: tuple[int, int], block: str, padding: Padding) -> None:
    spec = _spec(block=block, stride=2, kernel=5, size=size, se=0.25).replace(padding=padding)
    expected = feature_maps(spec)["block"]
    with torch.device("meta"):
        network = build(spec)
        out = network.get_submodule("encoder.block")(torch.zeros(2, 16, *size))
    assert out.shape == (2, 16, expected.height, expected.width) == (2, 16, -(-size[0] // 2), -(-size[1] // 2))


@pytest.mark.parametrize("block", MEMBERS)
def test_stated_defaults_are_those_that_are_used(block: str) -> None:
    spec, bare = _spec(), StageSpec("block", block, 16)
    full = bare.with_settings(**MEMBERS[block].settings)
    assert str(build(spec.replace(stages=(bare,)))) == str(build(spec.replace(stages=(full,))))


def test_dilation_spreads_the_kernel_and_keeps_the_size() -> None:
    network = build(_spec(dilation=2, size=(9, 9)))
    x = torch.zeros(1, 96, 9, 9)
    x[:, :, 4, 4] = 1.0
    with torch.no_grad():
        seen = network.get_submodule("encoder.block.depthwise.conv")(x)
    assert seen.shape == x.shape
    assert set(seen[0].abs().sum((0, 2)).nonzero().flatten().tolist()) == {2, 4, 6}


@pytest.mark.parametrize("block", ["inverted_residual", "fused_inverted_residual"])
def test_crelu_halves_the_filters_of_the_expansion_and_keeps_all_widths(block: str) -> None:
    plain, halved = _shapes(_spec(block=block)), _shapes(_spec(block=block, activation="crelu"))
    assert halved["expand.conv"][0] == plain["expand.conv"][0] // 2
    assert halved["project.conv"] == plain["project.conv"]
    with torch.device("meta"):
        network = build(_spec(block=block, activation="crelu"))
        assert network(torch.zeros(1, 3, 9, 7)).shape == (1, 2)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"expand": 0.0}, r"expand is 0.0 of 16 channels; allowed are ratios above 0"),
        ({"expand": 1e9}, r"expand is 1000000000.0 of 16 channels"),
        ({"se": 0.25, "se_of": "output"}, r"se_of is 'output'; allowed are expanded and input"),
        ({"expand": 1, "activation": "crelu"}, r"CReLU halves the filters of the expansion, but expand is 1"),
        ({"kernel": 4}, r"kernel is 4"),
    ],
)
def test_what_cannot_be_built_is_an_error_that_names_the_stage(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=f"stage 'block': {message}"):
        build(_spec(**chosen))
