"""The command line itself: what is fast, what is said, and with which exit code it ends."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest
from click.testing import CliRunner, Result

from flyweight import cli
from flyweight.cli import main
from flyweight.errors import OverBudgetError, SpecError


def run(*args: str, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, args, prog_name="flyweight", env=env)


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[BaseException], None]]:
    """Give the command line one more command, ``fail``, which raises."""

    def install(error: BaseException) -> None:
        @cli._command.command("fail", "flyweight fail")
        def fail() -> None:
            raise error

        monkeypatch.setitem(cli.COMMANDS.__dict__, "members", {**cli.COMMANDS.members, "fail": fail})

    yield install


def test_help_does_not_import_torch_nor_numpy_nor_rich() -> None:
    code = (
        "import sys; from flyweight.cli import main\n"
        "try: main(['--help'], prog_name='flyweight')\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'numpy', 'rich', 'onnx') if name in sys.modules])"
    )
    done = python(code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("command", sorted(cli.COMMANDS.names()))
def test_help_of_a_command_does_not_import_torch(command: str) -> None:
    code = (
        "import sys; from flyweight.cli import main\n"
        f"try: main(['{command}', '--help'], prog_name='flyweight')\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    assert python(code).stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("command", sorted(cli.COMMANDS.names()))
def test_help_of_a_command_has_an_example_that_calls_it_and_the_exit_codes(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"flyweight {command}" in result.stdout.partition("Example")[2]
    assert "Exit codes: 0 done, 2 wrong use" in result.stdout


@pytest.mark.parametrize("command", ["", *sorted(cli.COMMANDS.names())])
def test_help_fits_eighty_columns(command: str) -> None:
    lines = run(*command.split(), "--help").stdout.splitlines()
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("command", sorted(cli.COMMANDS.names()))
def test_short_help_is_not_cut(command: str) -> None:
    line = next(line for line in run("--help").stdout.splitlines() if line.startswith(f"  {command} "))
    assert line.endswith(".")
    assert not line.endswith("..")


def test_version_is_the_packages() -> None:
    import flyweight

    assert run("--version").stdout.startswith(f"flyweight {flyweight.__version__} (Python 3.")


def test_module_can_be_run() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flyweight", "--version"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "flyweight")


def test_misspelt_command_is_wrong_use_and_gets_the_nearest() -> None:
    result = run("profle")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no command is named 'profle'. Did you mean profile")


def test_misspelt_option_gets_the_nearest() -> None:
    result = run("slim", "blue_marble", "--treads", "1")
    assert result.exit_code == 2
    assert "--threads" in result.stderr


def test_missing_argument_is_wrong_use() -> None:
    result = run("slim")
    assert result.exit_code == 2
    assert "Missing argument 'DATA'" in result.stderr


@pytest.mark.parametrize("threads", ["0", "1,0", "one", "1,,2", "", "257", "1,1", "²", "-1", "9999999999"])
def test_threads_that_are_no_counts_are_wrong_use(threads: str) -> None:
    result = run("slim", "blue_marble", "--threads", threads)
    assert result.exit_code == 2
    assert "--threads" in result.stderr


@pytest.mark.parametrize("rungs", ["", "v0,,v1", "v0,v0", ","])
def test_rungs_with_empty_or_repeated_names_are_wrong_use(rungs: str) -> None:
    result = run("slim", "blue_marble", "--rungs", rungs)
    assert result.exit_code == 2
    assert "--rungs" in result.stderr


def test_error_is_one_line_on_stderr_without_traceback(failing: Callable[[BaseException], None]) -> None:
    failing(SpecError("stage 'conv1': kernel is 4. Use 3 or 5."))
    result = run("fail")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: stage 'conv1': kernel is 4. Use 3 or 5.\n"


def test_over_budget_exits_with_3(failing: Callable[[BaseException], None]) -> None:
    failing(OverBudgetError("12 ms, but 10 ms are allowed."))
    assert run("fail").exit_code == 3


@pytest.mark.parametrize("args", [("--traceback", "fail"), ("fail", "--traceback")])
def test_traceback_is_shown_on_demand(failing: Callable[[BaseException], None], args: tuple[str, ...]) -> None:
    failing(SpecError("bad"))
    result = run(*args)
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("Error: bad\n")


def test_traceback_is_shown_by_environment(failing: Callable[[BaseException], None]) -> None:
    failing(SpecError("bad"))
    assert "Traceback" in run("fail", env={"FLYWEIGHT_TRACEBACK": "1"}).stderr


def test_full_disk_is_told_as_such(failing: Callable[[BaseException], None]) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device", "runs/a/weights"))
    result = run("fail")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: runs/a/weights: can't use: the disk is full.")


def test_full_disk_without_a_file_name_is_told_too(failing: Callable[[BaseException], None]) -> None:
    failing(OSError(errno.ENOSPC, "No space left on device"))
    assert "the disk is full" in run("fail").stderr


def test_error_inside_flyweight_keeps_its_traceback(failing: Callable[[BaseException], None]) -> None:
    failing(ZeroDivisionError("a mistake of ours"))
    result = run("fail")
    assert isinstance(result.exception, ZeroDivisionError)
    assert result.exit_code == 1


def test_ctrl_c_says_how_to_go_on(failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    result = run("fail")
    assert result.exit_code == 130
    assert result.stderr.strip() == "Stopped; run the same command again to go on."


def test_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "flyweight", "completion", "zsh"],
            stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_FLYWEIGHT_COMPLETE" in result.stdout


def test_completion_completes_commands() -> None:
    from click.shell_completion import ShellComplete

    found = ShellComplete(main, {}, "flyweight", "_FLYWEIGHT_COMPLETE").get_completions([], "pro")
    assert [item.value for item in found] == ["profile"]


@pytest.mark.parametrize("name", cli.COMMANDS.names())
def test_command_is_registered_under_its_own_name(name: str) -> None:
    command = cli.COMMANDS.get(name)
    assert isinstance(command, click.Command)
    assert command.name == name
