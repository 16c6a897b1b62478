"""``flyweight compress``: Deep Compression as one chain."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, model_options

SCOPES = ("layer", "global", "deviation", "lamp")  # flyweight.sparse's and flyweight.share's; a test compares
STARTS = ("linear", "density", "random")


@command(
    "compress",
    "flyweight compress v2.safetensors --data blue_marble --max-drop 0.5",
    "flyweight compress lenet.safetensors --data mnist --densities 0.3,0.08",
    "flyweight compress v2.safetensors --data photos --max-bytes 40k --dry-run",
)
@click.argument("model")
@click.option("--data", required=True, help="Training data: a data set's name or a folder.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="runs/compress",
    help="Folder; a run that lies there goes on.",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    metavar="X",
    default=0.5,
    help="Points that may be lost on the validation images.",
)
@click.option(
    "--densities",
    metavar="SHARES",
    default="0.5,0.3,0.2,0.12,0.08,0.05",
    help="Shares of the weights that are left, round after round.",
)
@click.option(
    "--scope", type=click.Choice(SCOPES), default="lamp", help="How weights of different layers are compared."
)
@click.option("--conv-bits", type=click.IntRange(1, 8), default=8, help="Bits of a convolution's shared weight.")
@click.option("--fc-bits", type=click.IntRange(1, 8), default=5, help="Bits of a fully connected layer's.")
@click.option("--start", type=click.Choice(STARTS), default="linear", help="Where the centroids begin.")
@click.option("--max-bytes", metavar="N", help="Bits chosen layer by layer for a file of at most N: 40k, 2.5M.")
@click.option("--steps", type=click.IntRange(1, 10_000_000), default=400, help="Training steps of every round.")
@click.option("--share-steps", type=click.IntRange(1, 10_000_000), default=100, help="Training steps of the centroids.")
@click.option("--batch", type=click.IntRange(2, 4096), default=32, help="Images a step.")
@click.option("--learning-rate", type=click.FloatRange(1e-7, 10), default=1e-3, help="Of the rounds; a tenth later.")
@click.option(
    "--flips", type=click.Choice(["both", "horizontal", "none"]), default="horizontal", help="Random mirroring."
)
@model_options
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Seed of batches and centroids.")
@click.option("--dry-run", is_flag=True, help="Read the data, print what would be done, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print what was made as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def compress(
    model: str,
    data: str,
    out: Path | None,
    resolution: int | None,
    classes: int | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **chosen: object,
) -> None:
    """Prune MODEL, share its weights and code them.

    The chain of Deep Compression, training in between: small weights become
    zero, round after round, and the others train on; layers get few values,
    which train on; relative indices and values are Huffman coded. A round
    that loses more than --max-drop is not kept.

    OUT gets model.fly, which is a MODEL for all other commands, compress.json
    and report.html. Stopped at any point, the same command goes on. The file
    is small; the network that it gives back is as fast as before.

    MODEL is as for pack: it must have a spec, and weights worth keeping.
    """
    from flyweight import files, flow
    from flyweight.cli import _compress
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import say
    from flyweight.compress import compress as run
    from flyweight.compress import plan_lines
    from flyweight.compress.page import render_page
    from flyweight.data import load_dataset

    settings = _compress.settings(chosen)
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    dataset = load_dataset(data)
    if dry_run:
        for line in plan_lines(candidate, dataset, settings):
            say(line)
        return
    folder = out or Path("runs/compress")
    with shown(quiet or as_json) as progress:
        made = run(candidate, dataset, settings, folder, progress)
    files.write_text(folder / "report.html", render_page(made))
    _compress.show(made, folder, as_json)


MEMBERS = {"compress": compress}
