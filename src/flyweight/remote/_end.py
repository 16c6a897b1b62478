"""The far end of a measurement over ssh: ``python -m flyweight.remote._end``, one frame for one frame.

It keeps the files that it is sent in a temporary folder, which is gone when its input closes, and does with them what a
bench does on its own machine: outputs in a process of their own, times by turns. Nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from flyweight import files
from flyweight.contracts import Artifact, Measurement
from flyweight.errors import FlyweightError, MeasurementError
from flyweight.measure import hardware, measure_group
from flyweight.measure._process import LoadedWorker
from flyweight.runtimes import RUNTIMES, _frames
from flyweight.runtimes._artifact import check_digest
from flyweight.runtimes._frames import Arrays

PROTOCOL = 1
OUTPUTS_TIMEOUT_S = 900.0
Answer = tuple[Mapping[str, Any], Arrays]


class End:
    """Holds the artifacts that were sent. ``folder``: where they lie."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.artifacts: list[Artifact] = []

    def answer(self, request: Mapping[str, Any], arrays: Arrays) -> Answer:
        """Answer one request; what goes wrong on purpose is an answer too.

        Raises:
            KeyError, TypeError, ValueError: the request is not one.
        """
        tasks = {"hello": self._hello, "put": self._put, "outputs": self._outputs, "measure": self._measure}
        try:
            return tasks[request["task"]](request, arrays)
        except FlyweightError as error:
            return {"error": _one_line(error)}, {}

    def _hello(self, request: Mapping[str, Any], arrays: Arrays) -> Answer:
        return {"protocol": PROTOCOL, "hardware": hardware()}, {}

    def _put(self, request: Mapping[str, Any], arrays: Arrays) -> Answer:
        number = len(self.artifacts)
        artifact = Artifact.from_json(request["artifact"], self.folder / str(number))
        for index, path in enumerate(artifact.files):
            files.write_bytes(path, arrays[str(index)].astype(np.uint8, copy=False).tobytes())
        check_digest(artifact)
        self.artifacts.append(artifact)
        return {"number": number}, {}

    def _outputs(self, request: Mapping[str, Any], arrays: Arrays) -> Answer:
        artifact = self.artifacts[int(request["artifact"])]
        if reason := RUNTIMES.get(artifact.runtime).missing():
            raise MeasurementError(reason)
        given, found = self.folder / "inputs.npy", self.folder / "outputs.npy"
        np.save(given, arrays["inputs"], allow_pickle=False)
        with LoadedWorker(artifact, 1, OUTPUTS_TIMEOUT_S) as worker:
            worker.ask("outputs", inputs=str(given), outputs=str(found))
        return {}, {"outputs": np.load(found, allow_pickle=False)}

    def _measure(self, request: Mapping[str, Any], arrays: Arrays) -> Answer:
        chosen = [_here(self.artifacts[int(number)]) for number in request["artifacts"]]
        taken = measure_group(chosen, int(request["threads"]), int(request["n"]))
        return {"taken": [_told(each) for each in taken]}, {}


def _here(artifact: Artifact) -> Artifact:
    """Return the artifact with the version of the runtime that runs it here."""
    runtime = RUNTIMES.get(artifact.runtime)
    return artifact if runtime.missing() else dataclasses.replace(artifact, runtime_version=runtime.version())


def _told(taken: Measurement | FlyweightError) -> dict[str, Any]:
    if isinstance(taken, Measurement):
        return {"measurement": dataclasses.asdict(taken)}
    return {"error": _one_line(taken)}


def _one_line(error: FlyweightError) -> str:
    """Return an error on one line; of what a process wrote before it died, the last line."""
    told, wrote, lines = str(error).strip().partition("It wrote:\n")
    return " ".join(f"{told}{wrote}{lines.splitlines()[-1] if lines else ''}".split())


def main() -> None:
    """Answer requests until the input closes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a runtime prints must not mix with the answers
    with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
        end = End(Path(folder))
        with suppress(EOFError, BrokenPipeError):  # the one that asks is done, or gone
            while True:
                request, arrays = _frames.read(sys.stdin.buffer)
                try:
                    answer = end.answer(request, arrays)
                except (KeyError, TypeError, ValueError, IndexError) as error:
                    traceback.print_exc()
                    answer = {"error": f"not a request ({error!r})"}, {}
                _frames.write(answers, *answer)


if __name__ == "__main__":
    main()
