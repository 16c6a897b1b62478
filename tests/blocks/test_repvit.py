import pytest
import torch
from torch import nn

from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(width: int = 16, stride: int = 1, head: HeadSpec | None = None, **chosen: Value) -> ArchSpec:
    stage = StageSpec("vit", "repvit", width, stride, settings(expand=2.0, **chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, 16), 2, (stage,), head or HeadSpec("distilled_classifier"))


def test_channels_are_mixed_in_a_residual_around_the_mixed_pixels() -> None:
    block = build(_net(se=0.25, se_gate="sigmoid")).encoder.vit
    x = torch.randn(1, 16, 9, 12)
    mixed = block.se(block.depthwise(x))
    torch.testing.assert_close(block(x), mixed + block.project(nn.functional.gelu(block.expand(mixed))))


def test_a_norm_stands_behind_the_sum_of_the_depthwise_branches_and_one_before_it() -> None:
    depthwise = build(_net()).encoder.vit.depthwise
    nn.init.constant_(depthwise.norm.bias, 3.0)
    x = torch.randn(1, 16, 9, 12)
    summed = depthwise.convs[0](x) + depthwise.pointwise.conv(x) + x
    torch.testing.assert_close(depthwise(x), summed / (1 + 1e-5) ** 0.5 + 3.0)


@pytest.mark.parametrize(("width", "stride", "changes"), [(16, 1, False), (24, 1, True), (16, 2, True), (32, 2, True)])
def test_shape_is_changed_by_a_plain_depthwise_and_a_pointwise_layer(width: int, stride: int, changes: bool) -> None:
    block = build(_net(width, stride)).encoder.vit
    assert bool(list(block.pointwise.parameters())) == changes
    assert (block.depthwise.identity is None) == changes


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (16, 2), (24, 1), (24, 2)])
@pytest.mark.parametrize("chosen", [{"kernel": 5, "se": 0.25}, {"activation": "crelu"}])
def test_shape_behind_the_block_is_the_one_computed(
    chosen: dict[str, Value], width: int, stride: int, deploy: bool, padding: str
) -> None:
    spec = _net(width, stride, deploy=deploy, **chosen).replace(padding=padding)
    shape = feature_maps(spec)["vit"]
    out = build(spec).get_submodule("encoder.vit")(torch.randn(1, 16, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (width, -(-9 // stride), -(-12 // stride))


def test_logits_are_the_mean_of_the_classifiers() -> None:
    head = build(_net()).head
    x = torch.randn(3, 16, 9, 12)
    pooled = x.mean((2, 3)) / (1 + 1e-5) ** 0.5  # fresh norms only divide by the root of 1 + epsilon
    first, second = (linear(pooled) for linear in head.classify.linears)
    torch.testing.assert_close(head({"vit": x}), (first + second) / 2)


@pytest.mark.parametrize(
    ("chosen", "message"), [({"classifiers": 0}, "classifiers is 0"), ({"dropout": 1.0}, "dropout")]
)
def test_a_head_that_cannot_be_built_says_why(chosen: dict[str, Value], message: str) -> None:
    with pytest.raises(SpecError, match=f"head 'distilled_classifier': {message}"):
        build(_net(head=HeadSpec("distilled_classifier", settings=settings(**chosen))))
