from flyweight.zoo.repvgg import repvgg


def test_a0_has_the_sources_blocks_and_widths() -> None:
    stages = repvgg("a0").stages
    # (1 + 2 + 4 + 14 + 1) layers; widths 64, 128, 256 times 0.75 and 512 times 2.5 (arXiv 2101.03697, tables 2 and 3)
    assert [stage.out_channels for stage in stages] == [48] + [48] * 2 + [96] * 4 + [192] * 14 + [1280]


def test_stem_is_never_wider_than_64() -> None:
    assert [repvgg(member).stages[0].out_channels for member in ("a0", "a1", "a2", "b0")] == [48, 64, 64, 64]
