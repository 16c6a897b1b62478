from flyweight.build import feature_maps
from flyweight.zoo.mobilenet_v4 import MEMBERS, mobilenet_v4_conv_medium, mobilenet_v4_conv_small


def test_every_member_divides_the_input_by_32() -> None:
    for entry in MEMBERS.values():
        assert list(feature_maps(entry.spec).values())[-1].height == entry.spec.input.height // 32


def test_narrow_members_keep_the_first_convolution_and_the_hidden_layer() -> None:
    spec = mobilenet_v4_conv_small(0.5)
    assert (spec.stages[0].out_channels, spec.stages[1].out_channels, spec.head.widths) == (32, 16, (1280,))


def test_small_and_medium_together_use_all_four_forms_of_the_universal_block() -> None:
    stages = (*mobilenet_v4_conv_small().stages, *mobilenet_v4_conv_medium().stages)
    blocks = [stage for stage in stages if stage.block == "universal_inverted"]
    forms = {(bool(stage.setting("start_kernel", 0)), bool(stage.setting("kernel", 3))) for stage in blocks}
    assert forms == {(True, True), (True, False), (False, True), (False, False)}
