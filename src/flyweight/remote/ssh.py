"""A board over ssh: the same Python code measures there, and answers in frames over the pipe (``runtimes._frames``)."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.contracts import Artifact, Measurement
from flyweight.errors import FileError, FlyweightError, MeasurementError
from flyweight.remote._end import PROTOCOL
from flyweight.remote.device import Taken
from flyweight.report._read import record
from flyweight.runtimes import _frames
from flyweight.runtimes._artifact import check_digest
from flyweight.runtimes._elsewhere import _kill, _stop

if TYPE_CHECKING:
    from flyweight.contracts import Array
    from flyweight.runtimes._frames import Arrays

SSH = (
    "ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=10",
    "-o", "ServerAliveCountMax=6",
)  # fmt: skip
HELLO_TIMEOUT_S = 60.0
TASK_TIMEOUT_S = 3600.0
_NO_CONNECTION, _NOT_FOUND = 255, 127  # exit codes of ssh itself, and of the shell there
_MOST_STDERR_BYTES = 1 << 14


class SshDevice:
    """A machine with Flyweight on it, reached by the system's ``ssh`` without asking for a password.

    Raises:
        MeasurementError: it can't be reached, or has no Flyweight that answers.
    """

    computes = True

    def __init__(self, host: str, python: str = "python3", hello_timeout_s: float = HELLO_TIMEOUT_S) -> None:
        self.name, self.host, self.python = f"ssh:{host}", host, python
        self.known: dict[str, int] = {}  # by digest, the number under which an artifact lies there
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        try:
            self.process = subprocess.Popen(
                [*SSH, "--", host, f"{_quoted(python)} -m flyweight.remote._end"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self.errors.close()
            raise MeasurementError(f"{self.name}: the program ssh can't be started ({error.strerror}).") from error
        self.stop = weakref.finalize(self, _stop, self.process, self.errors)
        try:
            hello, _ = self._ask("hello", {}, timeout_s=hello_timeout_s)
            if hello.get("protocol") != PROTOCOL:
                raise MeasurementError(
                    f"{self.name}: the Flyweight there speaks version {hello.get('protocol')} of the protocol, "
                    f"this one {PROTOCOL}. Install the same Flyweight on both."
                )
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> SshDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def outputs(self, artifact: Artifact, inputs: Array) -> Array:
        """Return the outputs for ``(n, C, H, W)``, computed there.

        Raises:
            MeasurementError, FileError: the artifact is damaged, can't be run there, or the connection ended.
        """
        number = self._put(artifact)
        answer, arrays = self._ask("outputs", {"artifact": number}, {"inputs": inputs})
        if "outputs" not in arrays or arrays["outputs"].dtype != np.float32:
            raise MeasurementError(f"{self.name}: the answer has no outputs, but {sorted(answer)}.")
        return arrays["outputs"]

    def measure(self, artifacts: Sequence[Artifact], threads: int, n: int) -> Sequence[Taken]:
        """Return each artifact's times, or the error that says why there are none; they take turns over there."""
        numbers = [self._attempt(artifact) for artifact in artifacts]
        sent = [number for number in numbers if isinstance(number, int)]
        try:
            answer, _ = self._ask("measure", {"artifacts": sent, "threads": threads, "n": n})
            found = [self._taken(each) for each in answer["taken"]]
            if len(found) != len(sent):
                raise MeasurementError(f"{self.name}: {len(found)} answers for {len(sent)} artifacts.")
        except (KeyError, TypeError) as error:
            found = [MeasurementError(f"{self.name}: an answer that can't be used ({error!r}).")] * len(sent)
        except FlyweightError as error:
            found = [error] * len(sent)
        following = iter(found)
        return [number if isinstance(number, FlyweightError) else next(following) for number in numbers]

    def _attempt(self, artifact: Artifact) -> int | FlyweightError:
        try:
            return self._put(artifact)
        except FlyweightError as error:
            return error

    def _put(self, artifact: Artifact) -> int:
        """Send an artifact's files, once; return the number that it has there."""
        if artifact.sha256 not in self.known:
            check_digest(artifact)
            contents = {str(i): np.frombuffer(files.read_bytes(p), np.uint8) for i, p in enumerate(artifact.files)}
            answer, _ = self._ask("put", {"artifact": artifact.to_json()}, contents)
            self.known[artifact.sha256] = int(answer["number"])
        return self.known[artifact.sha256]

    def _taken(self, told: Mapping[str, Any]) -> Taken:
        if "error" in told:
            return MeasurementError(f"{self.name}: {told['error']}")
        try:
            return record(Measurement, told["measurement"], "answer", {})
        except FileError as error:
            raise MeasurementError(f"{self.name}: a measurement that can't be used ({error})") from error

    def _ask(
        self, task: str, message: Mapping[str, Any], arrays: Arrays | None = None, timeout_s: float = TASK_TIMEOUT_S
    ) -> tuple[dict[str, Any], Arrays]:
        late = threading.Event()

        def expire() -> None:
            late.set()
            _kill(self.process)

        timer = threading.Timer(timeout_s, expire)
        timer.start()
        assert self.process.stdin and self.process.stdout  # both are pipes
        try:
            _frames.write(self.process.stdin, {"task": task, **message}, arrays)  # type: ignore[arg-type]
            answer, found = _frames.read(self.process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, ValueError, _frames.FrameError) as error:  # ValueError: closed by an error before
            raise MeasurementError(self._obituary(task, timeout_s if late.is_set() else None, error)) from error
        finally:
            timer.cancel()
        if "error" in answer:
            raise MeasurementError(f"{self.name}: {answer['error']}")
        return answer, found

    def _obituary(self, task: str, timeout_s: float | None, error: Exception) -> str:
        if self.errors.closed:
            return f"{self.name}: the connection has ended."
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = None
        if timeout_s is None and isinstance(error, _frames.FrameError) and not code:
            return (
                f"{self.name}: what answers there isn't Flyweight ({error}). Does a start-up file of its shell print?"
            )
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - _MOST_STDERR_BYTES))
        lines = [line for line in self.errors.read().decode(errors="replace").splitlines() if line.strip()]
        return f"{self.name}: {self._reason(task, timeout_s, code, lines)}"

    def _reason(self, task: str, timeout_s: float | None, code: int | None, lines: Sequence[str]) -> str:
        last = lines[-1].strip() if lines else "it wrote nothing"
        if timeout_s is not None:
            return f"no answer to '{task}' within {timeout_s:g} s."
        if code == _NO_CONNECTION:
            begun = "can't connect" if task == "hello" else "the connection ended"
            return f"{begun} ({last}). Try: ssh {self.host} true"
        if code == _NOT_FOUND:
            return f"there is no '{self.python}'. Name the Python that has Flyweight there: --python PATH"
        if any("No module named" in line and "flyweight" in line for line in lines):
            return (
                f"{self.python} has no Flyweight. Install it there, or name the Python that has it: --python PATH "
                f"({last})"
            )
        return f"the process there ended at '{task}' (exit code {code}). It wrote: {last}"


def _quoted(python: str) -> str:
    """Return a path for the shell there, which knows its own home."""
    return f"~/{shlex.quote(python[2:])}" if python.startswith("~/") else shlex.quote(python)
