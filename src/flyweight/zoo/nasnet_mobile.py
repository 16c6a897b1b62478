"""NASNet-A, mobile: 4 @ 1056.

Source: Zoph et al. 2017 (arXiv 1707.07012), figures 2 to 4; tensorflow/models research/slim/nets/nasnet/nasnet.py:
padding SAME, but none in the stem convolution; batch norm with epsilon 1e-3 and decay 0.9997. 4 normal cells per group,
1056 = 6 · 176 channels behind the last one, so 44 filters in the first group, doubled by every reduction. Cadene's
pretrained-models.pytorch has a port.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_NORMAL = (
    "sep5 0 + sep3 1",
    "sep5 1 + sep3 1",
    "avg3 0 + skip 1",
    "avg3 1 + avg3 1",
    "sep3 0 + skip 0",
)
_REDUCTION = (
    "sep5 0 + sep7 1",
    "max3 0 + sep7 1",
    "avg3 0 + sep5 1",
    "avg3 2 + skip 3",
    "sep3 2 + max3 0",
)
_REDUCTION_OUTPUTS = (3, 4, 5, 6)
_NORMAL_OUTPUTS = (1, 2, 3, 4, 5, 6)
_FILTERS = 1056 // 24
_CELLS = 4


def _normal(name: str, filters: int, previous: str) -> StageSpec:
    chosen = settings(pairs=_NORMAL, concat=_NORMAL_OUTPUTS, previous=previous)
    return StageSpec(name, "nas_cell", filters * len(_NORMAL_OUTPUTS), 1, chosen)


def _reduction(name: str, filters: int, previous: str, fit_previous: bool = True) -> StageSpec:
    chosen = settings(pairs=_REDUCTION, concat=_REDUCTION_OUTPUTS, previous=previous, fit_previous=fit_previous)
    return StageSpec(name, "nas_cell", filters * len(_REDUCTION_OUTPUTS), 2, chosen)


def nasnet_mobile() -> ArchSpec:
    """Return the network at 224 pixels: a stem of a convolution and two reduction cells, three groups of cells."""
    stages = [
        StageSpec("conv0", "conv", 32, 2, settings(kernel=3, padding=0, activation="none")),
        # The first cell has one map before it: it reads that as both of its inputs, unfitted as the second.
        _reduction("stem0", _FILTERS // 4, "conv0", fit_previous=False),
        _reduction("stem1", _FILTERS // 2, "conv0"),
    ]
    for group in range(3):
        filters = _FILTERS * 2**group
        if group:
            stages.append(_reduction(f"reduction{group}", filters, stages[-2].name))
        for index in range(_CELLS):
            stages.append(_normal(f"cell{group * _CELLS + index}", filters, stages[-2].name))
    last = StageSpec("last", "norm_act", _FILTERS * 24, 1, settings(norm=False))
    return ArchSpec(
        name="nasnet_mobile",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=(*stages, last),
        head=HeadSpec("pool_classifier", settings=settings(dropout=0.5)),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.0003,
        divisor=1,
    )


MEMBERS = {
    "nasnet_mobile": ZooEntry(
        nasnet_mobile(),
        "arXiv 1707.07012; tensorflow/models research/slim/nets/nasnet; Cadene pretrained-models.pytorch",
        params=5_289_978,
        params_basis="trainable; Keras' 5,326,716 has the 36,738 moving means and variances too",
        top1=74.4,
        top1_source="keras.io applications table",
        note=(
            "The paper gives 564M MACs, and padding SAME gives 563,638,816. Cadene's port counts 568,234,858: it pads "
            "the strided convolutions by a row and a column more, and cuts their outputs off again."
        ),
    )
}
