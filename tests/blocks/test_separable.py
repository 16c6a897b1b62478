import torch

from flyweight.build import build
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings


def _spec(**chosen: float | int | str) -> ArchSpec:
    stages = (StageSpec("stem", "conv", 16), StageSpec("block", "separable", 32, 2, settings(**chosen)))
    return ArchSpec("x", "classify", InputSpec(9, 7), 2, stages, HeadSpec("pool_classifier"))


def test_squeeze_and_excitation_between_the_layers_has_the_input_width() -> None:
    block = build(_spec(se=0.25, se_divisor=1)).get_submodule("encoder.block")
    assert [name for name, _ in block.named_children()] == ["depthwise", "se", "pointwise"]
    assert block.get_submodule("se.reduce").get_parameter("weight").shape == (4, 16, 1, 1)  # 16 / 4


def test_without_it_the_weights_are_those_of_two_convolutions() -> None:
    names = [name for name, p in build(_spec()).get_submodule("encoder.block").named_parameters() if p.dim() == 4]
    assert names == ["depthwise.conv.weight", "pointwise.conv.weight"]
    with torch.device("meta"):
        assert build(_spec(se=0.25))(torch.zeros(2, 3, 9, 7)).shape == (2, 2)
