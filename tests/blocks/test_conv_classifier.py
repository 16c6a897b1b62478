import pytest
import torch

from flyweight.build import build
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(**chosen: Value) -> ArchSpec:
    stage = StageSpec("conv1", "conv", 8)
    head = HeadSpec("conv_classifier", settings=settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(6, 5), 4, (stage,), head)


def test_activation_stands_before_the_average() -> None:
    head = build(_net()).head
    x = torch.randn(2, 8, 6, 5)
    per_position = torch.einsum("nchw,kc->nkhw", x, head.classify.weight[:, :, 0, 0])
    torch.testing.assert_close(head({"conv1": x}), per_position.clamp(min=0).mean((2, 3)))
    assert (head({"conv1": x}) > 0).any()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [({"dropout": 1.0}, r"head 'conv_classifier': dropout is 1.0"), ({"activation": "crelu"}, r"CReLU .* Use relu")],
)
def test_a_head_that_cannot_be_built_says_why(chosen: dict[str, Value], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(_net(**chosen))
