"""The parent's side of a worker in another Python: start it, ask it, and be sure that it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, Any

from flyweight import environments
from flyweight.errors import ExportError, RuntimeMissingError
from flyweight.runtimes import _artifact, _frames
from flyweight.runtimes._frames import Arrays

PROTOCOL = 1
START_TIMEOUT_S = 120.0
EXPORT_TIMEOUT_S = 1200.0
_STDERR_LINES = 8
_MOST_STDERR_BYTES = 1 << 16


class Worker:
    """A process in a runtime's own environment; leaving the context ends it, and so does dropping the object.

    Args:
        runtime: for messages, and for what the worker offers.
        command: how it is started; ``start`` knows.
        start_timeout_s: within which it must say hello.

    Raises:
        RuntimeMissingError: it can't be started, or doesn't speak this version of the protocol.
        ExportError: it ended at once, or answers what can't be read.
    """

    def __init__(self, runtime: str, command: Sequence[str], start_timeout_s: float = START_TIMEOUT_S) -> None:
        self.runtime = runtime
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True
            )
        except OSError as error:
            self.errors.close()
            raise RuntimeMissingError(
                f"runtime '{runtime}': {command[0]} can't be started ({error.strerror}). "
                f"Name its environment again: flyweight runtimes add {runtime}"
            ) from error
        self.stop = weakref.finalize(self, _stop, self.process, self.errors)
        try:
            hello, _ = self.ask("hello", {"runtime": runtime}, timeout_s=start_timeout_s)
            if hello.get("protocol") != PROTOCOL:
                spoken = hello.get("protocol")
                raise RuntimeMissingError(
                    f"runtime '{runtime}': {command[0]} speaks version {spoken} of the protocol, not {PROTOCOL}. "
                    "Use the Flyweight that is installed here in both."
                )
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ask(
        self, task: str, message: Mapping[str, Any], arrays: Arrays | None = None, timeout_s: float = EXPORT_TIMEOUT_S
    ) -> tuple[dict[str, Any], Arrays]:
        """Send one request and return the answer and its arrays.

        Raises:
            ExportError: it refuses, died, gave no answer in time, or one that can't be read.
        """
        late = threading.Event()

        def expire() -> None:
            late.set()
            _kill(self.process)

        timer = threading.Timer(timeout_s, expire)
        timer.start()
        try:
            answer, found = self._exchange({"task": task, **message}, arrays)
        except (EOFError, BrokenPipeError):
            raise ExportError(self._obituary(task, timeout_s if late.is_set() else None)) from None
        except _frames.FrameError as error:
            if late.is_set() or self._ended():
                raise ExportError(self._obituary(task, timeout_s if late.is_set() else None)) from error
            self.stop()
            raise ExportError(f"{self._where()} gave an answer to '{task}' that can't be used: {error}.") from error
        finally:
            timer.cancel()
        if "error" in answer:
            raise ExportError(f"{self.runtime} {answer['error']}")
        return answer, found

    def _exchange(self, request: Mapping[str, Any], arrays: Arrays | None) -> tuple[dict[str, Any], Arrays]:
        assert self.process.stdin and self.process.stdout  # both are pipes
        _frames.write(self.process.stdin, request, arrays)  # type: ignore[arg-type]  # IO[bytes] is one
        return _frames.read(self.process.stdout)  # type: ignore[arg-type]

    def _ended(self) -> bool:
        """Return whether the process is gone, or is about to be: its last words came before its end."""
        try:
            self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _where(self) -> str:
        return f"the process in the environment of '{self.runtime}'"

    def _obituary(self, task: str, timeout_s: float | None) -> str:
        code = self.process.wait()
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - _MOST_STDERR_BYTES))
        last = self.errors.read().decode(errors="replace").strip().splitlines()[-_STDERR_LINES:]
        said = "\n".join(["It wrote:", *last]) if last else "It wrote nothing."
        self.stop()
        if timeout_s is not None:
            return f"{self._where()} gave no answer to '{task}' within {timeout_s:g} s. {said}"
        ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{self._where()} ended at '{task}' ({ended}). {said}"


def start(runtime: str) -> Worker:
    """Start a worker in a runtime's own environment.

    Raises:
        RuntimeMissingError, ExportError, FileError: there is none, or it doesn't start.
    """
    _artifact.require(environments.missing(runtime))
    python = environments.python_of(runtime)
    assert python is not None  # it isn't missing
    return Worker(runtime, environments.command(python, "flyweight.runtimes._elsewhere_worker"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself
    except PermissionError:  # macOS says so of a group whose members have ended
        process.kill()


def _stop(process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    _kill(process)
    process.wait()
    for stream in (process.stdout, errors):
        if stream is not None:
            stream.close()
    try:
        if process.stdin is not None:
            process.stdin.close()
    except BrokenPipeError:
        return  # a request that was never read; the process is gone
