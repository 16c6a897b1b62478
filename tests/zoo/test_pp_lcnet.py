from flyweight.build import build
from flyweight.zoo.pp_lcnet import MEMBERS, pp_lcnet


def test_only_the_last_two_blocks_have_squeeze_and_excitation_and_the_last_seven_large_kernels() -> None:
    blocks = pp_lcnet().stages[1:]
    assert [stage.setting("se", 0.0) for stage in blocks] == [0.0] * 11 + [0.25] * 2
    assert [stage.setting("kernel", 3) for stage in blocks] == [3] * 6 + [5] * 7


def test_squeezed_width_is_a_quarter_cut_off_not_rounded_to_eights() -> None:
    network = build(pp_lcnet(0.35))
    squeezed = [p.shape[0] for name, p in network.named_parameters() if name.endswith("se.reduce.weight")]
    assert squeezed == [88 // 4, 176 // 4]


def test_hidden_layer_is_1280_wide_at_every_width() -> None:
    assert {entry.spec.head.widths for entry in MEMBERS.values()} == {(1280,)}
