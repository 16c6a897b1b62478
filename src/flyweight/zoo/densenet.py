"""DenseNet.

Source: Huang et al. 2016 (arXiv 1608.06993), table 1, as torchvision has it: growth 32, bottlenecks of four times the
growth, transitions to half the channels, and a last norm whose ReLU the paper leaves to the classifier.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_GROWTH = 32
_LAYERS = (6, 12, 24, 16)


def densenet_121() -> ArchSpec:
    """Return DenseNet-121: four runs of dense layers, with a transition between two of them."""
    stages = [
        StageSpec("conv1", "conv", 64, 2, settings(kernel=7, activation="relu")),
        StageSpec("pool1", "max_pool", 64, 2, settings(kernel=3)),
    ]
    channels = 64
    for run, layers in enumerate(_LAYERS, start=2):
        stages += [StageSpec(f"conv{run}_{index}", "dense_layer", _GROWTH) for index in range(1, layers + 1)]
        channels += layers * _GROWTH
        if run < len(_LAYERS) + 1:
            channels //= 2
            stages.append(StageSpec(f"transition{run}", "dense_transition", channels, 2))
    return ArchSpec(
        name="densenet_121",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=(*stages, StageSpec("last", "norm_act", channels)),
        head=HeadSpec("pool_classifier"),
    )


MEMBERS = {
    "densenet_121": ZooEntry(
        densenet_121(),
        "arXiv 1608.06993; torchvision models/densenet.py",
        params=7_978_856,
        macs=2_834_161_664,
        top1=74.434,
        top1_source="torchvision 0.28.0, IMAGENET1K_V1",
    )
}
