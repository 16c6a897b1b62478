"""``flyweight draw``: a picture of a whole network."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, model_options


@command(
    "draw",
    "flyweight draw mobilenet_v2_1.0 -o mobilenet_v2.svg",
    "flyweight draw runs/ladder:v2.2.2 -o net.pdf --color time",
    "flyweight draw my_net.py:build -o net.png --color memory --depth 2 --scale 3",
    "flyweight draw googlenet -o googlenet.pdf --paper a4-landscape",
)
@click.argument("model")
@click.option(
    "-o",
    "--out",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write; its ending is the format: .svg, .pdf or .png.",
)
@model_options
@click.option(
    "--color",
    type=click.Choice(["macs", "params", "memory", "time", "none"]),
    default="macs",
    help="What colours the boxes. time is measured in ONNX Runtime, the others are counted.",
)
@click.option(
    "--fold",
    type=click.Choice(["repeats", "fused", "none"]),
    default="repeats",
    help="none: a box for every operator. fused: convolution, norm and activation in one. repeats: equal modules that "
    "follow each other once, with their number, too.",
)
@click.option(
    "--depth",
    type=click.IntRange(0, 64),
    default=0,
    show_default="all",
    help="Draw modules this many names deep as one box, e.g. 2: encoder.conv1.",
)
@click.option(
    "--width",
    "width_px",
    type=click.IntRange(200, 100_000),
    show_default="like a page",
    help="Wrap to at most this width, px, if the widest module allows it.",
)
@click.option("--paper", help="PDF: sheets of a4, a3 or letter (a4-landscape …) instead of one page of its own size.")
@click.option(
    "--scale",
    type=click.FloatRange(0.5, 16),
    show_default="2, less for a very large picture",
    help="PNG: pixels per px.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=1, help="Threads to measure at, for --color time.")
def draw(
    model: str,
    file: Path,
    resolution: int | None,
    classes: int | None,
    color: str,
    fold: str,
    depth: int,
    width_px: int | None,
    paper: str | None,
    scale: float | None,
    threads: int,
) -> None:
    """Draw the whole of MODEL: every operator, grouped by module.

    MODEL is what `flyweight profile` takes: a name of the zoo, a spec, saved
    weights, a rung of a run, or a function that returns a torch module
    (file.py:function; the file is executed).

    Shapes stand on the lines; no text is smaller than 9 px. Long networks go on
    in the next column. No other program is needed.
    """
    from flyweight import files
    from flyweight.cli import _draw
    from flyweight.cli._tables import say

    _draw.check(file, paper, scale)
    picture = _draw.picture(
        model,
        resolution=resolution,
        classes=classes,
        color=color,
        threads=threads,
        fold=fold,
        depth=depth,
        width_px=width_px,
        paper=paper or "",
    )
    data = picture.rendered(file, scale)
    files.write_bytes(file, data)
    say(_draw.line(file, picture, len(data)))


MEMBERS = {"draw": draw}
