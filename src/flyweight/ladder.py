"""Plans: which rungs a ladder has, from which parent each comes, and by which edits.

The ladder is a practitioner's: measure first, cut resolution and the last blocks, tune the decoder, then width and
depth of the run of equal blocks, win accuracy back by CReLU and skips, fold, quantize. What was found that way is
trained once more from new weights (Liu et al. 2019, arXiv 1810.05270: the architecture is worth more than the weights).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.contracts import Transform
from flyweight.errors import FileError, FlyweightError, UsageError, unknown_name
from flyweight.transforms import TRANSFORMS
from flyweight.transforms.add_skips import AddSkips
from flyweight.transforms.crelu import UseCReLU
from flyweight.transforms.drop_blocks import DropBlocks
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.transforms.quantize_int8 import QuantizeInt8
from flyweight.transforms.resize_input import ResizeInput
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.transforms.set_decoder import SetDecoder

EQUAL_BLOCKS = ("conv5_1", "conv5_2", "conv5_3", "conv5_4", "conv5_5")


@dataclass(frozen=True)
class PlannedRung:
    """One rung to be made.

    Attributes:
        parent: the rung it is made from; '' starts from the plan's architecture.
        edits: the transforms, in order. trained: whether it is trained after them.
        fresh: start from new weights instead of the parent's. control: stands beside the ladder, for comparison.
        budget_of: it is trained until it has had as many steps as that rung's whole lineage; '': one recipe's steps.
        steps: it is trained for so many instead; 0: as said above.
    """

    name: str
    title: str
    change: str
    parent: str = ""
    edits: tuple[Transform, ...] = ()
    trained: bool = True
    fresh: bool = False
    control: bool = False
    budget_of: str = ""
    steps: int = field(default=0, repr=False)  # runs know plans of before by their repr


@dataclass(frozen=True)
class Plan:
    """A named list of rungs over an architecture of the zoo; ``short`` names those of the short form."""

    name: str
    architecture: str
    rungs: tuple[PlannedRung, ...]
    short: tuple[str, ...]

    def chosen(self, names: tuple[str, ...]) -> tuple[PlannedRung, ...]:
        """Return the rungs called ``names`` and all that they are made from, in the plan's order.

        Raises:
            UsageError: the plan has no rung of that name.
        """
        known = {rung.name: rung for rung in self.rungs}
        wanted = {self.rungs[0].name}
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in known:
                raise unknown_name(f"rung of plan '{self.name}'", name, known)
            if name not in wanted:
                wanted.add(name)
                todo += [known[name].parent] if known[name].parent else []
        return tuple(rung for rung in self.rungs if rung.name in wanted)


LADDER = Plan(
    name="ladder",
    architecture="mobilenet_v1_deconv",
    rungs=(
        PlannedRung("v0", "MobileNetV1 + untuned decoder", "start: 160x160, decoder 512, 256, 128, 64"),
        PlannedRung(
            "control", "v0 with skips", "v0 at full width and 160x160 with v3.2's skips, trained as long",
            parent="v0", edits=(AddSkips("concat"),), control=True, budget_of="v3.2",
        ),
        PlannedRung("v0.1", "input 80x80", "input 160 to 80", parent="v0", edits=(ResizeInput(80, 80),)),
        PlannedRung(
            "v0.2", "last blocks cut", "conv5_6 and conv6 cut", parent="v0.1", edits=(DropBlocks(("conv5_6", "conv6")),)
        ),
        PlannedRung(
            "v1", "decoder 16, 8, 4, 2", "decoder width by the 2^n rule",
            parent="v0.2", edits=(SetDecoder((16, 8, 4, 2)),),
        ),
        PlannedRung(
            "v2.1.1", "equal blocks 256", "conv5_1 to conv5_5: 512 to 256 channels",
            parent="v1", edits=(ScaleWidth(EQUAL_BLOCKS, 0.5),),
        ),
        PlannedRung(
            "v2.1.2", "one block less", "conv5_5 dropped from v1", parent="v1", edits=(DropBlocks(("conv5_5",)),)
        ),
        PlannedRung(
            "v2.1.3", "256, one block less", "both: 256 channels, conv5_5 dropped",
            parent="v2.1.1", edits=(DropBlocks(("conv5_5",)),),
        ),
        PlannedRung(
            "v2.1.4", "CReLU", "equal blocks: 256 filters with CReLU give 512 channels again",
            parent="v2.1.3", edits=(UseCReLU(EQUAL_BLOCKS[:-1], widen=2.0),),
        ),
        PlannedRung(
            "v2.2.1", "skips, added", "three skips through 1x1 convolutions, by addition",
            parent="v2.1.4", edits=(AddSkips("add"),),
        ),
        PlannedRung(
            "v2.2.2", "skips, concatenated", "three skips through 1x1 convolutions, by concatenation",
            parent="v2.1.4", edits=(AddSkips("concat"),),
        ),
        PlannedRung(
            "v2.2.3", "trained in one go", "v2.2.2 from new weights, in one go of as many steps as its lineage",
            parent="v2.2.2", fresh=True, budget_of="v2.2.2",
        ),
        PlannedRung(
            "v3.1", "batch norm folded", "v2.2.3 with batch norm folded (exact)",
            parent="v2.2.3", edits=(FoldBatchNorm(),), trained=False,
        ),
        PlannedRung(
            "v3.2", "int8", "int8 post-training, calibrated on training tiles",
            parent="v3.1", edits=(QuantizeInt8(),), trained=False,
        ),
    ),
    short=("v0", "v0.2", "v1", "v2.2.2", "v3.2"),
)  # fmt: skip

PLANS = {LADDER.name: LADDER}


def plan_named(name: str) -> Plan:
    """Return a plan.

    Raises:
        UsageError: no plan has that name.
    """
    if name not in PLANS:
        raise unknown_name("plan", name, PLANS)
    return PLANS[name]


def steps_of(rung: PlannedRung, plan: Plan, steps: int) -> tuple[int, int]:
    """Return (training steps of this rung, steps along its whole lineage), at ``steps`` a training.

    Raises:
        UsageError: a rung's parent is not in the plan.
    """
    known = {other.name: other for other in plan.rungs}
    if rung.parent and rung.parent not in known:
        raise UsageError(f"rung '{rung.name}' comes from '{rung.parent}', which plan '{plan.name}' does not have.")
    inherited = steps_of(known[rung.parent], plan, steps)[1] if rung.parent and not rung.fresh else 0
    if rung.budget_of:
        own = steps_of(known[rung.budget_of], plan, steps)[1] - inherited
    else:
        own = (rung.steps or steps) if rung.trained else 0
    return own, inherited + own


# ---- plans that grow while they are walked ----------------------------------------------------------------------

AUTO = "auto"  # the first word of their names
PLAN_FILE = "plan.json"


def write_plan(plan: Plan, folder: Path) -> None:
    """Write a plan into the folder of its run."""
    rungs = [{**_plain(rung), "edits": [[edit.name, _plain(edit)] for edit in rung.edits]} for rung in plan.rungs]
    files.write_json(folder / PLAN_FILE, {"name": plan.name, "architecture": plan.architecture, "rungs": rungs})


def plan_of(name: str, folder: Path) -> Plan:
    """Return the plan of a run by its name; one that grew with its run from the file there.

    Raises:
        UsageError: no plan has that name.
        FileError: the file is missing or damaged.
    """
    if name.partition(" ")[0] != AUTO:
        return plan_named(name)
    path = folder / PLAN_FILE
    data = files.read_json(path)
    try:
        return Plan(str(data["name"]), str(data["architecture"]), tuple(map(_rung, data["rungs"])), short=())
    except (KeyError, TypeError, ValueError, AttributeError, FlyweightError) as error:
        raise FileError(f"{path}: not a plan ({error}). Run the same slim command again.") from error


def _plain(value: Any) -> dict[str, Any]:
    return {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}


def _rung(data: Mapping[str, Any]) -> PlannedRung:
    edits = tuple(TRANSFORMS.get(name)(**{k: _frozen(v) for k, v in values.items()}) for name, values in data["edits"])
    return PlannedRung(**{**data, "edits": edits})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
