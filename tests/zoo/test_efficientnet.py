from flyweight.build import build
from flyweight.zoo.efficientnet import MEMBERS, efficientnet, stages


def _repeats(width: float, depth: float) -> list[int]:
    rows = [stage.name.split("_")[0] for stage in stages(width, depth)[1:-1]]
    return [rows.count(row) for row in dict.fromkeys(rows)]


def test_repeats_are_scaled_and_rounded_up() -> None:
    assert _repeats(1.0, 1.0) == [1, 2, 2, 3, 3, 4, 1]
    assert _repeats(1.4, 1.8) == [2, 4, 4, 6, 6, 8, 2]  # 1 · 1.8 -> 2, 2 · 1.8 -> 4, 3 · 1.8 -> 6, 4 · 1.8 -> 8


def test_widths_of_b4_are_scaled_and_rounded_to_eights() -> None:
    chain = MEMBERS["efficientnet_b4"].spec.stages
    assert list(dict.fromkeys(stage.out_channels for stage in chain)) == [48, 24, 32, 56, 112, 160, 272, 448, 1792]


def test_squeezed_width_is_a_quarter_of_the_blocks_input_not_of_the_expanded_width() -> None:
    network = build(efficientnet("b0"))
    assert network.get_submodule("encoder.block3_2.se.reduce").get_parameter("weight").shape[:2] == (40 // 4, 40 * 6)
