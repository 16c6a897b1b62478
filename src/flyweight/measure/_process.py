"""The parent's side of a measuring process: start it, ask it, and be sure that it ends."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

from flyweight import environments
from flyweight.contracts import Artifact
from flyweight.errors import MeasurementError

_STDERR_LINES = 12
_MAX_LINE = 1 << 28


class LoadedWorker:
    """A fresh process in which an artifact is loaded; leaving the context ends it.

    Attributes:
        loaded: ``load_ms``, ``first_ms`` and ``baseline_rss_bytes``.
    """

    def __init__(self, artifact: Artifact, threads: int, timeout_s: float) -> None:
        self.artifact = artifact
        self.timeout_s = timeout_s
        self.late = False
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        try:
            self.process = subprocess.Popen(
                environments.worker_command(artifact.runtime, "flyweight.measure._worker"),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=measuring_environment(),
            )  # fmt: skip
        except OSError as error:
            self.errors.close()
            raise MeasurementError(f"can't start a process to measure in: {error}.") from error
        try:
            folder = str(artifact.files[0].parent.absolute())
            self.loaded = self.ask("load", artifact=artifact.to_json(), folder=folder, threads=threads)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> LoadedWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, task: str, **settings: Any) -> dict[str, Any]:
        """Send one request and return the answer.

        Raises:
            MeasurementError: the process reports an error, died, or did not answer within the time allowed.
        """
        timer = threading.Timer(self.timeout_s, self._expire)
        timer.start()
        try:
            line = self._exchange(json.dumps({"task": task, **settings}).encode() + b"\n")
        finally:
            timer.cancel()
        if not line.endswith(b"\n"):
            raise MeasurementError(self._obituary(task))
        answer = cast("dict[str, Any]", json.loads(line))
        if "error" in answer:
            raise MeasurementError(f"{self._where()}: measuring failed at '{task}': {answer['error']}")
        return answer

    def _exchange(self, request: bytes) -> bytes:
        assert self.process.stdin and self.process.stdout  # both are pipes
        try:
            self.process.stdin.write(request)
            self.process.stdin.flush()
        except BrokenPipeError:
            return b""  # it died; reading would say the same
        return self.process.stdout.readline(_MAX_LINE)

    def _expire(self) -> None:
        self.late = True
        self.process.kill()

    def _where(self) -> str:
        return f"{self.artifact.files[0]} in {self.artifact.runtime}"

    def _obituary(self, task: str) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        last = self.errors.read().decode(errors="replace").strip().splitlines()[-_STDERR_LINES:]
        said = "\n".join(["It wrote:", *last]) if last else "It wrote nothing."
        if self.late:
            return f"{self._where()}: no answer to '{task}' within {self.timeout_s:g} s. {said}"
        ended = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"{self._where()}: the measuring process ended at '{task}' ({ended}). {said}"

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.errors):
            if stream is not None:
                stream.close()
        try:
            if self.process.stdin is not None:
                self.process.stdin.close()
        except BrokenPipeError:
            return  # a request that was never read; the process is gone


def measuring_environment() -> dict[str, str]:
    """Return this process's environment, with this very Flyweight first, and no threads that spin while they wait."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
