import numpy as np
import pytest
import torch

from flyweight.blocks._boxes import rows
from flyweight.build import box_code, build, feature_maps
from flyweight.errors import SpecError
from flyweight.profile import profile_module
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings

STAGES = (StageSpec("a", "conv", 8, 8), StageSpec("b", "conv", 16, 2))


def net(kind: str = "ssdlite", widths: tuple[int, ...] = (12,), size: int = 64, **chosen: Value) -> ArchSpec:
    """Maps of 8x8 and 4x4 (and 2x2 by one width of the head) of an input of 64 pixels; 3 classes."""
    head = HeadSpec(kind, widths, settings=settings(**({"sources": ("a", "b")} | chosen)))
    return ArchSpec("net", "detect", InputSpec(size, size), 3, STAGES, head)


def params(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_rows_are_cells_row_by_row_and_anchors_in_each() -> None:
    x = torch.arange(2 * 6 * 4 * 5).reshape(2, 6, 4, 5)  # two anchors of three columns each
    out = rows(x, 3)
    assert out.shape == (2, 40, 3)
    assert out[1, (2 * 5 + 4) * 2 + 1].tolist() == x[1, 3:, 2, 4].tolist()  # row 2, column 4, second anchor


def test_ssdlite_has_six_boxes_per_cell_of_every_map() -> None:
    spec = net()
    assert build(spec)(torch.zeros(1, 3, 64, 64)).shape == (1, 6 * (64 + 16 + 4), 5 + 3)
    assert len(box_code(spec)) == 6 * (64 + 16 + 4)


def test_ssdlite_parameters_are_those_of_its_layers() -> None:
    head = build(net()).head
    # 1×1 16 to 6, depthwise 6, 1×1 to 12, each with scale and shift
    assert params(head.extras) == (16 * 6 + 12) + (6 * 9 + 12) + (6 * 12 + 24)
    # per map of C channels: depthwise 9·C with 2·C, then C·6·4 + 6·4 for the boxes and C·6·4 + 6·4 for three classes
    # and the background
    assert params(head.boxes) == params(head.classes) == sum(11 * c + 24 * c + 24 for c in (8, 16, 12))


def test_default_boxes_have_the_scales_and_ratios_of_the_paper() -> None:
    code = box_code(net())
    first, second, last = code.sizes[:6], code.sizes[6 * 64 : 6 * 64 + 6], code.sizes[-6:]
    low, mid, root = 0.2 * 64, 0.575 * 64, np.sqrt(2)
    assert first[0] == pytest.approx([low, low])
    assert first[1] == pytest.approx([np.sqrt(low * mid)] * 2)
    assert first[2] == pytest.approx([low * root, low / root]) and first[3] == pytest.approx([low / root, low * root])
    assert first[4] == pytest.approx([low * np.sqrt(3), low / np.sqrt(3)])
    assert second[0] == pytest.approx([mid, mid])
    assert last[1] == pytest.approx([np.sqrt(0.95) * 64] * 2)  # of 0.95 and 1
    assert last[4] == pytest.approx([64, 0.95 * 64 / np.sqrt(3)])  # never wider than the input
    assert code.origins[6 * (8 + 2)].tolist() == [2.5 * 8, 1.5 * 8]  # the middle of row 1, column 2
    assert code.steps[0] == pytest.approx(first[0] / 10) and code.gain == 0.2


def test_a_map_of_odd_size_shares_the_input_evenly() -> None:
    spec = net(size=65).replace(input=InputSpec(65, 97))
    assert [(m.height, m.width) for m in feature_maps(spec).values()] == [(9, 13), (5, 7)]
    code = box_code(spec)
    assert build(spec)(torch.zeros(1, 3, 65, 97)).shape[1] == len(code) == 6 * (9 * 13 + 5 * 7 + 3 * 4)
    assert code.origins[6 * 9 * 13 - 1] == pytest.approx([12.5 * 97 / 13, 8.5 * 65 / 9])


def test_a_pyramid_shares_its_head_between_all_maps() -> None:
    spec = net("fpn_ssd", (12,), extras=1, tower=2)
    network = build(spec)
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 6 * (64 + 16 + 4), 5 + 3)
    laterals = 8 * 12 + 24 + 16 * 12 + 24
    conv = 12 * 12 * 9 + 24
    assert params(network.head) == laterals + (2 + 1 + 2) * conv + (12 * 24 + 24) + (12 * 24 + 24)


def test_macs_of_a_shared_head_count_for_every_map() -> None:
    spec = net("fpn_ssd", (12,), extras=1, tower=2)
    found = profile_module(build(spec), torch.zeros(1, 3, 64, 64)).macs
    stages = 64 * 8 * 3 * 9 + 16 * 16 * 8 * 9
    pyramid = (64 * 8 + 16 * 16) * 12 + (64 + 16 + 4) * 12 * 12 * 9
    head = (64 + 16 + 4) * (2 * 12 * 12 * 9 + 12 * 24 + 12 * 24)
    assert found == stages + pyramid + head


def test_a_pyramid_carries_the_coarse_map_to_the_fine_one() -> None:
    network = build(net("fpn_ssd", (12,), extras=0))
    maps = {"a": torch.zeros(1, 8, 8, 8), "b": torch.zeros(1, 16, 4, 4)}
    still = network.head(maps)
    maps["b"] = torch.randn(1, 16, 4, 4)
    moved = (network.head(maps) - still)[0, : 6 * 64].detach().abs().sum(dim=1)
    assert (moved > 0).any()


def test_heads_without_sources_read_the_last_stage() -> None:
    assert len(box_code(net(widths=(), sources=()))) == 6 * 16


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (net(sources=("a", "c")), "has sources 'c', but the stages are: a, b"),
        (net(sources=("b", "a")), "a map of 8x8 comes behind one of 4x4. Name the stages from the finest"),
        (net(scales=(0.9, 0.2)), "scales are 0.9, 0.2"),
        (net(scales=(0.9,)), "it needs numbers, e.g. \\[0.2, 0.95\\]"),
        (net(ratios=("2",)), "it needs numbers, e.g. \\[2.0, 3.0\\]"),
        (net(ratios=(0.0,)), "ratios above 0"),
        (net("fpn_ssd", (8, 8)), "it needs one, that of all its maps"),
        (net("fpn_ssd", (8,), tower=-1), "tower is -1; allowed are 0 to 8"),
    ],
)
def test_what_is_wrong_with_a_head_is_named(spec: ArchSpec, message: str) -> None:
    for make in (build, box_code):
        with pytest.raises(SpecError, match=message):
            make(spec)


def test_a_head_that_does_not_detect_gives_no_boxes() -> None:
    with pytest.raises(SpecError, match="head 'pool_classifier' gives no boxes"):
        box_code(net().replace(head=HeadSpec("pool_classifier")))
