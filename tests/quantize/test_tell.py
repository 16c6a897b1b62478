"""What quantizing tells of how far it has got."""

from __future__ import annotations

from flyweight.quantize import METHODS, quantize, sensitivity, telling, told
from tests.quantize.test_quantize import IMAGES, network

Told = list[tuple[str, int, int]]


def steps(found: Told) -> list[tuple[str, int]]:
    """Return the steps and their parts, each checked to be told from none to all."""
    starts = [(what, total) for what, done, total in found if done == 0]
    whole = [(what, done, total) for what, total in starts for done in range(total + 1)]
    assert found == whole
    return starts


def test_every_step_is_told_from_none_to_all() -> None:
    found: Told = []
    with telling(lambda *one: found.append(one)):
        quantize(network(), IMAGES, METHODS["best"])
        sensitivity(network(), IMAGES)
    names = [what.split(",")[0] for what, _ in steps(found)]
    assert names == ["chooses ranges", "fits weights", "chooses ranges", "measures each layer alone"]
    assert all(total > 1 for _, total in steps(found))


def test_nobody_is_told_outside_and_parts_are_the_same() -> None:
    found: Told = []
    with telling(lambda *one: found.append(one)):
        assert list(told("nothing", [])) == []
    assert list(told("unheard", "abc")) == ["a", "b", "c"]
    assert found == []
