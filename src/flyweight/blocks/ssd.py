"""Heads that detect with default boxes on several maps: SSDLite, and an SSD head over a feature pyramid.

Sources: Liu et al. 2016, SSD (arXiv 1512.02325), section 2; Sandler et al. 2018, MobileNetV2 (arXiv 1801.04381),
section 6.2: SSDLite; Lin et al. 2017, Feature Pyramid Networks (arXiv 1612.03144), section 3; Lin et al. 2017,
RetinaNet (arXiv 1708.02002), section 4: one head for all maps. Layers as in torchvision models/detection/ssdlite.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from flyweight.blocks._boxes import enlarged, finer_first, rows, sources_of
from flyweight.blocks._layers import FeatureMap, HeadBuilder, conv_norm
from flyweight.boxes import BoxCode
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, Value

BOX, BACKGROUND = 4, 1
_CENTER_GAIN, _SIZE_GAIN = 0.1, 0.2  # the 'variances' of the SSD paper's code


class _Predicted(nn.Conv2d):
    """1×1 convolution with a bias that begins with small weights, as in torchvision."""

    def initialize_weights(self) -> None:
        """Draw the weights."""
        nn.init.normal_(self.weight, std=0.03)


class SSDLite(nn.Module):
    """Six default boxes per cell of the source maps and of maps that get coarser by 2, one per width of the head.

    Such a map comes of a 1×1 to half its width, a depthwise 3×3 of stride 2, and a 1×1. Offsets and classes are
    predicted by a depthwise 3×3 and a 1×1 with a bias, separately and per map.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        self.sources = sources_of(head, maps, spec)
        self.columns = BACKGROUND + spec.classes
        features = _maps(head, maps, spec)
        count = len(_shapes(head, 0, len(features)))
        inputs = features[len(self.sources) - 1 :]
        self.extras = nn.ModuleList(
            _coarser(before, after.channels, spec, head) for before, after in itertools.pairwise(inputs)
        )
        self.boxes = nn.ModuleList(_separable(feature, count * BOX, spec, head) for feature in features)
        self.classes = nn.ModuleList(_separable(feature, count * self.columns, spec, head) for feature in features)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Return the raw outputs ``(n, anchors, 5 + classes)``."""
        features = [maps[name] for name in self.sources]
        for extra in self.extras:
            features.append(extra(features[-1]))
        boxes = [rows(predict(x), BOX) for predict, x in zip(self.boxes, features, strict=True)]
        classes = [rows(predict(x), self.columns) for predict, x in zip(self.classes, features, strict=True)]
        return torch.cat((torch.cat(boxes, dim=1), torch.cat(classes, dim=1)), dim=2)


class PyramidSSD(nn.Module):
    """A pyramid of maps of one width, from the top down, and one head for all of them.

    The source maps go through a 1×1 and get the coarser map added, enlarged by repeating pixels; a 3×3 stands behind.
    ``extras`` more maps come of a 3×3 of stride 2 each. The head: ``tower`` layers of 3×3, then a 1×1 with a bias for
    the offsets and one for the classes. The head's one width is that of all maps.
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        where, act = f"head '{head.kind}'", head.setting("activation", "relu6")
        self.sources = sources_of(head, maps, spec)
        self.columns = BACKGROUND + spec.classes
        features = _pyramid(head, maps, spec)
        count, width = len(_shapes(head, 0, len(features))), features[0].channels
        self.sizes = features[: len(self.sources)]
        self.laterals = nn.ModuleList(
            conv_norm(maps[name], width, spec, where=where, kernel=1, act="none") for name in self.sources
        )
        self.smooth = nn.ModuleList(conv_norm(size, width, spec, where=where, act=act) for size in self.sizes)
        self.extras = nn.ModuleList(
            conv_norm(feature, width, spec, where=where, stride=2, act=act)
            for feature in features[len(self.sources) - 1 : -1]
        )
        tower = [conv_norm(features[0], width, spec, where=where, act=act) for _ in range(head.setting("tower", 1))]
        self.tower = nn.Sequential(*tower)
        self.boxes = _Predicted(width, count * BOX, 1)
        self.classes = _Predicted(width, count * self.columns, 1)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Return the raw outputs ``(n, anchors, 5 + classes)``."""
        merged = [lateral(maps[name]) for lateral, name in zip(self.laterals, self.sources, strict=True)]
        for index in range(len(merged) - 2, -1, -1):
            merged[index] = merged[index] + enlarged(merged[index + 1], self.sizes[index])
        features = [smooth(x) for smooth, x in zip(self.smooth, merged, strict=True)]
        for extra in self.extras:
            features.append(extra(features[-1]))
        towers = [self.tower(x) for x in features]
        boxes = torch.cat([rows(self.boxes(x), BOX) for x in towers], dim=1)
        return torch.cat((boxes, torch.cat([rows(self.classes(x), self.columns) for x in towers], dim=1)), dim=2)


def _coarser(inputs: FeatureMap, channels: int, spec: ArchSpec, head: HeadSpec) -> nn.Sequential:
    where, act, half = f"head '{head.kind}'", head.setting("activation", "relu6"), max(channels // 2, 1)
    inner = FeatureMap(half, inputs.height, inputs.width)
    return nn.Sequential(
        conv_norm(inputs, half, spec, where=where, kernel=1, act=act),
        conv_norm(inner, half, spec, where=where, stride=2, groups=half, act=act),
        conv_norm(inner.strided(half, 2), channels, spec, where=where, kernel=1, act=act),
    )


def _separable(inputs: FeatureMap, channels: int, spec: ArchSpec, head: HeadSpec) -> nn.Sequential:
    act, wide = head.setting("activation", "relu6"), inputs.channels
    return nn.Sequential(
        conv_norm(inputs, wide, spec, where=f"head '{head.kind}'", groups=wide, act=act),
        _Predicted(wide, channels, 1),
    )


# ---- which maps, and which default boxes ------------------------------------------------------------------------


def _maps(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> list[FeatureMap]:
    """Return the maps that SSDLite predicts from: the sources, then one per width of the head."""
    features = [maps[name] for name in sources_of(head, maps, spec)]
    for width in head.widths:
        features.append(features[-1].strided(width, 2))
    finer_first(features, head)
    return features


def _pyramid(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> list[FeatureMap]:
    """Return the maps of the pyramid, the finest first.

    Raises:
        SpecError: not exactly one width, or a number of layers below 0.
    """
    if len(head.widths) != 1:
        raise SpecError(f"head '{head.kind}': widths is {head.widths}; it needs one, that of all its maps, e.g. 128.")
    for name, most in (("extras", 8), ("tower", 8)):
        if not 0 <= head.setting(name, 1) <= most:
            raise SpecError(f"head '{head.kind}': {name} is {head.setting(name, 1)}; allowed are 0 to {most}.")
    features = [maps[name].strided(head.widths[0], 1) for name in sources_of(head, maps, spec)]
    for _ in range(head.setting("extras", 2)):
        features.append(features[-1].strided(head.widths[0], 2))
    finer_first(features, head)
    return features


def _shapes(head: HeadSpec, index: int, count: int) -> list[tuple[float, float]]:
    """Return width and height of the default boxes of map ``index`` of ``count``, as shares of the input.

    Scales rise evenly from the first of ``scales`` to the second. A map has a square of its scale, one of the geometric
    mean with the next scale (1 behind the last map), and for each of ``ratios`` a box of that ratio and its reverse.

    Raises:
        SpecError: scales or ratios outside their range.
    """
    low, high = _numbers(head, "scales", (0.2, 0.95))[:2] or (0.0, 0.0)
    ratios = _numbers(head, "ratios", (2.0, 3.0))
    if not 0 < low <= high <= 1 or not all(0 < ratio <= 100 for ratio in ratios):
        raise SpecError(
            f"head '{head.kind}': scales are {low}, {high} and ratios {ratios}; allowed are scales above 0, at most 1, "
            "the smaller first, and ratios above 0, at most 100."
        )
    scales = [low + (high - low) * step / max(count - 1, 1) for step in range(count)] + [1.0]
    scale, between = scales[index], math.sqrt(scales[index] * scales[index + 1])
    roots = [math.sqrt(ratio) for ratio in ratios]
    shapes = [(scale, scale), (between, between)]
    shapes += [shape for root in roots for shape in ((scale * root, scale / root), (scale / root, scale * root))]
    return [(min(wide, 1.0), min(tall, 1.0)) for wide, tall in shapes]


def _numbers(head: HeadSpec, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    given: tuple[Value, ...] = head.setting(name, default)
    numbers = tuple(float(one) for one in given if isinstance(one, int | float) and not isinstance(one, bool))
    if len(numbers) < len(given) or (name == "scales" and len(numbers) != 2):
        raise SpecError(f"head '{head.kind}': {name} is {given!r}; it needs numbers, e.g. {list(default)}.")
    return numbers


def _code(features: Sequence[FeatureMap], head: HeadSpec, spec: ArchSpec) -> BoxCode:
    high, wide = spec.input.height, spec.input.width
    origins, sizes = [], []
    for index, feature in enumerate(features):
        shapes = np.array(_shapes(head, index, len(features))) * (wide, high)
        y, x = np.mgrid[: feature.height, : feature.width].reshape(2, -1) + 0.5
        centers = np.stack([x * wide / feature.width, y * high / feature.height], axis=1)
        origins.append(np.repeat(centers, len(shapes), axis=0))
        sizes.append(np.tile(shapes, (len(centers), 1)))
    size = np.concatenate(sizes).astype(np.float32)
    return BoxCode(
        "ssd",
        np.concatenate(origins).astype(np.float32),
        size * np.float32(_CENTER_GAIN),
        size,
        gain=_SIZE_GAIN,
        height=high,
        width=wide,
        classes=spec.classes,
    )


def _ssdlite_code(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> BoxCode:
    return _code(_maps(head, maps, spec), head, spec)


def _pyramid_code(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> BoxCode:
    return _code(_pyramid(head, maps, spec), head, spec)


_SETTINGS: Mapping[str, Value] = {"activation": "relu6", "ratios": (2.0, 3.0), "scales": (0.2, 0.95), "sources": ()}

MEMBERS = {
    "fpn_ssd": HeadBuilder(PyramidSSD, {**_SETTINGS, "extras": 2, "tower": 1}, boxes=_pyramid_code),
    "ssdlite": HeadBuilder(SSDLite, _SETTINGS, boxes=_ssdlite_code),
}
