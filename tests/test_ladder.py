import pytest

from flyweight.errors import UsageError
from flyweight.ladder import LADDER, steps_of


def test_chosen_rungs_bring_their_parents_in_the_plans_order() -> None:
    assert [rung.name for rung in LADDER.chosen(("v1",))] == ["v0", "v0.1", "v0.2", "v1"]


def test_an_unknown_rung_lists_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no rung of plan 'ladder' is named 'v2.2.9'. Did you mean v2\.2\.\d"):
        LADDER.chosen(("v2.2.9",))


def test_every_parent_stands_before_its_rung() -> None:
    seen: set[str] = {""}
    for rung in LADDER.rungs:
        assert rung.parent in seen
        seen.add(rung.name)


def test_the_control_and_the_last_rung_are_trained_as_long() -> None:
    named = {rung.name: rung for rung in LADDER.rungs}
    assert steps_of(named["v2.2.2"], LADDER, 100) == (100, 800)  # v0, v0.1, v0.2, v1, v2.1.1, v2.1.3, v2.1.4, itself
    assert steps_of(named["v2.2.3"], LADDER, 100) == (800, 800)  # from new weights
    assert steps_of(named["v3.2"], LADDER, 100) == (0, 800)
    assert steps_of(named["control"], LADDER, 100) == (700, 800)  # 100 are v0's


def test_the_control_has_the_last_rungs_skips() -> None:
    rungs = {rung.name: rung for rung in LADDER.rungs}
    assert rungs["control"].edits == rungs["v2.2.2"].edits


def test_folding_and_quantizing_take_no_steps() -> None:
    assert [steps_of(r, LADDER, 100)[0] for r in LADDER.rungs if not r.trained] == [0, 0]


def test_the_plan_edits_the_architecture_it_names() -> None:
    from flyweight.transforms._edit import SpecEdit
    from flyweight.zoo import ZOO

    specs = {"": ZOO.get(LADDER.architecture).spec}
    for rung in LADDER.rungs:
        spec = specs[rung.parent]
        for edit in rung.edits:
            if isinstance(edit, SpecEdit):
                assert edit.edit(spec) != spec
                spec = edit.edit(spec)
        specs[rung.name] = spec
    assert specs["v2.2.2"].head.widths == (16, 8, 4, 2)
    assert [s.out_channels for s in specs["v2.2.2"].stages[-4:]] == [512] * 4
