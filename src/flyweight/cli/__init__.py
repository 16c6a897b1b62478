"""The command line: one file per command, found by its name and imported when it is used.

Command files import heavy things (torch, rich, the steps themselves) inside the command's body only, so that
``flyweight --help`` stays fast.

Exit codes: 0 done, 1 an error inside Flyweight, 2 wrong use or input that can't be used, 3 over budget, 130 stopped.
"""

from __future__ import annotations

import errno
import sys
import traceback
from pathlib import Path
from typing import Any

import click

from flyweight import files
from flyweight.cli._command import TRACEBACK_KEY, traceback_option
from flyweight.errors import FlyweightError, UsageError, unknown_name
from flyweight.family import Family

COMMANDS: Family[click.Command] = Family("flyweight.cli", "command")
STOPPED_EXIT_CODE = 130  # 128 + SIGINT, as shells have it


class CommandLine(click.Group):
    """The ``flyweight`` command: finds its commands in this folder, and turns errors into one clear line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted(COMMANDS.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, importing its file alone, or None."""
        try:
            return COMMANDS.get(cmd_name)
        except UsageError:
            return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with.

        Raises:
            UsageError: there is none of that name; the nearest ones are listed.
        """
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise unknown_name("command", args[0], COMMANDS.names())
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command; what the user can mend ends as one line and an exit code."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a pipe that was closed shows here, where click ends quietly, not at shutdown
            return result
        except KeyboardInterrupt:
            click.echo("\nStopped; run the same command again to go on.", err=True)
            ctx.exit(STOPPED_EXIT_CODE)
        except (FlyweightError, OSError) as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise
            if ctx.meta.get(TRACEBACK_KEY):
                traceback.print_exc()
            mendable = _mendable(error)
            click.echo(f"Error: {mendable}", err=True)
            ctx.exit(mendable.exit_code)


def _mendable(error: FlyweightError | OSError) -> FlyweightError:
    if isinstance(error, FlyweightError):
        return error
    return files.file_error(Path(error.filename or "(a file without a name)"), "use", error)


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        package = sys.modules[__name__.partition(".")[0]]  # the code that runs, not what may be installed beside it
        click.echo(f"flyweight {package.__version__} (Python {sys.version.split()[0]})")
        ctx.exit()


@click.command(
    cls=CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="""\b
Examples:
  flyweight slim blue_marble --short --out runs/short
  flyweight profile mobilenet_v1_1.0_224 --depth 2
  flyweight report runs/short

\b
Exit codes: 0 done, 2 wrong use or unusable input, 3 over budget,
130 stopped by Ctrl-C.""",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print the version."
)
@traceback_option(hidden=False)
def main() -> None:
    """Find where a small CNN spends its time, memory and bytes, cut there, and
    prove on a real runtime that what is left is as accurate as before."""
