"""docs/commands.md tells the truth: each command in it is accepted, each output in it is what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flyweight.cli import COMMANDS, main

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Return (command line, output that the page shows, or '') in the page's order."""
    found: list[tuple[str, str]] = []
    for block in BLOCK.findall(PAGE.read_text()):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


def options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize("line", [line for line, output in examples() if not output])
def test_command_line_is_accepted(line: str) -> None:
    program, name, *arguments = shlex.split(line)
    assert program == "flyweight"
    context = COMMANDS.get(name).make_context(name, arguments)
    assert context.command.name == name


@pytest.mark.parametrize(
    ("line", "output"), [(line, output) for line, output in examples() if output], ids=lambda text: text.splitlines()[0]
)
def test_output_is_what_is_printed(line: str, output: str) -> None:
    result = CliRunner().invoke(main, shlex.split(line)[1:], prog_name="flyweight")
    assert result.output == output


@pytest.mark.parametrize("name", COMMANDS.names())
def test_page_has_every_command_with_every_option(name: str) -> None:
    section = PAGE.read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert f"$ flyweight {name}" in section
    assert [option for option in options(COMMANDS.get(name)) if option not in section] == []


@pytest.mark.parametrize("name", COMMANDS.names())
def test_defaults_on_the_page_are_the_commands(name: str) -> None:
    section = PAGE.read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(--[a-z-]+)`[^|]*\| ([^|]*) \|", section, re.MULTILINE))
    for parameter in COMMANDS.get(name).params:
        if isinstance(parameter, click.Option) and parameter.opts[-1] in rows and not parameter.is_flag:
            stated = parameter.default if isinstance(parameter.show_default, bool | None) else parameter.show_default
            shown = rows[parameter.opts[-1]].strip()
            assert shown == ("" if stated is None else str(stated)), parameter.opts
