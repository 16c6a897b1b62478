"""What weights compute under another project's names, they compute here: for every source and family of networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from flyweight.build import build
from flyweight.contracts import Candidate
from flyweight.pretrained import PRETRAINED, export_weights, import_weights
from flyweight.pretrained._naming import Layers
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO
from tests.pretrained import references as ref
from tests.pretrained.references import Style

TORCH, TENSORFLOW = Style(), Style(1e-3, same=True)
LITE = tuple((*row[:4], 1 if index in (0, 6) else row[4]) for index, row in enumerate(ref.B0))
LARGE, SMALL = (1, 2, 3, 4, 2, 3), (1, 2, 3, 2, 3)

CASES: dict[tuple[str, str], Callable[[], nn.Module]] = {
    ("torchvision", "mobilenet_v2_0.35"): lambda: ref.torchvision_mobilenet_v2(0.35),
    ("torchvision", "mobilenet_v2_1.4"): lambda: ref.torchvision_mobilenet_v2(1.4),
    ("torchvision", "mobilenet_v3_small_1.0"): lambda: ref.torchvision_mobilenet_v3(ref.V3_SMALL, 576, 1024, 1.0),
    ("torchvision", "mobilenet_v3_large_0.75_torchvision"): lambda: ref.torchvision_mobilenet_v3(
        ref.V3_LARGE, 960, 1280, 0.75
    ),
    ("torchvision", "efficientnet_b0"): lambda: ref.torchvision_efficientnet(1.0, 1.0),
    ("torchvision", "efficientnet_b2"): lambda: ref.torchvision_efficientnet(1.1, 1.2),
    ("torchvision", "mnasnet_b1_0.5"): lambda: ref.torchvision_mnasnet(0.5),
    ("torchvision", "resnet_18"): lambda: ref.ResNet((2, 2, 2, 2), bottleneck=False),
    ("torchvision", "resnet_50"): lambda: ref.ResNet((3, 4, 6, 3), bottleneck=True),
    ("torchvision", "shufflenet_v2_1.0"): lambda: ref.ShuffleNetV2((116, 232, 464), 1024),
    ("torchvision", "squeezenet_1.0"): lambda: ref.SqueezeNet("1.0"),
    ("torchvision", "squeezenet_1.1"): lambda: ref.SqueezeNet("1.1"),
    ("timm", "mobilenet_v2_0.5"): lambda: ref.TimmNet(TORCH, ref.V2, 0.5, nn.ReLU6()),
    ("timm", "mnasnet_b1_1.0"): lambda: ref.TimmNet(TORCH, ref.MNASNET_B1, 1.0, nn.ReLU()),
    ("timm", "efficientnet_b0"): lambda: ref.TimmNet(TORCH, ref.B0, 1.0, nn.SiLU(), se=True),
    ("timm", "efficientnet_lite0"): lambda: ref.TimmNet(TORCH, LITE, 1.0, nn.ReLU6(), fixed=True),
    ("timm", "mobilenet_v3_large_1.0"): lambda: ref.TimmMobileNetV3(TORCH, ref.V3_LARGE, LARGE, 960, 1280),
    ("timm", "mobilenet_v3_small_1.0"): lambda: ref.TimmMobileNetV3(TORCH, ref.V3_SMALL, SMALL, 576, 1024),
    ("timm_tf", "efficientnet_b0"): lambda: ref.TimmNet(TENSORFLOW, ref.B0, 1.0, nn.SiLU(), se=True),
    ("timm_tf", "efficientnet_lite0"): lambda: ref.TimmNet(TENSORFLOW, LITE, 1.0, nn.ReLU6(), fixed=True),
    ("timm_tf", "mobilenet_v3_small_1.0"): lambda: ref.TimmMobileNetV3(TENSORFLOW, ref.V3_SMALL, SMALL, 576, 1024),
    ("efficientnet_pytorch", "efficientnet_b0"): lambda: ref.EfficientNetPyTorch(nn.SiLU(), se=True),
    ("efficientnet_pytorch", "efficientnet_lite0"): lambda: ref.EfficientNetPyTorch(nn.ReLU6(), se=False),
}


def sized(spec: ArchSpec, height: int, width: int) -> ArchSpec:
    return spec.replace(input=replace(spec.input, height=height, width=width))


@dataclass(frozen=True)
class Case:
    source: str
    name: str
    origin: nn.Module
    candidate: Candidate


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest) -> Case:
    source, name = request.param
    origin = ref.seasoned(CASES[source, name]())
    candidate = import_weights(sized(ZOO.get(name).spec, 64, 96), origin.state_dict(), source).candidate
    return Case(source, name, origin, candidate)


def difference(first: nn.Module, second: nn.Module) -> float:
    """Return the largest difference of two modules' outputs over the first one's largest output."""
    x = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted, got = first(x), second(x)
    assert wanted.std() > 1e-3  # the input matters: the outputs are not those of the biases
    return float((wanted - got).abs().max() / wanted.abs().max())


def test_imported_weights_compute_what_their_origin_computes(case: Case) -> None:
    assert difference(case.origin, case.candidate.module) <= 1e-4


def test_exported_weights_are_those_that_were_imported(case: Case) -> None:
    given, again = case.origin.state_dict(), export_weights(case.candidate, case.source)
    assert {key: tuple(tensor.shape) for key, tensor in again.items()} == {k: tuple(t.shape) for k, t in given.items()}
    assert all(torch.equal(again[key], given[key]) for key in given)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v3_small_1.0"])
def test_the_same_names_with_padding_and_epsilon_of_another_origin_compute_something_else(name: str) -> None:
    origin = ref.seasoned(CASES["timm", name]())
    candidate = import_weights(sized(ZOO.get(name).spec, 64, 96), origin.state_dict(), "timm_tf").candidate
    assert difference(origin, candidate.module) > 1e-2


STRUCTURES = {entry.spec.stages: name for name, entry in ZOO.members.items()}.values()  # each once, at one resolution


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (source, name)
        for source in PRETRAINED.names()
        for name in STRUCTURES
        if any(rule.fits(ZOO.get(name).spec) for rule in PRETRAINED.get(source).rules)
    ],
)
def test_every_layer_of_every_network_has_a_name_of_its_own(source: str, name: str) -> None:
    spec = ZOO.get(name).spec
    with torch.device("meta"):
        layers = Layers.of(build(spec))
    names = PRETRAINED.get(source).rule_for(spec).names(layers)
    assert list(names) == list(layers.names)
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("source", PRETRAINED.names())
def test_every_rule_is_for_networks_that_there_are_and_is_checked_by_a_reference(source: str) -> None:
    for rule in PRETRAINED.get(source).rules:
        assert [name for name, entry in ZOO.members.items() if rule.fits(entry.spec)], rule.members
        assert [name for at, name in CASES if at == source and rule.fits(ZOO.get(name).spec)], rule.members


@pytest.mark.parametrize(
    ("source", "name", "padding", "eps", "momentum", "mean"),
    [
        ("torchvision", "mobilenet_v2_0.35", "symmetric", 1e-5, 0.1, 0.485),
        ("torchvision", "mobilenet_v3_small_1.0", "symmetric", 1e-3, 0.01, 0.485),
        ("torchvision", "efficientnet_b0", "symmetric", 1e-5, 0.1, 0.485),
        ("torchvision", "mnasnet_b1_0.5", "symmetric", 1e-5, 3e-4, 0.485),
        ("timm", "efficientnet_lite0", "symmetric", 1e-5, 0.1, 0.485),
        ("timm_tf", "efficientnet_b0", "same", 1e-3, 0.01, 0.485),
        ("timm_tf", "mobilenet_v3_small_1.0", "same", 1e-3, 0.01, 0.5),
        ("timm_tf", "efficientnet_lite0", "same", 1e-3, 0.01, 127 / 255),
        ("efficientnet_pytorch", "efficientnet_lite0", "same", 1e-3, 0.01, 127 / 255),
    ],
)
def test_padding_norms_and_preprocessing_are_the_origins(
    source: str, name: str, padding: str, eps: float, momentum: float, mean: float
) -> None:
    spec = sized(ZOO.get(name).spec, 64, 64)
    candidate = import_weights(spec, CASES[source, name]().state_dict(), source).candidate
    assert candidate.spec == spec.replace(padding=padding, norm_eps=eps, norm_momentum=momentum)
    assert {(m.eps, m.momentum) for m in candidate.module.modules() if isinstance(m, nn.BatchNorm2d)} == {
        (eps, momentum)
    }
    assert (candidate.preprocessing.height, candidate.preprocessing.width) == (64, 64)
    assert candidate.preprocessing.mean[0] == mean
