"""A tiny plan on a tiny data set, for tests of the flow; run as a script it slims, so that it can be killed."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image

from flyweight import ladder
from flyweight.contracts import Progress, Silent
from flyweight.flow import slim
from flyweight.ladder import Plan, PlannedRung
from flyweight.report.value import Report
from flyweight.spec import HeadSpec, InputSpec
from flyweight.transforms.add_skips import AddSkips
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.transforms.quantize_int8 import QuantizeInt8
from flyweight.transforms.resize_input import ResizeInput
from flyweight.zoo import ZOO
from flyweight.zoo._entry import ZooEntry

STEPS = 45  # past the first checkpoint, which comes after 40


def register() -> None:
    """Add the plan ``tiny`` and its architecture."""
    deconv = ZOO.get("mobilenet_v1_deconv").spec
    spec = deconv.replace(
        name="tiny_deconv",
        input=InputSpec(64, 64),
        stages=tuple(stage.replace(out_channels=8) for stage in deconv.stages[:5]),
        head=HeadSpec("deconv_decoder", (16, 8)),
    )
    cast("dict[str, ZooEntry]", ZOO.members)["tiny_deconv"] = ZooEntry(spec, source="made for tests")
    rungs = (
        PlannedRung("v0", "tiny", "start"),
        PlannedRung("control", "skips", "with skips", parent="v0", edits=(AddSkips("add", 2),), control=True),
        PlannedRung("v1", "input 32x32", "input 64 to 32", parent="v0", edits=(ResizeInput(32, 32),)),
        PlannedRung("v2", "folded", "batch norm folded", parent="v1", edits=(FoldBatchNorm(),), trained=False),
        PlannedRung("v3", "int8", "int8", parent="v2", edits=(QuantizeInt8(),), trained=False),
    )
    plan = Plan("tiny", "tiny_deconv", rungs, short=("v1",))
    ladder.PLANS["tiny"] = plan


def paint(folder: Path, count: int = 30, size: int = 64) -> Path:
    """Write images of bright discs on dark ground with their masks; return the folder."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:size, :size]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / "classes.json").write_text('[{"name": "ground", "index": 0}, {"name": "disc", "index": 1}]')
    for index in range(count):
        y, x, radius = rng.integers(16, 48), rng.integers(16, 48), rng.integers(8, 16)
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image = rng.integers(0, 90, (size, size, 3), dtype=np.uint8)
        image[disc] += 120
        Image.fromarray(image).save(folder / "images" / f"{index:03}.png")
        Image.fromarray(disc.astype(np.uint8)).save(folder / "masks" / f"{index:03}.png")
    return folder


def run(
    data: Path,
    out: Path,
    rungs: tuple[str, ...] | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Report:
    """Slim in ONNX Runtime at one thread."""
    return slim(
        str(data),
        out,
        plan="tiny",
        steps=steps,
        rungs=rungs,
        threads=(1,),
        runtimes=("onnxruntime",),
        progress=progress,
    )


class Steps(Silent):
    """Writes a line when a step is begun."""

    def start(self, what: str, total: int) -> None:
        print(what, flush=True)


def facts(report: Report) -> Mapping[str, object]:
    """Return what must be the same however often a run was killed: everything but times."""
    return {
        rung.name: [
            (rung.macs, rung.params, rung.final_loss, dict(rung.pytorch_metrics)),
            *((a.sha256, a.bytes, dict(a.metrics), a.agreement) for a in rung.artifacts.values()),
        ]
        for rung in report.rungs
    }


register()

if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    run(Path(sys.argv[1]), Path(sys.argv[2]), progress=Steps())
