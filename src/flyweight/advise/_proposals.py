"""Edits that a network's spec allows where its time is, with the reason in figures. What each buys is predicted later.

One function per idea; the table at the bottom lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from flyweight.advise._time import TimeModel
from flyweight.advise._work import MOVE
from flyweight.build import stage_builder
from flyweight.contracts import Transform
from flyweight.profile import Profile
from flyweight.spec import ArchSpec, StageSpec
from flyweight.transforms._setting_edit import values_of
from flyweight.transforms.add_skips import AddSkips
from flyweight.transforms.drop_blocks import DropBlocks
from flyweight.transforms.reparameterize import Reparameterize
from flyweight.transforms.resize_input import ResizeInput
from flyweight.transforms.scale_depth import ScaleDepth, runs
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.transforms.set_decoder import SetDecoder
from flyweight.transforms.set_expansion import SetExpansion
from flyweight.transforms.set_kernel import SetKernel
from flyweight.transforms.set_squeeze_excite import SetSqueezeExcite
from flyweight.transforms.swap_activation import SwapActivation

Risk: TypeAlias = Literal["none", "images", "retrain"]
DEAR = 0.08  # share of the time below which a run of stages is not worth an edit of its own
CHEAP_ACTIVATIONS = ("relu", "relu6", "identity", "none", "crelu")
DEAR_ACTIVATIONS = ("hard_swish", "swish", "silu", "gelu", "mish", "elu", "sigmoid", "hard_sigmoid", "prelu")
SMALLEST_PX = 32


@dataclass(frozen=True)
class Proposal:
    """One edit to be judged.

    Attributes:
        edits: in order. layers: what they touch. reason: why here, in figures. words: what is done, in words.
        risk: to the accuracy: none (outputs stay equal), images (calibration needs some), retrain.
        idea: proposals of the same idea on the same layers are strengths of one another.
        wins: it costs time, and is proposed for the accuracy that it wins.
    """

    edits: tuple[Transform, ...]
    layers: tuple[str, ...]
    words: str
    reason: str
    risk: Risk
    idea: str
    wins: bool = False


@dataclass(frozen=True)
class Place:
    """A spec with the measured time of its parts."""

    spec: ArchSpec
    profile: Profile
    model: TimeModel

    @cached_property
    def stage_us(self) -> Mapping[str, float]:
        """Time of each stage, and of the head under 'head'."""
        sums: dict[str, float] = {}
        for module, us in self.model.measured.items():
            parts = module.split(".")
            name = parts[1] if parts[0] == "encoder" and len(parts) > 1 else parts[0]
            sums[name] = sums.get(name, 0.0) + us
        return sums

    @cached_property
    def stage_macs(self) -> Mapping[str, int]:
        """MACs of each stage, and of the head under 'head'."""
        sums: dict[str, int] = {}
        for row in self.profile.rows:
            parts = row.module.split(".")
            name = parts[1] if parts[0] == "encoder" and len(parts) > 1 else parts[0]
            sums[name] = sums.get(name, 0) + (row.macs or 0)
        return sums

    def share(self, names: tuple[str, ...]) -> float:
        """Return the share of the time that stages take."""
        return sum(self.stage_us.get(name, 0.0) for name in names) / max(self.model.total_us, 1e-9)

    def cost(self, names: tuple[str, ...]) -> str:
        """Return the time and MACs of stages in words."""
        us = sum(self.stage_us.get(name, 0.0) for name in names)
        macs = sum(self.stage_macs.get(name, 0) for name in names) / max(self.profile.macs, 1)
        return f"{us / 1e3:.3g} ms, {self.share(names):.0%} of the time, {macs:.0%} of the MACs"

    @cached_property
    def runs(self) -> tuple[tuple[str, ...], ...]:
        """The stages in order, in runs of equal blocks and stages alone, with the width edits that are possible."""
        found = {run[0]: run for run in runs(self.spec)}
        taken = {name for run in found.values() for name in run}
        return tuple(
            found.get(stage.name, (stage.name,))
            for stage in self.spec.stages
            if stage.name in found or stage.name not in taken
        )


def _span(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _decoder(place: Place) -> Iterator[Proposal]:
    """Set the decoder by the 2^n rule, or halve it."""
    head = place.spec.head
    if head.kind != "deconv_decoder" or place.share(("head",)) < DEAR:
        return
    rule = tuple(2 ** (len(head.widths) - index) for index in range(len(head.widths)))
    wanted = [
        tuple(max(least, width // part) for least, width in zip(rule, head.widths, strict=True)) for part in (2, 4)
    ]
    for widths in dict.fromkeys((rule, *reversed(wanted))):
        if sum(widths) < sum(head.widths):
            yield Proposal(
                (SetDecoder(widths),), ("head",), f"decoder {_list(head.widths)} to {_list(widths)}",
                f"the decoder takes {place.cost(('head',))}", "retrain", "decoder",
            )  # fmt: skip


def _resolution(place: Place) -> Iterator[Proposal]:
    """Shrink the input."""
    size = place.spec.input
    for share in (0.75, 0.5):
        height, width = (max(SMALLEST_PX, round(side * share / 16) * 16) for side in (size.height, size.width))
        if height < size.height and width < size.width:
            yield Proposal(
                (ResizeInput(height, width),), ("input",), f"input {size.height}x{size.width} to {height}x{width}",
                f"time follows pixels, of which {height * width / (size.height * size.width):.0%} stay",
                "retrain", "resolution",
            )  # fmt: skip


def _width(place: Place) -> Iterator[Proposal]:
    """Narrow a dear run of stages."""
    for run in place.runs:
        if place.share(run) >= DEAR:
            for factor in (0.5, 0.75):
                yield Proposal(
                    (ScaleWidth(run, factor),), run, f"{_span(run)}: {factor:g} times the channels",
                    f"{_span(run)} takes {place.cost(run)}", "retrain", "width",
                )  # fmt: skip
    for factor in (0.75, 0.5):
        yield Proposal(
            (ScaleWidth((), factor),), ("all stages",), f"all stages: {factor:g} times the channels",
            f"a pointwise layer's time falls with the square of the width; all stages take "
            f"{place.cost(tuple(stage.name for stage in place.spec.stages))}", "retrain", "width of all",
        )  # fmt: skip


def _depth(place: Place) -> Iterator[Proposal]:
    """Shorten a run, or cut the last one."""
    for run in runs(place.spec):
        if len(run) > 1 and place.share(run) >= DEAR / 2:
            reason = f"{len(run)} equal blocks in a row: {_span(run)} takes {place.cost(run)}"
            for left in dict.fromkeys((len(run) - 1, -(-len(run) // 2))):
                gone = run[left:]
                yield Proposal(
                    (ScaleDepth(left / len(run), (run[0],)),), gone, f"{_span(run)}: {left} of {len(run)} blocks stay",
                    reason, "retrain", f"depth {run[0]}",
                )  # fmt: skip
    last = place.runs[-1]
    if len(place.runs) > 2:
        yield Proposal(
            (DropBlocks(last),), last, f"{_span(last)} cut", f"the last blocks: {_span(last)} takes {place.cost(last)}",
            "retrain", "last blocks",
        )  # fmt: skip


def _expansion(place: Place) -> Iterator[Proposal]:
    """Lower the expansion of inverted residuals."""
    for run in place.runs:
        ratios = [float(str(values_of(place.spec.stage(name)).get("expand", 0.0))) for name in run]
        if min(ratios) <= 1 or place.share(run) < DEAR:
            continue
        wanted = round(max(ratios) * 2 / 3, 2)
        yield Proposal(
            (SetExpansion(wanted, run),), run, f"{_span(run)}: expansion {max(ratios):g} to {wanted:g}",
            f"{_span(run)} expands its channels {max(ratios):g} times: {place.cost(run)}", "retrain", "expansion",
        )  # fmt: skip


def _kernel(place: Place) -> Iterator[Proposal]:
    """Shrink kernels above 3×3."""
    large = tuple(stage.name for stage in place.spec.stages if _kernel_of(stage) > 3 and stage.block != "max_pool")
    if large and place.share(large) >= DEAR:
        yield Proposal(
            (SetKernel(3, large),), large, f"{len(large)} stages: kernels above 3x3 to 3x3",
            f"{len(large)} stages have kernels above 3x3 ({_span(large)}): {place.cost(large)}", "retrain", "kernel",
        )  # fmt: skip


def _kernel_of(stage: StageSpec) -> int:
    value = values_of(stage).get("kernel", 0)
    return value if isinstance(value, int) else 0


def _activation(place: Place) -> Iterator[Proposal]:
    """Put ReLU where an activation needs a kernel of its own."""
    kernels = {m: us for m, us in place.model.measured.items() if m in place.model.works and us > 0}
    own = {m: us for m, us in kernels.items() if place.model.works[m].kind == MOVE}
    for name in DEAR_ACTIVATIONS:
        edit = SwapActivation(name, "relu")
        aten = {
            s: us
            for s, us in own.items()
            if any(sig[0] == name.replace("_", "") for sig in place.model.works[s].signature)
        }
        share = sum(aten.values()) / max(place.model.total_us, 1e-9)
        if share > 0.01:
            yield Proposal(
                (edit,), tuple(aten)[:1], f"{name} to relu everywhere",
                f"{len(aten)} kernels of {name} take {sum(aten.values()) / 1e3:.3g} ms, {share:.0%} of the time; ReLU "
                "runs inside the convolution before it", "retrain", f"activation {name}",
            )  # fmt: skip


def _squeeze_excite(place: Place) -> Iterator[Proposal]:
    """Leave squeeze-and-excitation out."""
    having = tuple(stage.name for stage in place.spec.stages if values_of(stage).get("se"))
    if not having:
        return
    us = sum(
        us for m, us in place.model.measured.items() if m.split(".")[1:2] and m.split(".")[1] in having and ".se" in m
    )
    share = us / max(place.model.total_us, 1e-9)
    yield Proposal(
        (SetSqueezeExcite(0.0, having),), having, f"{len(having)} stages: no squeeze-and-excitation",
        f"squeeze-and-excitation in {len(having)} stages takes {us / 1e3:.3g} ms, {share:.0%} of the time",
        "retrain", "se",
    )  # fmt: skip


def _alignment(place: Place) -> Iterator[Proposal]:
    """Round channels to the multiple that the runtime computes at once."""
    multiple = 8
    for run in place.runs:
        stages = [place.spec.stage(name) for name in run]
        off = [stage for stage in stages if stage.out_channels % multiple and stage_builder(stage).multiple(stage) <= 8]
        if off and place.share(run) >= DEAR:
            yield Proposal(
                (ScaleWidth(run, 1.0, multiple),), run, f"{_span(run)}: channels to a multiple of {multiple}",
                f"{off[0].name} has {off[0].out_channels} channels, no multiple of {multiple}; {_span(run)} takes "
                f"{place.cost(run)}", "retrain", "alignment",
            )  # fmt: skip


def _branches(place: Place) -> Iterator[Proposal]:
    """Merge parallel branches."""
    having = tuple(stage.name for stage in place.spec.stages if values_of(stage).get("deploy") is False)
    if having:
        yield Proposal(
            (Reparameterize(),), having, f"{len(having)} stages: parallel branches merged",
            f"{len(having)} stages are trained as sums of branches that one convolution computes: {place.cost(having)}",
            "none", "reparameterize",
        )  # fmt: skip


def _skips(place: Place) -> Iterator[Proposal]:
    """Join encoder maps to the decoder."""
    head = place.spec.head
    if head.kind != "deconv_decoder" or head.skips:
        return
    for scales in (3, 2, 1):
        if scales <= len(head.widths):
            yield Proposal(
                (AddSkips("concat", scales),), ("head",), f"skips at {scales} scale{'s' * (scales > 1)}, concatenated",
                "the decoder sees only the last map, so that edges are lost", "retrain", "skips", wins=True,
            )  # fmt: skip


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


IDEAS: tuple[Callable[[Place], Iterator[Proposal]], ...] = (
    _decoder, _resolution, _width, _depth, _expansion, _kernel, _activation, _squeeze_excite, _alignment, _branches,
    _skips,
)  # fmt: skip


def proposals(place: Place) -> Iterator[Proposal]:
    """Yield every proposal; not all of them can be built, and not all of them pay."""
    for idea in IDEAS:
        yield from idea(place)
