import pytest
import torch

from flyweight.build import build
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(pixels: int = 9, **chosen: Value) -> ArchSpec:
    head = HeadSpec("mlp_classifier", widths=(10, 6), settings=settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(pixels, pixels), 4, (StageSpec("a", "conv", 8),), head)


def test_parameters_are_those_of_three_fully_connected_layers() -> None:
    count = sum(p.numel() for p in build(_net(pool=3)).head.parameters())
    assert count == (8 * 3 * 3 * 10 + 10) + (10 * 6 + 6) + (6 * 4 + 4)


@pytest.mark.parametrize("pixels", [1, 2, 6, 7, 16])
def test_any_input_size_is_pooled_to_the_one_that_the_layers_read(pixels: int) -> None:
    assert build(_net(pixels))(torch.randn(2, 3, pixels, pixels)).shape == (2, 4)


@pytest.mark.parametrize(
    ("first", "order"),
    [(True, ["Dropout", "Linear", "ReLU"] * 2), (False, ["Linear", "ReLU", "Dropout"] * 2)],
)
def test_dropout_stands_in_front_of_hidden_layers_or_behind_them(first: bool, order: list[str]) -> None:
    layers = [type(part).__name__ for layer in build(_net(dropout_first=first)).head.hidden for part in layer]
    assert layers == order


@pytest.mark.parametrize(("chosen", "words"), [({"pool": 0}, "pool is 0"), ({"activation": "crelu"}, "CReLU doubles")])
def test_impossible_settings_are_errors(chosen: dict[str, Value], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        build(_net(**chosen))
