"""What the documents show works: Python blocks run, commands parse, examples run, links lead somewhere.

The Python blocks of one page are run in order, in one namespace, in an empty folder; a block behind a comment
``<!-- not run: reason -->`` is left out, and there may be few of those. In a shell block with prompts (``$ ``) only
the lines with one are commands; one whose output begins with ``Error:`` is run, and must end with that very error.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from flyweight.cli import main

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (\S.*?) -->\s*\Z")
SHELLS = ("console", "bash", "sh", "shell")
MAX_NOT_RUN = 6  # a page whose blocks are not run can rot: think twice before raising it


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the line its text begins on, and why it isn't run, if it isn't."""

    page: Path
    language: str
    text: str
    line: int
    not_run: str | None


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        reason = NOT_RUN.search(text[: match.start()])
        line = text.count("\n", 0, match.start(2)) + 1
        yield Block(page, match[1], match[2], line, reason[1] if reason else None)


def python_blocks(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


@dataclass(frozen=True)
class Command:
    """A ``flyweight`` command of a document: where it stands, its arguments, and the error that it is shown to give."""

    where: str
    arguments: tuple[str, ...]
    error: str = ""


def commands(block: Block) -> Iterator[Command]:
    """Yield the ``flyweight`` commands of a shell block, continued lines joined, comments left out."""
    lines = block.text.replace("\\\n", " ").splitlines()
    prompted = any(line.startswith("$ ") for line in lines)
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if prompted and not line.startswith("$ "):
            continue
        for words in simple_commands(shlex.split(line.removeprefix("$ "), comments=True)):
            if words[0] == "flyweight":
                where = f"{block.page.name}:{block.line}: {shlex.join(words)}"
                yield Command(where, tuple(words[1:]), after if after.startswith("Error:") else "")


def simple_commands(words: list[str]) -> Iterator[list[str]]:
    """Split a shell line's words at its operators; variables set before a command, and redirections, are left out."""
    line: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", "||", "|", ";", "&", ">", "2>"):
            if line:
                yield line
            line = []
        elif line or not re.fullmatch(r"\w+=.*|time", word):
            line.append(word)


COMMANDS = [c for page in PAGES for block in blocks(page) if block.language in SHELLS for c in commands(block)]


def parse(arguments: Sequence[str]) -> None:
    """Parse a command as click would before it runs the body; types, choices and missing arguments count."""
    if not arguments or arguments[0].startswith("-"):
        with pytest.raises((click.exceptions.Exit, click.exceptions.NoArgsIsHelpError)):
            main.make_context("flyweight", list(arguments))
        return
    parent = click.Context(main, info_name="flyweight")
    command = main.get_command(parent, arguments[0])
    if command is None:
        raise click.UsageError(f"there is no command '{arguments[0]}'")
    try:
        command.make_context(arguments[0], list(arguments[1:]), parent=parent)
    except click.exceptions.Exit:  # --help and its like end the command while it is parsed
        assert {"--help", "-h"} & set(arguments)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_python_blocks_of_the_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in python_blocks(page):
        if block.not_run is None:
            code = "\n" * (block.line - 1) + block.text  # so that a traceback gives the page's own line
            exec(compile(code, str(page), "exec"), namespace)


def test_few_python_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [f"{b.page.name}:{b.line}: {b.not_run}" for page in PAGES for b in python_blocks(page) if b.not_run]
    assert len(left_out) <= MAX_NOT_RUN, left_out


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.error], ids=lambda command: command.where)
def test_command_in_a_document_parses(command: Command) -> None:
    parse(command.arguments)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.error], ids=lambda command: command.where)
def test_error_in_a_document_is_what_the_command_says(command: Command, tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "flyweight", *command.arguments], tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, command.error)


def test_a_command_with_a_wrong_option_would_be_found() -> None:
    with pytest.raises(click.NoSuchOption):
        parse(["slim", "blue_marble", "--no-such-option"])


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join(block.text for page in PAGES for block in blocks(page) if block.language in SHELLS)
    assert set(re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE)) - targets == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_to_files(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with Flyweight as it stands here."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs_without_arguments(example: Path, tmp_path: Path) -> None:
    done = run([sys.executable, str(example)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
