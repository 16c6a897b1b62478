import pytest
import torch

from flyweight.build import box_code, build
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings

STAGES = (StageSpec("a", "conv", 8, 8), StageSpec("b", "conv", 16, 2))
PAIRS = ((4, 6), (10, 12), (20, 18), (40, 30))


def net(widths: tuple[int, ...] = (12, 4, 10), size: tuple[int, int] = (64, 64), **chosen: Value) -> ArchSpec:
    """Maps of 8x8 and 4x4 of an input of 64 pixels, two anchors per cell; 3 classes."""
    head = HeadSpec("tiny_yolo", widths, settings=settings(**({"fine": "a", "anchors": PAIRS} | chosen)))
    return ArchSpec("net", "detect", InputSpec(*size), 3, STAGES, head)


def test_parameters_are_those_of_the_layers() -> None:
    head = build(net()).head
    count = sum(parameter.numel() for parameter in head.parameters())
    coarse = 16 * 12 * 9 + 24 + 12 * 2 * 8 + 2 * 8
    fine = 16 * 4 + 8 + (4 + 8) * 10 * 9 + 20 + 10 * 2 * 8 + 2 * 8
    assert count == coarse + fine


def test_the_fine_map_comes_first_and_has_the_first_anchors() -> None:
    code = box_code(net())
    assert len(code) == 2 * (64 + 16)
    assert code.sizes[:3].tolist() == [[4, 6], [10, 12], [4, 6]]
    assert code.sizes[-2:].tolist() == [[20, 18], [40, 30]]
    assert code.origins[2 * (8 + 3)].tolist() == [3 * 8, 1 * 8]  # the corner of row 1, column 3
    assert code.steps[0].tolist() == [8, 8] and code.steps[-1].tolist() == [16, 16]


def test_an_output_moves_only_with_the_pixels_it_sees() -> None:
    head = build(net()).head
    maps = {"a": torch.zeros(1, 8, 8, 8), "b": torch.zeros(1, 16, 4, 4)}
    still = head(maps)[0]
    maps["a"][0, :, 1, 3] = 5.0
    moved = (head(maps)[0] - still).detach().abs().sum(dim=1) > 0
    cells = {(index // 2 // 8, index // 2 % 8) for index in range(2 * 64) if moved[index]}
    assert cells == {(y, x) for y in (0, 1, 2) for x in (2, 3, 4)}  # one 3×3 around row 1, column 3
    assert not moved[2 * 64 :].any()  # the coarse map's outputs don't see the fine one


def test_few_anchors_hold_an_object_before_training() -> None:
    network = build(net())
    _, scores = box_code(net()).decode(network(torch.zeros(1, 3, 64, 64)).detach().numpy())
    assert scores.max() < 0.02


def test_odd_sizes_work() -> None:
    spec = net(size=(65, 97))  # 9x13, and 5x7 that doubled would be 10x14
    assert build(spec)(torch.zeros(2, 3, 65, 97)).shape == (2, 2 * (9 * 13 + 5 * 7), 8)
    assert len(box_code(spec)) == 2 * (9 * 13 + 5 * 7)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (net(fine="c"), "has fine 'c', but the stages are: a, b"),
        (net(fine="b", coarse="a"), "a map of 8x8 comes behind one of 4x4"),
        (net((12, 4)), "2 widths; it needs 3"),
        (net(anchors=PAIRS[:3]), "it needs pairs of width and height in pixels, above 0, as many"),
        (net(anchors=((1, 2), (3, 0))), "above 0"),
        (net(anchors=((1, 2), 3)), "it needs pairs"),
    ],
)
def test_what_is_wrong_with_the_head_is_named(spec: ArchSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(spec)
