"""``flyweight fixed-point``: a quantized network in integers alone, beside ONNX Runtime, and its constants as files."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, names
from flyweight.errors import UsageError, unknown_name

MODES = ("onnxruntime", "shift", "gemmlowp")
MAX_IMAGES = 10_000


@command(
    "fixed-point",
    "flyweight fixed-point exported/int8/onnxruntime/model.onnx --images photos",
    "flyweight fixed-point model_int8.onnx --dump constants",
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--images", type=click.Path(path_type=Path), help="Folder of PNG or JPEG images to run.")
@click.option(
    "--random",
    "count",
    type=click.IntRange(1, MAX_IMAGES),
    show_default="1 without --images",
    help="Run so many inputs of normal noise.",
)
@click.option(
    "--against", type=click.Choice(["onnxruntime", "nothing"]), default="onnxruntime", help="What to compare with."
)
@click.option(
    "--rounding", "modes", callback=names, metavar="NAMES", default=",".join(MODES), help="Rounding rules to run."
)
@click.option("--all", "every", is_flag=True, help="List every node, not only sums by operator.")
@click.option("--dump", type=click.Path(path_type=Path), help="Folder for all constants: JSON and raw arrays.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures as JSON to this file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def fixed_point(
    model: Path,
    images: Path | None,
    count: int | None,
    against: str,
    modes: tuple[str, ...],
    every: bool,
    dump: Path | None,
    json_file: Path | None,
    quiet: bool,
) -> None:
    """Run MODEL, a quantized ONNX file, in integers alone.

    MODEL is in QDQ form, as export --precision int8 writes it.

    Every tensor is compared with ONNX Runtime's, under three rounding rules:
    onnxruntime (its own: no element may differ), shift (a multiplier of 31 bits
    and one rounding shift), gemmlowp (the same, rounded twice).

    A difference is counted twice: as it is (with what came before) and alone
    (the node given ONNX Runtime's own inputs). LSB: steps of 8 bits.
    """
    from flyweight import files
    from flyweight import fixed_point as integers
    from flyweight.cli import _fixed_point
    from flyweight.cli._tables import say

    chosen = tuple(_mode(name) for name in modes)
    if against == "nothing" and not dump:
        raise UsageError("--against nothing leaves nothing to do without --dump FOLDER.")
    if images and count:
        raise UsageError("--images and --random both say what to run. Give one of them.")
    program = integers.read_program(model)
    for line in _fixed_point.about(program):
        say(line)
    if dump:
        say(f"constants: {integers.dump(program, dump)}")
    if against == "nothing":
        return
    inputs = _fixed_point.from_folder(program, images) if images else _fixed_point.noise(program, count or 1)
    found = _fixed_point.compared(program, inputs, chosen, quiet)
    if json_file:
        files.write_json(json_file, _fixed_point.as_json(program, found))
    _fixed_point.show(program, found, every)


def _mode(name: str) -> str:
    if name not in MODES:
        raise unknown_name("rounding rule", name, MODES)
    return name


MEMBERS = {"fixed-point": fixed_point}
