import math

import pytest
import torch
import torch.nn.functional as F

from flyweight.tasks._box_loss import cells, multibox


def logits(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor([[(0.0, 0.0, 0.0, 0.0, *row) for row in rows]])


def test_ssd_loss_counts_three_of_the_worst_background_anchors_for_each_matched_one() -> None:
    # background and one class; all matched or background anchors have logits (0, x): loss log(1 + exp(x)) as background
    outputs = logits((0, 0), (0, 4), (0, 3), (0, -9), (0, 5), (0, 1))
    labels = torch.tensor([[1, 0, 0, 0, 0, -1]])
    wanted = math.log(2) + sum(math.log(1 + math.exp(x)) for x in (5, 4, 3))
    assert multibox(outputs, labels, torch.zeros(1, 6, 4)).item() == pytest.approx(wanted, rel=1e-5)


def test_ssd_offsets_count_quadratically_near_and_linearly_far() -> None:
    outputs = logits((-99, 99), (99, -99))
    raw = torch.zeros(1, 2, 4)
    raw[0, 0] = torch.tensor([0.5, 3.0, 0.0, 0.0])
    raw[0, 1] = 50.0  # of an anchor without truth
    found = multibox(outputs, torch.tensor([[1, 0]]), raw).item()
    assert found == pytest.approx(0.5 * 0.5**2 + (3 - 0.5))


def test_ssd_loss_is_averaged_over_the_matched_anchors() -> None:
    outputs, labels = logits((0, 0), (0, 0)), torch.tensor([[1, 1]])
    assert multibox(outputs, labels, torch.zeros(1, 2, 4)).item() == pytest.approx(math.log(2))


def test_ssd_mines_each_image_by_itself() -> None:
    outputs = torch.cat((logits((0, 0), (0, 8)), logits((0, 0), (0, -2))))
    labels = torch.tensor([[1, 0], [1, 0]])
    wanted = 2 * math.log(2) + math.log(1 + math.exp(8)) + math.log(1 + math.exp(-2))
    assert multibox(outputs, labels, torch.zeros(2, 2, 4)).item() == pytest.approx(wanted / 2, rel=1e-5)


def test_yolo_loss_adds_centre_size_objectness_and_classes() -> None:
    outputs = torch.zeros(1, 3, 7)
    outputs[0, 0, 2] = 1.5
    labels = torch.tensor([[2, 0, -1]])
    found = cells(outputs, labels, torch.zeros(1, 3, 4), torch.full((1, 3), 0.25)).item()
    scale = 2 - 0.25
    center = scale * 2 * math.log(2)  # cross-entropy of one half with one half
    size = scale * 1.5**2 / 2
    assert found == pytest.approx(center + size + 2 * math.log(2) + 2 * math.log(2))  # two objectnesses, two classes


def test_yolo_centre_is_best_at_the_wanted_one() -> None:
    raw = torch.zeros(1, 1, 4)
    raw[0, 0, :2] = torch.tensor([0.7, -1.2])
    outputs = torch.zeros(1, 1, 6)
    outputs[0, 0, :2] = raw[0, 0, :2]
    outputs.requires_grad_()
    cells(outputs, torch.tensor([[1]]), raw, torch.zeros(1, 1)).backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert outputs.grad[0, 0, :4].abs().max() < 1e-6


def test_yolo_classes_are_asked_for_one_by_one() -> None:
    outputs = torch.zeros(1, 1, 8)
    outputs[0, 0, 5:] = torch.tensor([2.0, 3.0, -1.0])
    outputs[0, 0, 4] = 99.0  # surely an object
    found = cells(outputs, torch.tensor([[2]]), torch.zeros(1, 1, 4), torch.full((1, 1), 1.0)).item()
    classes = F.softplus(torch.tensor([2.0, -3.0, -1.0])).sum().item()
    assert found == pytest.approx(2 * math.log(2) + classes, rel=1e-5)
