"""Head of Tiny-YOLOv3: three anchors per cell of a coarse and of a fine map.

Source: Redmon and Farhadi 2018, YOLOv3 (arXiv 1804.02767), sections 2.1 to 2.3; AlexeyAB/darknet cfg/yolov3-tiny.cfg.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from flyweight.blocks._boxes import enlarged, finer_first, rows
from flyweight.blocks._layers import FeatureMap, HeadBuilder, conv_norm
from flyweight.blocks._maps import chosen_map
from flyweight.boxes import EXTRA_COLUMNS, BoxCode
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, Value

MAPS = 2
_OBJECTNESS = 4  # its column
_PRIOR = (
    0.01  # of an anchor to hold an object, before training: few do (Lin et al. 2017, arXiv 1708.02002, section 4.1)
)


class Predictor(nn.Conv2d):
    """1×1 convolution with a bias to ``anchors · (5 + classes)`` channels."""

    def __init__(self, channels: int, anchors: int, classes: int) -> None:
        super().__init__(channels, anchors * (EXTRA_COLUMNS + classes), 1)
        self.columns = EXTRA_COLUMNS + classes

    def initialize_weights(self) -> None:
        """Begin with small weights, and with the objectness of an anchor that seldom holds an object."""
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None  # made with one
        with torch.no_grad():
            self.bias[_OBJECTNESS :: self.columns] = math.log(_PRIOR / (1 - _PRIOR))


class TinyYolo(nn.Module):
    """Two predictions: from the coarse map by a 3×3; and from the fine map with the coarse one, narrowed and enlarged.

    ``widths``: of the coarse 3×3, of the 1×1 before enlarging, of the fine 3×3. Settings ``coarse`` and ``fine`` name
    the stages ('' is the last one).
    """

    def __init__(self, head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> None:
        super().__init__()
        self.fine_name, self.coarse_name = _sources(head, maps, spec)
        self.size, coarse = maps[self.fine_name], maps[self.coarse_name]
        where, act, count = "head 'tiny_yolo'", head.setting("activation", "leaky_relu"), len(_anchors(head)) // MAPS
        wide, narrow, joint = _widths(head)
        self.coarse = conv_norm(coarse, wide, spec, where=where, act=act)
        self.coarse_out = Predictor(wide, count, spec.classes)
        self.lateral = conv_norm(coarse, narrow, spec, where=where, kernel=1, act=act)
        both = FeatureMap(narrow + self.size.channels, self.size.height, self.size.width)
        self.fine = conv_norm(both, joint, spec, where=where, act=act)
        self.fine_out = Predictor(joint, count, spec.classes)

    def forward(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Return the raw outputs ``(n, anchors, 5 + classes)``, those of the fine map first."""
        coarse = maps[self.coarse_name]
        both = torch.cat((enlarged(self.lateral(coarse), self.size), maps[self.fine_name]), dim=1)
        fine_out, coarse_out = self.fine_out(self.fine(both)), self.coarse_out(self.coarse(coarse))
        columns = self.fine_out.columns
        return torch.cat((rows(fine_out, columns), rows(coarse_out, columns)), dim=1)


def code(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> BoxCode:
    """Return what the outputs mean: the first half of ``anchors`` is the fine map's, the second the coarse one's.

    Anchors are in pixels of the network's input, whatever its size; the cells of a map share the input evenly.
    """
    pairs = np.array(_anchors(head), np.float32).reshape(MAPS, -1, 2)
    origins, steps, sizes = [], [], []
    for name, anchors in zip(_sources(head, maps, spec), pairs, strict=True):
        high, wide = maps[name].height, maps[name].width
        y, x = np.mgrid[:high, :wide].reshape(2, -1)
        step = np.array([spec.input.width / wide, spec.input.height / high])
        origins.append(np.repeat(np.stack([x, y], axis=1) * step, len(anchors), axis=0))
        steps.append(np.tile(step, (high * wide * len(anchors), 1)))
        sizes.append(np.tile(anchors, (high * wide, 1)))
    return BoxCode(
        "yolo",
        np.concatenate(origins).astype(np.float32),
        np.concatenate(steps).astype(np.float32),
        np.concatenate(sizes).astype(np.float32),
        gain=1.0,
        height=spec.input.height,
        width=spec.input.width,
        classes=spec.classes,
    )


def _sources(head: HeadSpec, maps: Mapping[str, FeatureMap], spec: ArchSpec) -> tuple[str, str]:
    """Return the fine and the coarse stage."""
    fine, coarse = (chosen_map(head.setting(name, ""), name, maps, spec) for name in ("fine", "coarse"))
    finer_first((maps[fine], maps[coarse]), head)
    return fine, coarse


def _widths(head: HeadSpec) -> tuple[int, int, int]:
    if len(head.widths) != 3:
        raise SpecError(
            f"head 'tiny_yolo': {len(head.widths)} widths; it needs 3: of the coarse map's 3x3, of the 1x1 before "
            "enlarging, of the fine map's 3x3, e.g. 512, 128, 256."
        )
    wide, narrow, joint = head.widths
    return wide, narrow, joint


def _anchors(head: HeadSpec) -> tuple[tuple[float, float], ...]:
    """Return width and height of every anchor."""
    given: tuple[Value, ...] = head.setting("anchors", _ANCHORS)
    pairs = [pair for pair in given if isinstance(pair, tuple) and len(pair) == 2]
    sizes = [(float(w), float(h)) for w, h in pairs if isinstance(w, int | float) and isinstance(h, int | float)]
    if not sizes or len(sizes) < len(given) or len(sizes) % MAPS or min(map(min, sizes)) <= 0:
        raise SpecError(
            f"head 'tiny_yolo': anchors is {given!r}; it needs pairs of width and height in pixels, above 0, as many "
            "for the fine map as for the coarse one, e.g. [[10, 14], [81, 82]]."
        )
    return tuple(sizes)


_ANCHORS: tuple[Value, ...] = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))  # of COCO, at 416 pixels
_SETTINGS: Mapping[str, Value] = {"activation": "leaky_relu", "anchors": _ANCHORS, "coarse": "", "fine": ""}

MEMBERS = {"tiny_yolo": HeadBuilder(TinyYolo, _SETTINGS, boxes=code)}
