"""The classic networks keep working under the edits that every architecture should take."""

from collections.abc import Callable

import pytest
import torch

from flyweight.build import build, feature_maps, stage_builder
from flyweight.spec import ArchSpec, HeadSpec, InputSpec
from flyweight.transforms.crelu import UseCReLU
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.zoo import ZOO

NAMES = (
    "alexnet", "densenet_121", "googlenet", "inception_v3", "nasnet_mobile", "resnet_50", "se_resnet_18", "vgg_16_bn",
    "xception",
)  # fmt: skip


def _narrower(spec: ArchSpec) -> ArchSpec:
    return ScaleWidth((), 0.37).edit(spec)


def _crelu(spec: ArchSpec) -> ArchSpec:
    stages = tuple(stage.name for stage in spec.stages if "activation" in stage_builder(stage).settings)
    return UseCReLU(stages).edit(spec)


def _kernel_5(spec: ArchSpec) -> ArchSpec:
    def larger(settings: dict[str, object]) -> bool:
        return settings.get("kernel") == 3 and "ceil" not in settings  # poolings have windows, not kernels

    return spec.replace(
        stages=tuple(
            stage.with_settings(kernel=5)
            if larger({**stage_builder(stage).settings, **dict(stage.settings)})
            else stage
            for stage in spec.stages
        )
    )


def _hard_swish(spec: ArchSpec) -> ArchSpec:
    return spec.replace(
        stages=tuple(
            stage.with_settings(activation="hard_swish") if "activation" in stage_builder(stage).settings else stage
            for stage in spec.stages
        )
    )


def _segmenting(spec: ArchSpec) -> ArchSpec:
    return spec.replace(task="segment", classes=3, head=HeadSpec("deconv_decoder", widths=(16, 8, 4, 2)))


@pytest.mark.parametrize("edit", [_narrower, _crelu, _kernel_5, _hard_swish, _segmenting])
@pytest.mark.parametrize("name", NAMES)
def test_edited_network_runs_on_an_odd_size_with_the_shapes_that_its_spec_says(
    name: str, edit: Callable[[ArchSpec], ArchSpec]
) -> None:
    spec = edit(ZOO.get(name).spec.replace(input=InputSpec(97, 129)))
    found = {}
    with torch.device("meta"):
        network = build(spec)
        for stage, module in network.encoder.items():
            module.register_forward_hook(lambda module, given, out, stage=stage: found.update({stage: out.shape[1:]}))
        out = network(torch.zeros(2, 3, 97, 129))
    assert found == {stage: (m.channels, m.height, m.width) for stage, m in feature_maps(spec).items()}
    assert out.shape[:2] == (2, spec.classes)
