"""What the commands share: how one is declared, and the types of its options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

TRACEBACK_KEY = "flyweight.traceback"
MAX_THREADS = 256
EXIT_CODES = "Exit codes: 0 done, 2 wrong use or bad input, 3 over a limit, 130 stopped."
F = TypeVar("F", bound=Callable[..., Any])


def command(name: str, *examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Declare a command: its help ends with ``examples`` and the exit codes."""
    lines = "\n".join(f"  {example}" for example in examples)
    heading = "Example:" if len(examples) == 1 else "Examples:"
    epilog = f"\b\n{heading}\n{lines}\n\n\b\n{EXIT_CODES}"

    def declare(body: Callable[..., Any]) -> click.Command:
        return click.command(name, epilog=epilog)(traceback_option(hidden=True)(body))

    return declare


def traceback_option(hidden: bool) -> Callable[[F], F]:
    """Return the option that shows where an error came from; shown in the help of ``flyweight``, taken everywhere."""

    def remember(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
        if wanted:
            ctx.meta[TRACEBACK_KEY] = True

    return click.option(
        "--traceback",
        is_flag=True,
        hidden=hidden,
        expose_value=False,
        callback=remember,
        envvar="FLYWEIGHT_TRACEBACK",
        help="Show where in the code an error arose; also FLYWEIGHT_TRACEBACK=1.",
    )


def model_options(body: F) -> F:
    """Add the options that say how MODEL is opened: ``resolution`` and ``classes``."""
    resolution = click.option(
        "--resolution", type=click.IntRange(1, 8192), show_default="as MODEL has it", help="Input height and width, px."
    )
    classes = click.option(
        "--classes", type=click.IntRange(1, 65_536), show_default="as MODEL has it", help="Number of classes."
    )
    return resolution(classes(body))


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Read names apart by commas, ``v0,v1``; an empty or repeated one is wrong use. For an option's ``callback``."""
    if value is None:
        return None
    found = tuple(part.strip() for part in value.split(","))
    if not all(found):
        raise click.BadParameter(f"{value!r} has an empty name. Put one comma between names: v0,v1.", ctx, param)
    if twice := [name for name in found if found.count(name) > 1]:
        raise click.BadParameter(f"{value!r} names {twice[0]!r} twice. Name each once.", ctx, param)
    return found


def counts(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    """Read whole numbers of threads apart by commas, ``1,2``. For an option's ``callback``."""
    words = names(ctx, param, value) or ()
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) < 4 and 1 <= int(word) <= MAX_THREADS):
            message = f"{word!r} is not a whole number from 1 to {MAX_THREADS}. Write e.g. 1,2."
            raise click.BadParameter(message, ctx, param)
    return tuple(int(word) for word in words)
