import pytest
import torch

from flyweight.build import build
from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, InputSpec
from flyweight.transforms._edit import inherit, summary
from flyweight.transforms.add_skips import AddSkips
from flyweight.transforms.crelu import UseCReLU
from flyweight.transforms.drop_blocks import DropBlocks
from flyweight.transforms.resize_input import ResizeInput
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.transforms.set_decoder import SetDecoder
from flyweight.zoo import ZOO

SPEC = ZOO.get("mobilenet_v1_deconv").spec.replace(input=InputSpec(64, 64))
NARROW = SPEC.replace(stages=tuple(s.replace(out_channels=max(8, s.out_channels // 16)) for s in SPEC.stages)).replace(
    head=SPEC.head.replace(widths=(16, 8, 8, 8))
)


def candidate(spec: ArchSpec = NARROW) -> Candidate:
    return Candidate(build(spec, 1), Preprocessing(spec.input.height, spec.input.width), spec)


def test_another_resolution_inherits_every_weight() -> None:
    edited = ResizeInput(32, 32).apply(candidate(), Env())
    assert edited.history[-1].settings["inherited"] == 1.0
    assert (edited.preprocessing.height, edited.input_shape) == (32, (1, 3, 32, 32))


def test_dropped_blocks_are_gone_and_the_others_keep_their_weights() -> None:
    before = candidate()
    after = DropBlocks(("conv5_6", "conv6")).apply(before, Env())
    assert after.spec is not None
    assert [s.name for s in after.spec.stages][-1] == "conv5_5"
    name = "encoder.conv5_5.pointwise.conv.weight"
    assert torch.equal(after.module.state_dict()[name], before.module.state_dict()[name])


def test_dropping_a_skips_source_is_an_error_that_names_the_stage() -> None:
    skipped = AddSkips("add", 3).apply(candidate(), Env())
    with pytest.raises(TransformError, match=r"stage 'conv5_5' feeds a skip"):
        DropBlocks(("conv5_5",)).apply(skipped, Env())


def test_scaled_width_keeps_the_first_channels_on_both_sides() -> None:
    before = candidate()
    after = ScaleWidth(("conv5_1", "conv5_2"), 0.5).apply(before, Env())
    name = "encoder.conv5_2.pointwise.conv.weight"
    assert after.module.state_dict()[name].shape[:2] == (16, 16)
    assert torch.equal(after.module.state_dict()[name], before.module.state_dict()[name][:16, :16])


def test_crelu_halves_the_filters_and_keeps_the_width() -> None:
    after = UseCReLU(("conv5_1",)).apply(candidate(), Env())
    assert after.module.state_dict()["encoder.conv5_1.pointwise.conv.weight"].shape[0] == 32 // 2
    assert after.module.state_dict()["encoder.conv5_2.depthwise.conv.weight"].shape[0] == 32


def test_crelu_with_widen_two_keeps_the_filters_and_doubles_the_width() -> None:
    after = UseCReLU(("conv5_1",), widen=2.0).apply(candidate(), Env())
    assert after.module.state_dict()["encoder.conv5_1.pointwise.conv.weight"].shape[0] == 32
    assert after.module.state_dict()["encoder.conv5_2.depthwise.conv.weight"].shape[0] == 64


def test_skips_start_at_the_last_encoder_stage_of_each_size() -> None:
    spec = AddSkips("add", 3).edit(SPEC)
    assert [(skip.source, skip.target) for skip in spec.head.skips] == [("conv5_5", 0), ("conv4_1", 1), ("conv3_1", 2)]


def test_more_skips_than_decoder_stages_are_an_error_that_says_how_many_fit() -> None:
    with pytest.raises(TransformError, match=r"5 skips, but the decoder has 4 stages. Use 1 to 4"):
        AddSkips("add", 5).apply(candidate(), Env())


def test_decoder_widths_are_an_error_on_a_classifier() -> None:
    with pytest.raises(TransformError, match=r"head 'pool_classifier', not a decoder"):
        SetDecoder((16, 8)).edit(ZOO.get("mobilenet_v1_0.25_128").spec)


def test_an_edit_that_changes_nothing_is_an_error() -> None:
    with pytest.raises(TransformError, match=r"nothing would change"):
        ResizeInput(64, 64).apply(candidate(), Env())


def test_a_module_without_a_spec_is_refused_with_what_to_do() -> None:
    bare = Candidate(torch.nn.Conv2d(3, 4, 3), Preprocessing(8, 8))
    with pytest.raises(TransformError, match=r"has none. Start from a zoo name"):
        ResizeInput(16, 16).apply(bare, Env())


def test_inherit_says_which_share_of_the_parameters_came_over() -> None:
    old, new = torch.nn.Linear(4, 2), torch.nn.Linear(4, 3)  # 8 of 12 weights and 2 of 3 biases fit
    assert inherit(new, old) == (8 + 2) / (12 + 3)
    assert torch.equal(new.weight[:2], old.weight)


def test_summary_tells_input_widths_and_decoder() -> None:
    stages, head = "32/2 64 128/2 128 256/2 256 512/2 512x5 1024/2 1024", "deconv_decoder 512,256,128,64"
    assert summary(SPEC) == f"64x64: {stages} | {head}"
