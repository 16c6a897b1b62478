"""Kernel, expansion and activation as edits of whatever has them."""

import pytest
import torch
from torch import nn

from flyweight.build import build, feature_maps
from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.testing import _networks as networks
from flyweight.transforms.set_expansion import SetExpansion
from flyweight.transforms.set_kernel import SetKernel
from flyweight.transforms.swap_activation import SwapActivation
from flyweight.zoo import ZOO

V1, V2, V3 = (ZOO.get(name).spec for name in ("mobilenet_v1_0.25_128", "mobilenet_v2_1.0", "mobilenet_v3_small_1.0"))


def params(spec: ArchSpec) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(spec).parameters())


def chain(*stages: StageSpec) -> ArchSpec:
    return ArchSpec("chain", "classify", InputSpec(32, 32), 3, stages, HeadSpec("pool_classifier"))


def test_a_larger_kernel_computes_what_the_smaller_one_did() -> None:
    before = networks.segmenter()
    after = SetKernel(5).apply(before, Env())
    x = networks.inputs(before)
    assert torch.allclose(networks.outputs(after, x), networks.outputs(before, x), atol=1e-5)
    assert after.module.state_dict()["encoder.conv1.conv.weight"].shape[2:] == (5, 5)


def test_a_smaller_kernel_is_the_middle_of_the_larger_one() -> None:
    before = SetKernel(5).apply(networks.segmenter(), Env())
    after = SetKernel(3).apply(before, Env())
    name = "encoder.conv4_1.depthwise.conv.weight"
    assert torch.equal(after.module.state_dict()[name], before.module.state_dict()[name][:, :, 1:4, 1:4])


def test_kernel_of_all_stages_leaves_pointwise_convolutions_alone() -> None:
    edited = SetKernel(5).edit(V2)
    assert edited.stages[-1] == V2.stages[-1]  # the last one is 1x1
    stem, depthwise = V2.stages[0], [p for n, p in build(V2).named_parameters() if n.endswith("depthwise.conv.weight")]
    more = (5 * 5 - 3 * 3) * (stem.out_channels * 3 + sum(len(p) for p in depthwise))
    assert params(edited) == params(V2) + more


def test_kernel_of_a_named_stage_changes_even_where_it_is_pointwise() -> None:
    name = V2.stages[-1].name
    assert SetKernel(3, (name,)).edit(V2).stage(name).setting("kernel", 0) == 3


def test_kernel_takes_a_stages_own_padding_along_so_that_every_map_keeps_its_size() -> None:
    spec = chain(StageSpec("conv1", "conv", 8, 2, settings(kernel=7, padding=2)))
    edited = SetKernel(3).edit(spec)
    assert dict(edited.stages[0].settings) == {"kernel": 3, "padding": 0}
    assert feature_maps(edited) == feature_maps(spec)


def test_kernel_gets_padding_where_there_was_none() -> None:
    spec = chain(StageSpec("conv1", "conv", 8, 2, settings(kernel=3, padding=0)))
    assert dict(SetKernel(5).edit(spec).stages[0].settings) == {"kernel": 5, "padding": 1}


def test_kernel_for_which_no_padding_keeps_the_size_is_an_error() -> None:
    spec = chain(StageSpec("conv1", "conv", 8, 2, settings(kernel=5, padding=0)))
    with pytest.raises(TransformError, match=r"stage 'conv1': its padding is 0, and its kernel would be larger by -2"):
        SetKernel(3).edit(spec)


@pytest.mark.parametrize("kernel", [0, -3, 4, 33])
def test_kernel_that_is_none_is_an_error(kernel: int) -> None:
    with pytest.raises(TransformError, match=f"kernel is {kernel}; allowed are the odd numbers from 1 to 31"):
        SetKernel(kernel).edit(V1)


def test_kernel_that_every_stage_has_already_is_an_error() -> None:
    with pytest.raises(TransformError, match="nothing would change"):
        SetKernel(3).requires(networks.segmenter())


def test_expansion_of_all_stages_leaves_those_that_do_not_expand_alone() -> None:
    edited = SetExpansion(3).edit(V2)
    ratios = [s.setting("expand", 6.0) for s in edited.stages if s.block == "inverted_residual"]
    assert ratios == [1.0] + 16 * [3.0]


def test_expansion_changes_the_channels_inside_alone() -> None:
    # the block's input has 16 channels, its output 24; expand 6 or 3: 1x1, norm; 3x3 depthwise, norm; 1x1, norm
    first, block = StageSpec("a", "conv", 16), StageSpec("b", "inverted_residual", 24, 2, settings(expand=6.0))

    def inside(wide: int) -> int:
        return wide * 16 + 2 * wide + wide * 9 + 2 * wide + 24 * wide

    spec = chain(first, block)
    assert params(spec) - params(SetExpansion(3).edit(spec)) == inside(6 * 16) - inside(3 * 16)


def test_expansion_where_no_block_expands_is_an_error_that_names_the_blocks_which_do() -> None:
    with pytest.raises(TransformError, match=r"no stage has expand to set. Blocks that have one: .*inverted_residual"):
        SetExpansion(3).edit(V1)


def test_expansion_of_a_named_stage_without_one_is_an_error_that_names_those_with_one() -> None:
    spec = chain(StageSpec("a", "conv", 16), StageSpec("b", "inverted_residual", 24))
    with pytest.raises(TransformError, match=r"stage 'a': its block 'conv' has no expand. Stages that have one: b."):
        SetExpansion(3, ("a",)).edit(spec)


@pytest.mark.parametrize("expand", [0.0, -1.0, 65.0, float("nan"), float("inf")])
def test_expansion_that_is_none_is_an_error(expand: float) -> None:
    with pytest.raises(TransformError, match="allowed are ratios above 0, at most 64"):
        SetExpansion(expand).edit(V2)


def count(spec: ArchSpec, kind: type[nn.Module]) -> int:
    with torch.device("meta"):
        return sum(type(part) is kind for part in build(spec).modules())


def test_activation_is_swapped_in_stages_and_head_whether_it_was_written_or_the_default() -> None:
    swapped = SwapActivation("hard_swish", "relu").edit(V3)
    assert count(V3, nn.Hardswish) > 0
    assert count(swapped, nn.Hardswish) == 0
    assert swapped.head.setting("activation", "") == "relu"
    assert count(SwapActivation("relu6", "relu").edit(V1), nn.ReLU6) == 0  # relu6 is its blocks' default


def test_gates_are_activations_too() -> None:
    swapped = SwapActivation("hard_sigmoid", "sigmoid").edit(V3)
    assert (count(swapped, nn.Sigmoid), count(swapped, nn.Hardsigmoid)) == (count(V3, nn.Hardsigmoid), 0)


def test_gate_of_a_squeeze_that_is_not_there_is_no_activation() -> None:
    with pytest.raises(TransformError, match=r"nothing has activation 'hard_sigmoid'. It has activation: relu6 in 19"):
        SwapActivation("hard_sigmoid", "sigmoid").edit(V2)


def test_activation_of_named_stages_leaves_the_head_alone() -> None:
    name = V3.stages[0].name
    swapped = SwapActivation("hard_swish", "relu", (name,)).edit(V3)
    assert [new.name for new, old in zip(swapped.stages, V3.stages, strict=True) if new != old] == [name]
    assert swapped.head == V3.head


def test_swapped_activation_inherits_every_weight() -> None:
    change = SwapActivation("relu6", "relu").apply(networks.segmenter(), Env()).history[-1]
    assert change.settings["inherited"] == 1.0
    assert (change.before, change.after) == ("activation: relu6 in 14", "activation: relu in 14")


def test_activation_that_does_not_exist_is_an_error_that_lists_those_that_do() -> None:
    with pytest.raises(TransformError, match=r"no activation is named 'gelo'. Known: relu, relu6"):
        SwapActivation("gelo", "relu").edit(V1)


def test_crelu_is_left_to_its_own_transform() -> None:
    with pytest.raises(TransformError, match="Use transform 'crelu'"):
        SwapActivation("relu6", "crelu").edit(V1)


def test_edit_of_a_stage_that_does_not_exist_is_refused_by_its_name() -> None:
    candidate = Candidate(build(V1), Preprocessing(128, 128), V1)
    with pytest.raises(TransformError, match="no stage 'conv9'"):
        SetKernel(5, ("conv9",)).requires(candidate)
