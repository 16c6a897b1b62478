import pytest
import torch
from torch import nn

from flyweight.blocks._layers import FeatureMap
from flyweight.blocks._reparam import AveragedLinear, Mergeable, ParallelConv
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(block: str, width: int = 16, stride: int = 1, **chosen: Value) -> ArchSpec:
    stage = StageSpec("rep", block, width, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, 16), 2, (stage,), HeadSpec("pool_classifier"))


SPEC = _net("reparam_conv")
SAME = SPEC.replace(padding="same")


def _warm(layer: Mergeable) -> Mergeable:
    """Give every norm statistics, scales and shifts that matter."""
    for part in layer.modules():
        if isinstance(part, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.3, 3.0)
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
    return layer.eval()


def _relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("spec", [SPEC, SAME], ids=["symmetric", "same"])
@pytest.mark.parametrize("size", [(9, 12), (8, 8), (7, 10)])
@pytest.mark.parametrize(
    ("width", "stride", "groups"),
    [(16, 1, 1), (24, 1, 1), (16, 1, 16), (16, 2, 16), (24, 2, 4), (16, 1, 4), (16, 3, 1)],
)
@pytest.mark.parametrize(
    "chosen",
    [{}, {"branches": 4}, {"kernel": 5}, {"kernel": 1, "branches": 3}, {"beside": False}, {"norm_last": True}],
    ids=str,
)
def test_merged_convolution_computes_the_sum_of_its_branches(
    chosen: dict[str, int], width: int, stride: int, groups: int, size: tuple[int, int], spec: ArchSpec
) -> None:
    torch.manual_seed(0)
    inputs = FeatureMap(16, *size)
    layer = _warm(ParallelConv(inputs, width, spec, where="", stride=stride, groups=groups, **chosen))  # type: ignore[arg-type]
    x = torch.randn(2, 16, *size)
    with torch.no_grad():
        merged = layer.merged()
        assert _relative(merged(x), layer(x)) < 1e-5
    assert sum(isinstance(part, nn.Conv2d) for part in merged.modules()) == 1
    assert not any(isinstance(part, nn.BatchNorm2d) for part in merged.modules())


def test_merged_classifier_computes_the_mean_of_its_branches() -> None:
    torch.manual_seed(0)
    layer = _warm(AveragedLinear(12, 5, SPEC, branches=3))
    x = torch.randn(4, 12)
    with torch.no_grad():
        wanted = sum(linear(norm(x)) for norm, linear in zip(layer.norms, layer.linears, strict=True)) / 3
        torch.testing.assert_close(layer(x), wanted)
        assert _relative(layer.merged()(x), wanted) < 1e-5


def test_merging_changes_nothing_of_what_is_merged() -> None:
    layer = _warm(ParallelConv(FeatureMap(16, 9, 12), 16, SPEC, where="", branches=2))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    with torch.no_grad():
        next(layer.merged().parameters()).zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())


@pytest.mark.parametrize(
    ("width", "stride", "kernel", "branches"),
    [(16, 1, 3, 4 + 1 + 1), (24, 1, 3, 4 + 1), (16, 2, 3, 4 + 1), (16, 1, 1, 4 + 1), (16, 2, 1, 4)],
)
def test_branches_are_the_convolutions_a_pointwise_one_and_the_identity_where_it_fits(
    width: int, stride: int, kernel: int, branches: int
) -> None:
    network = build(_net("reparam_conv", width, stride, kernel=kernel, branches=4))
    assert sum(isinstance(part, nn.BatchNorm2d) for part in network.modules()) == branches  # a norm each


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (16, 2), (24, 1), (24, 2)])
@pytest.mark.parametrize("deploy", [False, True])
@pytest.mark.parametrize(
    ("block", "chosen"),
    [
        ("reparam_conv", {"kernel": 5, "groups": 4}),
        ("reparam_conv", {"activation": "crelu", "branches": 2}),
        ("reparam_separable", {"se": 0.25, "branches": 2}),
        ("reparam_separable", {"activation": "crelu"}),
    ],
)
def test_shape_behind_the_block_is_the_one_computed(
    block: str, chosen: dict[str, Value], deploy: bool, width: int, stride: int, padding: str
) -> None:
    spec = _net(block, width, stride, deploy=deploy, **chosen).replace(padding=padding)
    shape = feature_maps(spec)["rep"]
    out = build(spec).get_submodule("encoder.rep")(torch.randn(1, 16, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (width, -(-9 // stride), -(-12 // stride))


def test_a_number_of_branches_that_cannot_be_names_the_stage() -> None:
    with pytest.raises(SpecError, match=r"stage 'rep': branches is 0; allowed are whole numbers from 1"):
        build(_net("reparam_conv", branches=0))
