import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.build import LARGE, build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import HeadSpec, InputSpec, SkipSpec, StageSpec
from flyweight.zoo import ZOO

DECONV = ZOO.get("mobilenet_v1_deconv").spec
SMALL = DECONV.replace(
    input=InputSpec(32, 32),
    stages=tuple(s.replace(out_channels=max(4, s.out_channels // 32)) for s in DECONV.stages),
    head=HeadSpec("deconv_decoder", (8, 4, 2)),
)


def test_the_same_seed_builds_the_same_weights() -> None:
    first, second = build(SMALL, 3).state_dict(), build(SMALL, 3).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_seed_builds_other_weights() -> None:
    first, second = build(SMALL, 3).state_dict(), build(SMALL, 4).state_dict()
    assert not torch.equal(first["encoder.conv1.conv.weight"], second["encoder.conv1.conv.weight"])


def test_building_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    build(SMALL, 0)
    assert torch.equal(torch.rand(3), expected)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(16, 70), width=st.integers(16, 70), padding=st.sampled_from(["same", "symmetric"]))
def test_feature_maps_say_what_the_stages_give_at_any_size(height: int, width: int, padding: str) -> None:
    spec = SMALL.replace(input=InputSpec(height, width), padding=padding)
    network = build(spec)
    x = torch.zeros(1, 3, height, width)
    for name, expected in feature_maps(spec).items():
        x = network.encoder[name](x)
        assert tuple(x.shape[1:]) == (expected.channels, expected.height, expected.width)


@pytest.mark.parametrize("size", [(32, 32), (80, 80), (50, 34), (33, 47)])
def test_the_decoder_gives_back_the_encoders_sizes(size: tuple[int, int]) -> None:
    spec = SMALL.replace(input=InputSpec(*size))
    maps = [(m.height, m.width) for m in feature_maps(spec).values()]
    above = [size, *dict.fromkeys(maps)][::-1]  # last map first; after three x2 steps we stand at entry 3
    assert tuple(build(spec)(torch.zeros(2, 3, *size)).shape) == (2, 3, *above[3])


def test_same_padding_on_an_even_size_pads_only_bottom_and_right() -> None:
    network = build(SMALL)
    assert network.encoder["conv1"].pad.padding == (0, 1, 0, 1)  # left, right, top, bottom


def test_concatenated_skips_double_what_the_next_stage_reads() -> None:
    head = HeadSpec("deconv_decoder", (8, 4, 2), (SkipSpec("conv5_5", 0),), "concat")
    network = build(SMALL.replace(head=head))
    assert network.head.up1.conv.in_channels == 8 + 8


def test_a_skip_of_the_wrong_size_is_an_error_that_names_stage_and_sizes() -> None:
    head = HeadSpec("deconv_decoder", (8, 4, 2), (SkipSpec("conv1", 0),))
    with pytest.raises(SpecError, match=r"decoder stage 0 .*'conv1' is 16x16.*works at 2x2"):
        build(SMALL.replace(head=head))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (StageSpec("a", "separabel", 8), "Did you mean separable"),
        (StageSpec("a", "deconv_decoder", 8), "is a head"),
        (StageSpec("a", "conv", 8, settings=(("kernel", 4),)), "kernel is 4.*odd"),
        (StageSpec("a", "conv", 8, settings=(("colour", 4),)), "unknown setting 'colour'. Allowed: activation, kernel"),
        (StageSpec("a", "conv", 7, settings=(("activation", "crelu"),)), "7 channels with CReLU"),
        (StageSpec("a", "conv", 8, settings=(("activation", "gelu9"),)), "no activation is named 'gelu9'"),
    ],
)
def test_a_stage_that_cannot_be_built_is_named_with_what_is_allowed(stage: StageSpec, message: str) -> None:
    spec = SMALL.replace(stages=(stage,), head=HeadSpec("deconv_decoder", (4,)))
    with pytest.raises(SpecError, match=message):
        build(spec)


def test_every_parameter_of_the_deconv_network_gets_a_gradient() -> None:
    network = build(SMALL).train()
    network(torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_large_weights_are_drawn_once_and_as_small_ones_are() -> None:
    spec = ZOO.get("alexnet").spec  # its first linear layer has 9,216 x 4,096 weights
    layers = [layer for layer in build(spec).modules() if isinstance(layer, nn.Linear)]
    assert layers[0].weight.numel() >= LARGE > layers[2].weight.numel()
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.01)
