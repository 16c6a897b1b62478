"""``flyweight show``: an architecture as a table of its stages, or as the JSON that can be edited and profiled."""

from __future__ import annotations

import click

from flyweight.cli._command import command


@command("show", "flyweight show mobilenet_v1_deconv", "flyweight show mobilenet_v1_deconv --json > my_net.json")
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print the spec as JSON, which other commands read as MODEL.")
def show(model: str, as_json: bool) -> None:
    """Show the stages of MODEL.

    Block, output channels, stride (and stride since the input), settings.

    MODEL is a name of the zoo (see: flyweight list), a spec (.json) or a rung
    of a run (runs/ladder:v2.2.2).
    """
    from flyweight import flow
    from flyweight.cli._tables import dims, print_table, say
    from flyweight.errors import UsageError

    spec = flow.open_model(model).spec
    if spec is None:
        raise UsageError(f"'{model}' is a module without a spec. See its layers with: flyweight profile {model}.")
    if as_json:
        say(spec.dumps())
        return
    shape = (spec.input.channels, spec.input.height, spec.input.width)
    say(f"{spec.name}: {spec.task}, {spec.classes} classes, input {dims(shape)}")
    say()
    rows = [
        [s.name, s.block, str(s.out_channels), str(s.stride), str(spec.stride_after(s.name)), _settings(s.settings)]
        for s in spec.stages
    ]
    print_table(["stage", "block", "channels", "stride", "in all", "settings"], rows, left=2)
    say()
    widths = f", widths {', '.join(map(str, spec.head.widths))}" if spec.head.widths else ""
    skips = ", ".join(f"{s.source} to {s.target}" for s in spec.head.skips)
    say(f"head: {spec.head.kind}{widths}" + (f"; skips ({spec.head.skip_join}): {skips}" if skips else ""))


def _settings(values: tuple[tuple[str, object], ...]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values)


MEMBERS = {"show": show}
