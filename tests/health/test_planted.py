"""Dead channels planted in networks of the zoo: all of them are found, no others, and they go with outputs equal."""

from __future__ import annotations

import pytest
import torch

from flyweight.contracts import Candidate, Env
from flyweight.health import diagnose
from flyweight.testing import _networks as networks
from flyweight.testing._planted import planted
from flyweight.transforms.remove_dead import RemoveDead
from flyweight.zoo import ZOO

FAMILIES = [
    "efficientnet_lite0", "mobilenet_v1_0.25_128", "mobilenet_v2_0.35", "mnasnet_a1_0.5", "pp_lcnet_0.25", "resnet_18",
    "shufflenet_v2_0.5", "shiftnet_a", "starnet_s050", "squeezenet_1.0",
]  # fmt: skip
SLOW_FAMILIES = [
    "alexnet", "densenet_121", "efficientnet_b0", "ghostnet_0.5", "googlenet", "lraspp_mobilenet_v3_large",
    "mobilenet_v4_conv_large", "ofa_mobilenet_v3_1.0_largest", "repvit_m0.9",
    "ssdlite_mobilenet_v3_large", "tiny_yolov3", "vgg_16", "xception",
]  # fmt: skip


def healthy(name: str) -> Candidate:
    """Return a narrow network with weights that look trained."""
    candidate = networks.seasoned(networks.narrow(ZOO.get(name).spec))
    generator = torch.Generator().manual_seed(0)
    for path, param in candidate.module.named_parameters():
        if path.endswith("bias") and not bool(param.any()):  # as built: such a network counts as untrained
            param.data.copy_(0.2 * torch.rand(param.shape, generator=generator) - 0.1)
    return candidate


@pytest.mark.parametrize("name", [*FAMILIES, *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW_FAMILIES)])
def test_planted_channels_are_found_and_removed_with_outputs_equal(name: str) -> None:
    candidate = healthy(name)
    example, x = torch.zeros(candidate.input_shape), networks.inputs(candidate)
    assert diagnose(candidate.module, example).findings == ()
    ill, truth = planted(candidate)
    findings = diagnose(ill.module, example).findings
    assert {(f.layer, c) for f in findings for c in f.channels} == {(p.layer, c) for p in truth for c in p.channels}
    edited = RemoveDead().apply(ill, Env())
    sizes = [sum(p.numel() for p in c.module.parameters()) for c in (ill, edited)]
    assert sizes[1] < sizes[0]
    old, new = networks.outputs(ill, x), networks.outputs(edited, x)
    assert float((old - new).abs().max() / old.abs().max()) <= 1e-5
