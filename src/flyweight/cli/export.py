"""``flyweight export``: a network as the files that a phone's runtime loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from flyweight.cli._command import command, model_options, names
from flyweight.cli._progress import shown
from flyweight.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flyweight.contracts import Artifact, Candidate, Int8Method, Progress

# what people call the format -> the runtime that writes it
_ALIASES = {"onnx": "onnxruntime", "ort": "onnxruntime", "tflite": "litert"}
PRECISIONS = ("fp32", "fp16", "int8")
METHODS = ("best", "mse", "minmax", "percentile", "entropy")  # of int8


@command(
    "export",
    "flyweight export runs/ladder:v3.1 --to onnx,ncnn --out app/models",
    "flyweight export runs/ladder:v3.1 --precision fp32,int8 --data blue_marble",
)
@click.argument("model")
@model_options
@click.option("--to", "runtimes", callback=names, metavar="NAMES", default="onnx,ncnn", help="Runtimes to export for.")
@click.option(
    "--precision",
    "precisions",
    callback=names,
    metavar="NAMES",
    show_default="as MODEL is",
    help="fp32, fp16, int8: one or more.",
)
@click.option("--data", help="Images that int8 takes its ranges from: a sample's name or a folder.")
@click.option("--method", default="best", metavar="NAME", help=f"Of int8: {', '.join(METHODS)}.")
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="int8: keep as few layers in float as agreement allows to fall.",
)
@click.option("--sensitivity", is_flag=True, help="int8: print what each layer alone costs.")
@click.option("--nms", is_flag=True, help="Detection: also a file with decoding and suppression inside.")
@click.option("--out", type=click.Path(path_type=Path), default="exported", help="Folder for the files.")
def export(
    model: str,
    resolution: int | None,
    classes: int | None,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...] | None,
    data: str | None,
    method: str,
    max_drop: float | None,
    sensitivity: bool,
    nms: bool,
    out: Path,
) -> None:
    """Write MODEL as files that a mobile runtime loads.

    MODEL is a name of the zoo (see: flyweight list), a spec (.json), saved
    weights (.safetensors), a rung of a run (runs/ladder:v2.2.2), or a function
    that returns a torch module (file.py:function; the file is executed).

    The files lie in OUT/PRECISION/RUNTIME, each wholly or not at all, with
    artifact.json beside them: preprocessing, size, checksum. Sizes are in kB
    (1000 bytes).

    Agreement is the share of DATA's validation images (or their pixels) to
    which int8 gives float's class, in percent; ONNX Runtime measures it.
    """
    from flyweight import flow
    from flyweight.detection import export_boxes
    from flyweight.quantize import telling

    wanted_runtimes = tuple(dict.fromkeys(_ALIASES.get(name, name) for name in runtimes))
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    wanted = precisions or (candidate.precision,)
    _check(model, candidate, wanted, data)
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if nms and (candidate.spec is None or candidate.spec.task != "detect" or "onnxruntime" not in wanted_runtimes):
        raise UsageError("--nms is for detection networks exported to onnx: flyweight list --task detect names some.")
    fresh = "int8" in wanted and not candidate.quantization
    if (max_drop is not None or sensitivity) and not fresh:
        raise UsageError("--max-drop and --sensitivity are for --precision int8 of a float network.")
    if max_drop is not None and (alone := {"litert", "mnn", "executorch", "coreml"} & set(wanted_runtimes)):
        raise UsageError(f"--max-drop is for onnx, openvino and ncnn, not {', '.join(sorted(alone))}. Leave one out.")
    made = []
    with shown() as progress, telling(_Layers(progress)):
        for precision in wanted:
            one = candidate
            if precision == "int8" and fresh:
                one = _calibrated(candidate, str(data), cast("Int8Method", method), max_drop, sensitivity, progress)
            made += flow.export(one, out / precision, wanted_runtimes, precision=precision)
    boxes = [export_boxes(candidate, a) for a in made if a.runtime == "onnxruntime"] if nms else []
    _print(made, boxes)


def _calibrated(
    candidate: Candidate, data: str, method: Int8Method, max_drop: float | None, sensitivity: bool, progress: Progress
) -> Candidate:
    """Return the candidate ready for int8; print what was asked for of its layers."""
    from flyweight import int8
    from flyweight.cli._tables import print_table, say

    candidate = int8.calibrated(candidate, data, method)
    if sensitivity:
        found = int8.sensitivities(candidate)
        print_table(
            ["layer alone in int8", "error of the outputs, %"], [[k, f"{100 * v:.2f}"] for k, v in found.items()]
        )
    if max_drop is None:
        return candidate
    candidate, kept = int8.with_layers_in_float(candidate, data, max_drop)
    progress.say(f"int8: agrees with float on {kept.agreement:.2f} % of validation; layers in float: {kept.layers}")
    for path in kept.modules:
        say(f"stays float: {path}")
    return candidate


class _Layers:
    """Shows how far each step of quantizing has got."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __call__(self, what: str, done: int, total: int) -> None:
        """Open, advance or close a step."""
        if done == 0:
            self._progress.start(f"int8: {what}", total)
        else:
            self._progress.advance()
        if done == total:
            self._progress.finish()


def _check(model: str, candidate: Candidate, precisions: Sequence[str], data: str | None) -> None:
    """Refuse before anything is written what can't be written."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
    if candidate.quantization and set(precisions) - {"int8"}:
        raise UsageError(f"'{model}' is quantized to int8 already. For float, export the rung that it comes from.")
    if "int8" in precisions and not candidate.quantization and data is None:
        raise UsageError("--precision int8 needs images for its ranges. Add --data, e.g. --data blue_marble.")


def _print(artifacts: Sequence[Artifact], boxes: Sequence[Path]) -> None:
    from flyweight.cli._tables import print_table, say

    rows = [
        [f"{a.runtime} {a.runtime_version}", a.precision, str(f), f"{f.stat().st_size / 1000:,.1f}"]
        for a in artifacts
        for f in a.files
    ]
    print_table(["runtime", "precision", "file", "kB"], rows, left=3)
    for line in dict.fromkeys(f"note: {a.runtime} {a.precision}: {note}" for a in artifacts for note in a.notes):
        say(line)
    for path in boxes:
        say(f"with suppression inside, giving boxes, scores and classes: {path}")


MEMBERS = {"export": export}
