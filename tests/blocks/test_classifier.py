import pytest
import torch

from flyweight.build import build
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings


def _spec(*widths: int, **chosen: bool | float | str) -> ArchSpec:
    stages = (StageSpec("stem", "conv", 16, 2),)
    head = HeadSpec("pool_classifier", widths, settings=settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 7), 10, stages, head)


def _head_parameters(spec: ArchSpec) -> dict[str, int]:
    return {name: p.numel() for name, p in build(spec).get_submodule("head").named_parameters()}


def test_without_widths_the_mean_of_every_channel_is_classified() -> None:
    assert _head_parameters(_spec()) == {"classify.weight": 16 * 10, "classify.bias": 10}


def test_a_width_adds_a_hidden_layer_with_a_bias_and_no_norm() -> None:
    assert _head_parameters(_spec(24, activation="hard_swish")) == {
        "hidden.0.conv.weight": 16 * 24,
        "hidden.0.conv.bias": 24,
        "classify.weight": 24 * 10,
        "classify.bias": 10,
    }


def test_bias_of_the_hidden_and_of_the_last_layer_may_go_and_a_norm_may_come() -> None:
    counts = _head_parameters(_spec(24, hidden_bias=False, hidden_norm=True, bias=False))
    assert sum(counts.values()) == 16 * 24 + 2 * 24 + 24 * 10


def test_logits_come_from_any_batch() -> None:
    network = build(_spec(24, dropout=0.2))
    assert network(torch.zeros(3, 3, 9, 7)).shape == (3, 10)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [({"dropout": 1.0}, "dropout is 1.0"), ({"activation": "crelu"}, "CReLU"), ({"activation": "rely"}, "'rely'")],
)
def test_settings_outside_their_range_are_errors_that_name_the_head(
    chosen: dict[str, float | str], message: str
) -> None:
    with pytest.raises(SpecError, match=f"head 'pool_classifier': .*{message}"):
        build(_spec(24, **chosen))
