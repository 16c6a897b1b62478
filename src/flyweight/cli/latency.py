"""``flyweight latency``: what a network would take, estimated from its kernels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flyweight.cli._command import command, model_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flyweight.contracts import Artifact
    from flyweight.latency import Estimate


@command(
    "latency",
    "flyweight latency mobilenet_v2_1.0 ghostnet_1.0",
    "flyweight latency runs/ladder:v3.1 --measure",
    "flyweight latency app/models/onnxruntime/model.onnx",
    "flyweight latency squeezenet_1.1 --calibrate",
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@model_options
@click.option("--threads", type=click.IntRange(1, 256), default=1, help="Threads of the runtime.")
@click.option("--calibrate", "anew", is_flag=True, help="First measure every kernel and calibration network anew.")
@click.option("--measure", "measured", is_flag=True, help="Measure the whole networks too, and print both.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def latency(
    models: tuple[str, ...],
    resolution: int | None,
    classes: int | None,
    threads: int,
    anew: bool,
    measured: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Estimate what each MODEL takes, from its kernels.

    The time is that of ONNX Runtime on this machine.

    MODEL is a name of the zoo, a spec, saved weights, an ONNX file (.onnx), or
    a rung of a run, as for: flyweight profile.

    The runtime's kernels are timed one by one, each once per machine, and
    summed; a few whole networks, measured before the first estimate (about a
    minute), say what such sums leave out. Beside it stands what the number of
    MACs alone would say. Estimated, not measured: --measure shows both.
    """
    import json
    import tempfile

    from flyweight.calibration import calibrate, estimate_file, whole_us
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import say

    opened = [_opened(model, resolution, classes, measured) for model in models]
    found: list[tuple[Estimate, float | None]] = []
    with shown(quiet) as progress:
        calibration = calibrate(threads, anew=anew, progress=progress)
        progress.start("estimate", len(opened))
        for model, exported in zip(models, opened, strict=True):
            with tempfile.TemporaryDirectory() as scratch:
                artifact, macs = exported(Path(scratch))
                made = estimate_file(artifact, macs, calibration, threads)
                found.append((made, whole_us(artifact, threads)[0] / 1e3 if measured else None))
            progress.advance(1, model)
        progress.finish()
    if as_json:
        pairs = zip(models, found, strict=True)
        rows = [{"model": model, "estimated": made.to_json(), "measured_ms": ms} for model, (made, ms) in pairs]
        say(
            json.dumps(
                {"threads": threads, "calibration_on_busy_machine": calibration.doubtful, "models": rows}, indent=1
            )
        )
        return
    _print(models, found)
    say(f"estimated: kernels timed one by one, calibrated by {len(calibration.samples)} networks measured here")
    if calibration.doubtful:
        say(f"{len(calibration.doubtful)} of them were measured while the machine was busy: --calibrate when it is not")


def _opened(
    model: str, resolution: int | None, classes: int | None, measured: bool
) -> Callable[[Path], tuple[Artifact, int]]:
    """Return what makes a model's file in a folder, and its MACs; an ONNX file is there already."""
    from flyweight import flow
    from flyweight.calibration import macs_of
    from flyweight.cli import _onnx

    if _onnx.is_file(model):
        found = _onnx.artifact_of(model, resolution, classes, run=measured)
        return lambda folder: found
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    return lambda folder: (flow.export(candidate, folder)[0], macs_of(candidate))


def _print(models: Sequence[str], found: Sequence[tuple[Estimate, float | None]]) -> None:
    from flyweight.cli._tables import print_table

    header = ["model", "estimated\nms", "90 %\ninterval", "by MACs\nalone", "90 %\ninterval", "kernels", "timed\nnow"]
    rows = []
    for model, (made, ms) in zip(models, found, strict=True):
        rows.append([
            model, f"{made.ms:.2f}", f"{made.low_ms:.2f}\N{EN DASH}{made.high_ms:.2f}", f"{made.macs_ms:.2f}",
            f"{made.macs_low_ms:.2f}\N{EN DASH}{made.macs_high_ms:.2f}", str(made.footprint.kernels),
            str(made.measured), *([f"{ms:.2f}"] if ms is not None else []),
        ])  # fmt: skip
    measured = any(ms is not None for _, ms in found)
    print_table([*header, *(["measured\nms"] if measured else [])], rows)


MEMBERS = {"latency": latency}
