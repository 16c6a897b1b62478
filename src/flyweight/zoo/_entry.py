"""What a zoo file offers under each name."""

from __future__ import annotations

from dataclasses import dataclass

from flyweight.spec import ArchSpec


@dataclass(frozen=True)
class ZooEntry:
    """An architecture and what was published of it.

    Attributes:
        params: trainable parameters (weights, biases, norm scale and shift); None: not published.
        params_basis: what the integer rests on, where several exist (e.g. "without auxiliary heads").
        macs: multiply-accumulates of convolutions and fully connected layers at the spec's input, batch 1.
        top1: published ImageNet top-1 accuracy in percent, of ``top1_source``; '' is ``source``.
        source: where definition and figures come from.
        note: what a user should know, e.g. where published figures disagree with the definition.
    """

    spec: ArchSpec
    source: str
    params: int | None = None
    macs: int | None = None
    top1: float | None = None
    params_basis: str = ""
    top1_source: str = ""
    note: str = ""
