"""``flyweight health``: dead channels, kernels near zero, saturated activations, and what of it can be removed."""

from __future__ import annotations

import click

from flyweight.cli._command import command, model_options


@command(
    "health",
    "flyweight health v2.safetensors",
    "flyweight health runs/ladder:v2.2.2 --data blue_marble --images 64",
    "flyweight health my_net.py:build --json > health.json",
)
@click.argument("model")
@model_options
@click.option("--data", help="Look at activations on training images of this data set too: a name or a folder.")
@click.option("--images", type=click.IntRange(1, 4096), default=32, help="How many of its images.")
@click.option(
    "--saturated",
    type=click.FloatRange(1, 99),
    default=95.0,
    help="Percent of an activation's values at its limit above which it counts as saturated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all findings as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def health(
    model: str,
    resolution: int | None,
    classes: int | None,
    data: str | None,
    images: int,
    saturated: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Find channels of MODEL that do nothing, and say which can go.

    Dead: the same for all inputs. Unread: no later layer multiplies it by
    anything but zero. Near zero: a depthwise kernel that training drove to
    zero. Saturated: an activation at its limit (needs --data). Also NaN and
    infinity among the weights, and running variances far from the others.

    Removable: the network without these channels computes the same, for all
    inputs where the evidence is the weights. MODEL is as for profile.
    """
    import json

    from flyweight import flow
    from flyweight.cli import _health
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import dims, print_table, say

    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    with shown(quiet or as_json) as progress:
        found = _health.examined(candidate, data, images, saturated / 100, progress)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    seen = f" and {found.health.images} images of {data}" if found.health.images else ""
    looked = f"{found.health.layers} layers with {found.health.channels:,} channels"
    say(f"{model}, input {dims(candidate.input_shape)}: {looked}, by the weights{seen}")
    for line in _health.remarks(found.health):
        say(line)
    if rows := _health.rows(found.health):
        say()
        print_table(_health.COLUMNS, rows, left=3)
        say()
        for line in _health.summary(found):
            say(line)


MEMBERS = {"health": health}
