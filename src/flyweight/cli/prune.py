"""``flyweight prune``: a network with fewer channels in its layers."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, model_options

CRITERIA = ("l1", "bn_scale", "taylor", "geometric_median", "random")  # flyweight.prune's; a test compares


@command(
    "prune",
    "flyweight prune resnet_18.safetensors --keep-macs 0.5 -o half.safetensors",
    "flyweight prune v2.safetensors --criterion taylor --data blue_marble",
    "flyweight prune mobilenet_v2_1.0 --keep-params 0.3 --multiple 16 --dry-run",
    "flyweight prune v2.safetensors --keep-time 0.5 --data blue_marble",
)
@click.argument("model")
@model_options
@click.option(
    "--keep-macs",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    show_default="0.5",
    help="Share of the multiply-accumulates that is left.",
)
@click.option(
    "--keep-params",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the parameters that is left, instead.",
)
@click.option(
    "--keep-time",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the time that is left, instead, measured here.",
)
@click.option("--runtime", default="onnxruntime", show_default=True, help="Whose time counts for --keep-time.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Its threads.")
@click.option("--criterion", type=click.Choice(CRITERIA), default="l1", help="What makes a channel important.")
@click.option(
    "--scope",
    type=click.Choice(("global", "local", "gain")),
    show_default="global; gain with --keep-time",
    help="Compare channels of the whole network, take the same share of each layer, or compare by what each saves.",
)
@click.option(
    "--multiple", type=click.IntRange(1, 256), default=8, help="Layers that lose channels keep a multiple of this many."
)
@click.option("--data", help="Training images for taylor: a data set's name or a folder.")
@click.option("--images", type=click.IntRange(1, 4096), default=64, help="How many of its training images.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, help="Seed of the random criterion.")
@click.option("-o", "--out", type=click.Path(path_type=Path), show_default="MODEL-pruned.safetensors", help="The file.")
@click.option("--dry-run", is_flag=True, help="Print what would go, and write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def prune(
    model: str,
    resolution: int | None,
    classes: int | None,
    keep_macs: float | None,
    keep_params: float | None,
    keep_time: float | None,
    runtime: str,
    threads: int,
    criterion: str,
    scope: str | None,
    multiple: int,
    data: str | None,
    images: int,
    seed: int,
    out: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Take the least important channels out of MODEL's layers.

    Channels that hang together (over additions, depthwise convolutions,
    shuffles, gates) go together, and inputs and outputs keep their shapes. A
    layer that can't lose channels is left whole, and the last lines say why.
    The result equals MODEL with those channels at zero: that is measured.

    With --keep-time the layers are timed at several widths first, in the
    exported file, and the pruned network is exported and measured.

    The file is a MODEL for all other commands. Accuracy comes back by training
    on. If the goal can't be reached, what could be is written, and the exit
    code is 3. MODEL is as for profile; without --dry-run it must have a spec.
    """
    import json

    from flyweight import flow
    from flyweight.cli import _prune
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import print_table, say
    from flyweight.errors import OverBudgetError

    goal = _prune.goal(keep_macs, keep_params, keep_time, scope, multiple)
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    path = None if dry_run else _prune.path_for(candidate, model, out)
    with shown(quiet or as_json) as progress:
        judged = _prune.Images(data, images, seed)
        done = _prune.pruned(candidate, goal, criterion, judged, progress, _prune.Where(runtime, threads))
    if path:
        _prune.save(path, candidate, done)
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=2))
    else:
        print_table(_prune.COLUMNS, _prune.rows(done.plan))
        say()
        for line in _prune.lines(done, path):
            say(line)
    if not done.reached:
        raise OverBudgetError(_prune.shortfall(done))


MEMBERS = {"prune": prune}
