"""``flyweight pack``: a network as one coded file."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, model_options


@command(
    "pack",
    "flyweight pack lite0.safetensors -o lite0.fly",
    "flyweight pack lite0.safetensors --max-bytes 2.5M --data photos",
    "flyweight pack runs/ladder:v3.1 --max-drop 0.5 --data blue_marble",
    "flyweight pack tuned.safetensors --base lite0.fly -o update.fly",
)
@click.argument("model")
@model_options
@click.option("-o", "--out", type=click.Path(path_type=Path), show_default="MODEL.fly", help="File to write.")
@click.option(
    "--snr-db",
    type=click.FloatRange(0, 60),
    show_default="20",
    help="Outputs over their error, dB (expected without --data).",
)
@click.option("--max-bytes", metavar="N", help="The best file of at most so many bytes: 2500000, 2500k or 2.5M.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    metavar="X",
    help="The smallest file that loses at most X points on --data's validation images.",
)
@click.option(
    "--data",
    show_default="made-up images",
    help="Images that the rounding is chosen by: a data set's name or a folder.",
)
@click.option("--images", type=click.IntRange(1, 4096), default=128, help="How many of its training images.")
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Write an update of this file; again for its updates so far.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def pack(
    model: str,
    resolution: int | None,
    classes: int | None,
    out: Path | None,
    snr_db: float | None,
    max_bytes: str | None,
    max_drop: float | None,
    data: str | None,
    images: int,
    base: tuple[Path, ...],
    quiet: bool,
) -> None:
    """Write MODEL as one small file that gives the network back.

    Weights are rounded by what they do to the outputs, each making good for the
    errors of others, and coded; architecture, preprocessing and class names
    are inside. Without --data made-up images show what the weights do.

    At most one of --snr-db, --max-bytes and --max-drop. The file is a MODEL for
    all other commands, and flyweight unpack turns it into others. With --base
    it holds only what changed since a file that the device has. MODEL is as
    for export, but must have a spec. Sizes are in kB (1000 bytes).
    """
    from flyweight import files, flow
    from flyweight.cli import _pack
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import say

    limit = _pack.checked(snr_db, max_bytes, max_drop, data)
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    with shown(quiet) as progress:
        packed = _pack.packed(candidate, limit, data, images, progress, base)
    path = out or Path(f"{candidate.spec.name if candidate.spec else 'model'}.fly")
    files.write_bytes(path, packed.data)
    for line in _pack.lines(packed, path, data):
        say(line)


MEMBERS = {"pack": pack}
