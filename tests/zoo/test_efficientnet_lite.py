from flyweight.zoo.efficientnet_lite import MEMBERS, stages


def test_first_and_last_row_are_not_repeated_at_any_depth() -> None:
    rows = [stage.name.split("_")[0] for stage in stages(1.4, 1.8)[1:-1]]
    assert [rows.count(row) for row in dict.fromkeys(rows)] == [1, 4, 4, 6, 6, 8, 1]


def test_stem_and_last_convolution_keep_their_width() -> None:
    for entry in MEMBERS.values():
        assert (entry.spec.stages[0].out_channels, entry.spec.stages[-1].out_channels) == (32, 1280)


def test_no_member_has_squeeze_and_excitation_or_swish() -> None:
    for entry in MEMBERS.values():
        for stage in entry.spec.stages:
            assert not stage.setting("se", 0.0)
            assert stage.setting("activation", "relu6") == "relu6"
