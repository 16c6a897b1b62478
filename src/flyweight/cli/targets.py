"""``flyweight targets``: on which devices a network runs, layer by layer, and what would make it run there."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, model_options


@command(
    "targets",
    "flyweight targets",
    "flyweight targets mobilenet_v3_small_1.0",
    "flyweight targets mobilenet_v3_small_1.0 --target edge_tpu",
    "flyweight targets my_net.toml --target my_npu.toml --strict",
)
@click.argument("model", required=False)
@model_options
@click.option("--target", help="One device by name, or your own by its file (.toml).")
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), help="The network's there.")
@click.option("--all", "every", is_flag=True, help="List every layer by itself.")
@click.option("--strict", is_flag=True, help="Exit with 3 unless every layer runs natively.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all verdicts as JSON to this file.")
def targets(
    model: str | None,
    resolution: int | None,
    classes: int | None,
    target: str | None,
    precision: str | None,
    every: bool,
    strict: bool,
    json_file: Path | None,
) -> None:
    """Say where MODEL runs, by the published rules of each device.

    Without MODEL: list the devices. With --target: the layers that the device
    doesn't run itself, why, the parts the network is cut into, and what mends
    it, by name of a transform (see: flyweight list transforms).

    natively: on the device itself. fallback: on the processor beside it.
    rejected: the network is refused. unknown: no rule speaks of it.
    """
    from flyweight.cli import _targets

    names = (target,) if target else None
    if model is None:
        asked: dict[str, object] = {"--precision": precision, "--all": every, "--strict": strict, "--json": json_file}
        asked |= {"--resolution": resolution, "--classes": classes}
        if given := [name for name, value in asked.items() if value]:
            raise click.UsageError(f"{given[0]} needs a MODEL.")
        _targets.print_devices(names)
        return
    placements = _targets.placements(model, resolution, classes, names, precision)
    if json_file:
        from flyweight import files

        files.write_json(json_file, {"model": model, "targets": [_targets.as_json(one) for one in placements]})
    if target:
        _targets.print_one(model, placements[0], every)
    else:
        _targets.print_all(model, placements)
    if strict:
        _targets.enforce(placements)


MEMBERS = {"targets": targets}
