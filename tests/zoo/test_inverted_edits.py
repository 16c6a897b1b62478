"""The families of inverted residuals keep working under the edits that every architecture should take."""

from collections.abc import Callable

import pytest
import torch

from flyweight.build import build, feature_maps, stage_builder
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value
from flyweight.transforms.crelu import UseCReLU
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.zoo import ZOO

NAMES = (
    "efficientnet_b0", "efficientnet_lite0", "mcunet_in0", "mnasnet_a1_1.0", "mobilenet_v2_1.0",
    "mobilenet_v3_large_1.0", "mobilenet_v4_conv_medium", "mobilenet_v4_conv_small", "ofa_mobilenet_v3_1.0_smallest",
    "pp_lcnet_1.0", "proxylessnas_mobile",
)  # fmt: skip
Edit = Callable[[ArchSpec], ArchSpec]


def _each(spec: ArchSpec, name: str, value: Value) -> ArchSpec:
    """Return the spec with one setting changed in every stage whose block has it and whose settings give it."""
    stages = (s.with_settings(**{name: value}) if name in dict(s.settings) else s for s in spec.stages)
    return spec.replace(stages=tuple(stages))


def _narrower(spec: ArchSpec) -> ArchSpec:
    return ScaleWidth((), 0.37).edit(spec)


def _kernel_5(spec: ArchSpec) -> ArchSpec:
    return _each(spec, "kernel", 5)


def _expansion(spec: ArchSpec) -> ArchSpec:
    return _each(spec, "expand", 2.5)


def _leaky(spec: ArchSpec) -> ArchSpec:
    stages = (s.with_settings(activation="leaky_relu") for s in spec.stages)
    return spec.replace(stages=tuple(stages))


def _squeezed(spec: ArchSpec) -> ArchSpec:
    stages = (s.with_settings(se=0.1) if "se" in stage_builder(s).settings else s for s in spec.stages)
    return spec.replace(stages=tuple(stages))


def _crelu(spec: ArchSpec) -> ArchSpec:
    def takes_it(stage: StageSpec) -> bool:
        return stage.block == "separable" or stage.setting("expand", 6.0) > 1

    return UseCReLU(tuple(stage.name for stage in spec.stages if takes_it(stage))).edit(spec)


def _segmenting(spec: ArchSpec) -> ArchSpec:
    return spec.replace(task="segment", classes=3, head=HeadSpec("deconv_decoder", widths=(16, 8, 4, 2)))


@pytest.mark.parametrize("edit", [_narrower, _kernel_5, _expansion, _leaky, _squeezed, _crelu, _segmenting])
@pytest.mark.parametrize("name", NAMES)
def test_edited_network_runs_on_an_odd_size_with_the_shapes_that_its_spec_says(name: str, edit: Edit) -> None:
    spec = edit(ZOO.get(name).spec.replace(input=InputSpec(65, 97)))
    found = {}
    with torch.device("meta"):
        network = build(spec)
        for stage, module in network.get_submodule("encoder").named_children():
            module.register_forward_hook(lambda module, given, out, stage=stage: found.update({stage: out.shape[1:]}))
        out = network(torch.zeros(2, 3, 65, 97))
    assert found == {stage: (m.channels, m.height, m.width) for stage, m in feature_maps(spec).items()}
    assert out.shape[:2] == (2, spec.classes)


@pytest.mark.parametrize("name", NAMES)
def test_network_runs_on_one_pixel(name: str) -> None:
    spec = ZOO.get(name).spec.replace(input=InputSpec(1, 1))
    with torch.device("meta"):
        assert build(spec)(torch.zeros(2, 3, 1, 1)).shape == (2, 1000)
