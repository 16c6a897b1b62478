"""``flyweight show``: an architecture as a table of its stages, or as the text that can be edited and profiled."""

from __future__ import annotations

import click

from flyweight.cli._command import command


@command(
    "show",
    "flyweight show mobilenet_v1_deconv",
    "flyweight show my_net.toml",
    "flyweight show mobilenet_v1_deconv --json > my_net.json",
)
@click.argument("model")
@click.option("--json", "as_json", is_flag=True, help="Print the spec as JSON, which other commands read as MODEL.")
@click.option("--toml", "as_toml", is_flag=True, help="Print the spec as TOML, which they read too.")
def show(model: str, as_json: bool, as_toml: bool) -> None:
    """Show the stages of MODEL.

    Block, output channels, stride (and stride since the input), settings; and
    what was published of it, with the source.

    MODEL is a name of the zoo (see: flyweight list), a spec (.toml, .json) or a
    rung of a run (runs/ladder:v2.2.2).
    """
    from flyweight import flow
    from flyweight.cli._architectures import facts
    from flyweight.cli._tables import dims, print_table, say

    spec = flow.open_spec(model)
    if as_json or as_toml:
        if as_json and as_toml:
            raise click.UsageError("--json and --toml exclude each other.")
        click.echo(spec.dumps() + "\n" if as_json else spec.dumps_toml(), nl=False)
        return
    shape = (spec.input.channels, spec.input.height, spec.input.width)
    say(f"{spec.name}: {spec.task}, {spec.classes} classes, input {dims(shape)}")
    for line in facts(model):
        say(line)
    say()
    rows = [
        [s.name, s.block, str(s.out_channels), str(s.stride), str(spec.stride_after(s.name)), _settings(s.settings)]
        for s in spec.stages
    ]
    print_table(["stage", "block", "channels", "stride", "in all", "settings"], rows, left=2, last_is_text=True)
    say()
    widths = f", widths {', '.join(map(str, spec.head.widths))}" if spec.head.widths else ""
    skips = ", ".join(f"{s.source} to {s.target}" for s in spec.head.skips)
    chosen = f"; {_settings(spec.head.settings)}" if spec.head.settings else ""
    say(f"head: {spec.head.kind}{widths}{chosen}" + (f"; skips ({spec.head.skip_join}): {skips}" if skips else ""))


def _settings(values: tuple[tuple[str, object], ...]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values)


MEMBERS = {"show": show}
