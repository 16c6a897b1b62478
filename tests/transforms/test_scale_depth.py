import pytest
import torch

from flyweight.build import build, feature_maps
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.transforms.add_skips import AddSkips
from flyweight.transforms.scale_depth import ScaleDepth, runs
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.zoo import ZOO


def names(spec: ArchSpec) -> list[str]:
    return [stage.name for stage in spec.stages]


def chain(*stages: StageSpec) -> ArchSpec:
    return ArchSpec("chain", "classify", InputSpec(32, 32), 3, stages, HeadSpec("pool_classifier"))


def params(spec: ArchSpec) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build(spec).parameters())


@pytest.mark.parametrize(("member", "width", "depth"), [("b1", 1.0, 1.1), ("b2", 1.1, 1.2), ("b4", 1.4, 1.8)])
def test_width_and_depth_make_the_larger_efficientnets_of_the_smallest(member: str, width: float, depth: float) -> None:
    scaled = ScaleDepth(depth).edit(ScaleWidth((), width).edit(ZOO.get("efficientnet_b0").spec))
    assert params(scaled) == ZOO.get(f"efficientnet_{member}").params


def test_half_the_depth_takes_blocks_from_the_end_of_every_run() -> None:
    spec = ZOO.get("mobilenet_v1_1.0_224").spec
    # widths 64 | 128 128 | 256 256 | 512 x 6 | 1024 1024 behind the stem: halves, rounded up, are 1 1 1 3 1
    left = ["conv1", "conv2_1", "conv2_2", "conv3_2", "conv4_2", "conv5_1", "conv5_2", "conv5_6"]
    assert names(ScaleDepth(0.5).edit(spec)) == left


def test_more_depth_adds_copies_of_the_last_of_the_run() -> None:
    spec = ZOO.get("mobilenet_v1_1.0_224").spec
    edited = ScaleDepth(1.5, ("conv5_6",)).edit(spec)
    assert names(edited) == [*names(spec), "conv6_2"]  # 1.5 * 2 = 3
    assert edited.stages[-1] == spec.stage("conv6").replace(name="conv6_2")


def test_new_names_are_not_those_of_other_stages() -> None:
    stages = (StageSpec("a", "conv", 8), StageSpec("a_2", "conv", 8), StageSpec("a_2_2", "conv", 8, 2))
    assert names(ScaleDepth(2.0, ("a",)).edit(chain(*stages))) == ["a", "a_2", "a_2_3", "a_2_4", "a_2_2"]


def test_stem_and_last_convolution_are_no_runs_where_blocks_are_of_another_kind() -> None:
    found = runs(ZOO.get("efficientnet_b0").spec)
    assert [len(run) for run in found] == [1, 2, 2, 3, 3, 4, 1]


def test_skip_from_the_end_of_a_run_starts_at_the_new_end() -> None:
    spec = AddSkips("add", 3).edit(ZOO.get("mobilenet_v1_deconv").spec)
    for factor, sources in ((0.5, ["conv5_2", "conv3_2", "conv2_2"]), (1.5, ["conv5_5_4", "conv4_1_2", "conv3_1_2"])):
        edited = ScaleDepth(factor).edit(spec)
        assert [skip.source for skip in edited.head.skips] == sources
        with torch.device("meta"):
            build(edited)


def test_stage_that_a_heads_setting_names_is_the_new_end_of_its_run() -> None:
    edited = ScaleDepth(0.5).edit(ZOO.get("lraspp_mobilenet_v3_large").spec)
    assert edited.head.setting("low", "") == "block5"  # block4 to block6, halved, rounded up


@pytest.mark.parametrize("factor", [0.25, 0.5, 1.5, 2.0])
def test_cells_go_on_reading_the_two_stages_before_them(factor: float) -> None:
    spec = ZOO.get("nasnet_mobile").spec
    edited = ScaleDepth(factor).edit(spec)
    assert len(edited.stages) != len(spec.stages)
    before = distances(spec)
    assert distances(edited) == {name: before.get(name, 2) for name in distances(edited)}
    with torch.device("meta"):
        build(edited)


def distances(spec: ArchSpec) -> dict[str, int]:
    """Return how many stages back the further one lies that a cell reads."""
    order = {stage.name: place for place, stage in enumerate(spec.stages)}
    cells = [stage for stage in spec.stages if stage.block == "nas_cell"]
    return {cell.name: order[cell.name] - order[cell.setting("previous", "")] for cell in cells}


def test_a_stage_in_no_run_is_an_error_that_lists_the_runs() -> None:
    spec = ZOO.get("mobilenet_v1_1.0_224").spec
    with pytest.raises(TransformError, match=r"stage 'conv1' is in no run of equal blocks. Runs: conv2_1, conv2_2 to"):
        ScaleDepth(0.5, ("conv1",)).edit(spec)


def test_a_network_without_runs_is_an_error() -> None:
    stages = (StageSpec("a", "conv", 8), StageSpec("b", "conv", 16, 1, settings(kernel=5)))
    with pytest.raises(TransformError, match="no two stages in a row have the same block and width"):
        ScaleDepth(2.0).edit(chain(*stages))


@pytest.mark.parametrize("factor", [0.0, -1.0, 65.0, float("nan"), float("inf")])
def test_factor_that_is_none_is_an_error(factor: float) -> None:
    with pytest.raises(TransformError, match="allowed are numbers above 0, at most 64"):
        ScaleDepth(factor).edit(ZOO.get("mobilenet_v1_1.0_224").spec)


def test_layers_are_the_runs_that_change() -> None:
    spec = ZOO.get("mobilenet_v1_1.0_224").spec
    assert ScaleDepth(0.5).layers(spec) == tuple(names(spec)[2:])  # conv2_1 is alone, and stays
    assert feature_maps(ScaleDepth(0.5).edit(spec))["conv5_6"].height == 7
