"""SqueezeNet 1.0 and 1.1: AlexNet's accuracy with a fiftieth of its weights.

Source: Iandola et al. 2016 (arXiv 1602.07360), table 1; forresti/SqueezeNet prototxt of 1.0 and 1.1: no norm anywhere,
every convolution with a bias, a stem without padding, pooling whose sizes are rounded up. Pooling comes earlier in 1.1.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 1602.07360; forresti/SqueezeNet; figures: torchvision squeezenet1_0 and squeezenet1_1"
_FIRE_WIDTHS = {2: 128, 3: 128, 4: 256, 5: 256, 6: 384, 7: 384, 8: 512, 9: 512}  # both kinds of filters together
# version: stem's width and kernel, the fires behind which it pools, parameters, MACs, top-1
_VERSIONS = {
    "1.0": (96, 7, (4, 8), 1_248_424, 818_924_576, 58.092),
    "1.1": (64, 3, (3, 5), 1_235_496, 349_151_936, 58.178),
}
_NOTES = {
    "1.0": "the first Caffe definition pads the classifier's 1x1 convolution by a pixel, which torchvision's doesn't; "
    "that gives the README's 1.72 GFLOPS (860 million MACs) at 227x227",
    "1.1": "the README's 0.72 GFLOPS (360 million MACs) can't be reproduced: 388 million MACs at 227x227",
}


def squeezenet(version: str) -> ArchSpec:
    """Return version '1.0' or '1.1'."""
    width, kernel, pooled, *_ = _VERSIONS[version]
    stem = settings(activation="relu", kernel=kernel, norm=False, padding=0)
    stages = [StageSpec("conv1", "conv", width, 2, stem), _pool("pool1", width)]
    for number, channels in _FIRE_WIDTHS.items():
        stages.append(StageSpec(f"fire{number}", "fire", channels, settings=settings(activation="relu")))
        if number in pooled:
            stages.append(_pool(f"pool{number}", channels))
    return ArchSpec(
        name=f"squeezenet_{version}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("conv_classifier", settings=settings(activation="relu", dropout=0.5)),
    )


def _pool(name: str, channels: int) -> StageSpec:
    return StageSpec(name, "max_pool", channels, 2, settings(kernel=3, padding=0, ceil=True))


MEMBERS = {
    f"squeezenet_{version}": ZooEntry(
        spec=squeezenet(version),
        source=_SOURCE,
        params=params,
        macs=macs,
        top1=top1,
        params_basis="torchvision's model meta; the classifier's bias included",
        note=_NOTES[version],
    )
    for version, (*_, params, macs, top1) in _VERSIONS.items()
}
