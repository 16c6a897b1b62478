"""``flyweight train``: a network on the user's own images, from new weights or from those that it comes with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flyweight.cli._command import command
from flyweight.cli._progress import shown

if TYPE_CHECKING:
    from flyweight.transfer import Start, Trained

_TRANSFERRED = {"freeze": 0.25, "backbone": 0.3}  # defaults of a network that comes with weights


@command(
    "train",
    "flyweight train lite0.safetensors --data photos --out runs/mine",
    "flyweight train mobilenet_v3_small_1.0 --data photos --steps 2000",
    "flyweight train lite0.safetensors --data photos --dry-run",
)
@click.argument("model")
@click.option("--data", required=True, help="Images to train on: a sample's name or a folder.")
@click.option(
    "--out", type=click.Path(path_type=Path), show_default="runs/train", help="Folder; a run that lies there goes on."
)
@click.option("--steps", type=click.IntRange(1, 10_000_000), default=400, help="Training steps.")
@click.option("--batch", type=click.IntRange(2, 4096), default=16, help="Images a step.")
@click.option("--learning-rate", type=click.FloatRange(1e-7, 10), default=3e-3, help="Highest learning rate.")
@click.option(
    "--freeze",
    type=click.IntRange(0, 10_000_000),
    show_default="a quarter of the steps with weights, else 0",
    help="Steps at first in which only the head is trained.",
)
@click.option(
    "--backbone-rate",
    type=click.FloatRange(0, 1, min_open=True),
    show_default="0.3 with weights, else 1",
    help="Learning rate of all but the head, as a share of the head's.",
)
@click.option(
    "--flips", type=click.Choice(["both", "horizontal", "none"]), default="horizontal", help="Random mirroring."
)
@click.option(
    "--norm-l1",
    type=click.FloatRange(0),
    default=0.0,
    help="Pull of norms' scales to zero, for prune --criterion bn_scale.",
)
@click.option("--resolution", type=click.IntRange(1, 8192), show_default="as MODEL has it", help="Input size, px.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Seed of new weights and batches.")
@click.option("--dry-run", is_flag=True, help="Read the data, print what would be trained, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def train(
    model: str,
    data: str,
    out: Path | None,
    steps: int,
    batch: int,
    learning_rate: float,
    freeze: int | None,
    backbone_rate: float | None,
    flips: Any,
    norm_l1: float,
    resolution: int | None,
    seed: int,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Train MODEL on DATA.

    MODEL is a name of the zoo or a spec (.toml, .json), which starts from new
    weights; or saved weights (.safetensors, e.g. from flyweight import or an
    earlier run), which keep all but what depends on the number of classes.
    With weights the head is trained alone at first, then everything.

    DATA is a sample (see: flyweight list data), or a folder: of images per
    class, or with images/ and masks/, or with boxes.

    OUT gets model.safetensors, which the other commands take as MODEL, the
    ONNX file, and train.json. Stopped at any point, the same command goes on.
    """
    from flyweight import flow, transfer
    from flyweight.data import load_dataset
    from flyweight.train import Recipe

    dataset = load_dataset(data)
    opened = flow.open_model(model)
    weighted = Path(model).suffix == ".safetensors"
    if weighted or opened.spec is None:
        start = transfer.transfer(opened, dataset, resolution=resolution, seed=seed)
    else:
        start = transfer.untrained(opened.spec, dataset, resolution=resolution, seed=seed)
    recipe = Recipe(
        steps=steps, batch=batch, learning_rate=learning_rate, warmup_steps=min(20, steps // 4), flips=flips,
        freeze_steps=round(steps * _TRANSFERRED["freeze"]) * weighted if freeze is None else freeze,
        backbone_rate=(_TRANSFERRED["backbone"] if weighted else 1.0) if backbone_rate is None else backbone_rate,
        checkpoint_steps=max(40, steps // 50), norm_l1=norm_l1,
    )  # fmt: skip
    _say_start(start, dataset.name, len(dataset.train), recipe)
    if dry_run:
        return
    folder = out or Path("runs/train")
    with shown(quiet) as progress:
        found = transfer.train_into(folder, start, dataset, recipe, seed=seed, progress=progress)
    _say_result(found, folder)


def _say_start(start: Start, data: str, images: int, recipe: Any) -> None:
    from flyweight.cli._tables import say

    prepared = start.candidate.preprocessing
    size = f"{prepared.height}x{prepared.width}"
    say(f"{data}: {images} images to train on, {len(prepared.class_names)} classes; input {size}")
    if start.kept:
        say(f"weights: {len(start.kept)} tensors kept, new: {', '.join(start.new)}")
    else:
        say("weights: all new")
    alone = f", the head alone in the first {recipe.freeze_steps}" if recipe.freeze_steps else ""
    say(f"{recipe.steps} steps of {recipe.batch} images{alone}")


def _say_result(found: Trained, folder: Path) -> None:
    from flyweight.cli._tables import say

    say(f"trained in {found.seconds:.1f} s")
    say(f"validation, in PyTorch: {_headline(found.val)}")
    if found.test is None:
        say("test: not scored, since ONNX Runtime is not installed (pip install 'flyweight[onnxruntime]')")
    else:
        say(f"test, the exported ONNX file: {_headline(found.test)}")
    say(f"written: {folder / 'model.safetensors'}")


def _headline(metrics: dict[str, Any]) -> str:
    """Return the metrics that are one number each."""
    return ", ".join(f"{name} {value * 100:.1f} %" for name, value in metrics.items() if isinstance(value, float))


MEMBERS = {"train": train}
