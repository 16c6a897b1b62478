"""``flyweight runtimes``: which runtimes are usable, and where those live that need a Python of their own."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command


@command(
    "runtimes",
    "flyweight runtimes",
    "flyweight runtimes add litert ~/flyweight-litert",
    "flyweight runtimes remove litert",
)
@click.argument("action", type=click.Choice(["add", "remove"]), required=False)
@click.argument("name", required=False)
@click.argument("python", type=click.Path(path_type=Path), required=False)
def runtimes(action: str | None, name: str | None, python: Path | None) -> None:
    """List the runtimes, or name the Python that one lives in.

    Without an ACTION: every runtime with its version, or what to install.

    Some runtimes' packages can't live beside the others. They get a Python
    environment of their own, which you make with the command that is listed;
    "add NAME PYTHON" remembers it (PYTHON: the environment's folder, or its
    python), "remove NAME" forgets it and deletes nothing. Flyweight installs
    nothing and starts that Python only when the runtime is asked for.
    FLYWEIGHT_LITERT_PYTHON, FLYWEIGHT_EXECUTORCH_PYTHON are taken before it.
    """
    from flyweight import environments

    if action is None:
        _print_all()
        return
    if name is None or (python is None) == (action == "add"):
        wanted = "add NAME PYTHON" if action == "add" else "remove NAME"
        raise click.UsageError(f"write: flyweight runtimes {wanted}.")
    if python is None:
        environments.forget(name)
        click.echo(f"{name}: forgotten. The environment itself is as it was.")
        return
    place, versions = environments.remember(name, python)
    held = ", ".join(f"{package} {version}" for package, version in versions.items())
    click.echo(f"{name}: {place} ({held})")


def _print_all() -> None:
    from flyweight import environments
    from flyweight.cli._tables import MISSING, print_table, say
    from flyweight.runtimes import RUNTIMES

    rows, told = [], []
    for name in RUNTIMES.names():
        runtime = RUNTIMES.get(name)
        missing = runtime.missing()
        place = "an environment of its own" if name in environments.NEEDS else "here"
        if missing is None and name in environments.NEEDS:
            place = str(environments.python_of(name))
        rows.append([name, MISSING if missing else runtime.version(), ", ".join(runtime.precisions), place])
        told += [missing] if missing else []
    print_table(["runtime", "version", "precisions", "where"], rows, left=4)
    for line in told:
        say()
        say(line)


MEMBERS = {"runtimes": runtimes}
