"""``flyweight completion``: the script that makes a shell complete Flyweight's commands and options."""

from __future__ import annotations

import click

from flyweight.cli._command import command

SHELLS = ("bash", "zsh", "fish")


@command(
    "completion",
    'eval "$(flyweight completion bash)"    # in ~/.bashrc',
    'eval "$(flyweight completion zsh)"     # in ~/.zshrc',
    "flyweight completion fish > ~/.config/fish/completions/flyweight.fish",
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands in SHELL."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # Choice has checked it
    click.echo(kind(ctx.find_root().command, {}, "flyweight", "_FLYWEIGHT_COMPLETE").source())


MEMBERS = {"completion": completion}
