from flyweight.zoo.mobileone import mobileone


def test_s0_has_the_sources_blocks_and_widths() -> None:
    widths = [stage.out_channels for stage in mobileone("s0").stages]
    assert widths == [48] + [48] * 2 + [128] * 8 + [256] * 10 + [1024]  # 64, 128, 256, 512 times 0.75, 1, 1, 2


def test_only_the_end_of_s4_has_squeeze_and_excitation() -> None:
    excited = {member: [s.name for s in mobileone(member).stages if s.setting("se", 0.0)] for member in ("s3", "s4")}
    assert excited == {"s3": [], "s4": [f"stage3_{number}" for number in range(6, 11)] + ["stage4_1"]}


def test_only_s0_has_several_convolutions_side_by_side() -> None:
    counts = {member: mobileone(member).stage("stage1_1").setting("branches", 0) for member in ("s0", "s1", "s4")}
    assert counts == {"s0": 4, "s1": 1, "s4": 1}
