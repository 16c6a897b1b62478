"""A phone over adb: the runtime's own benchmark program and the artifact are pushed, run, and what it wrote is pulled.

The programs are the user's; ``remote.programs`` knows how each is called. Nothing of Flyweight runs on the phone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import TYPE_CHECKING

from flyweight import files
from flyweight.contracts import Artifact
from flyweight.errors import FlyweightError, MeasurementError
from flyweight.remote.device import Taken
from flyweight.remote.programs import Program, command_line, program_of, times_of
from flyweight.report.bench_value import ProgramTimes
from flyweight.runtimes._artifact import check_digest

if TYPE_CHECKING:
    from flyweight.contracts import Array

FOLDER = PurePosixPath("/data/local/tmp/flyweight")  # where a shell may write and start programs on every Android
ASK_TIMEOUT_S = 30.0
PUSH_TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 600.0
MOST_OUTPUT_BYTES = 1 << 22
_PROPERTIES = ("ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.product.cpu.abi")
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127  # exit codes of a shell
_STATES = {
    "unauthorized": "the phone hasn't allowed this computer yet. Unlock it and answer its question about debugging.",
    "offline": "the phone is offline. Plug it in again, or: adb reconnect",
    "more than one": "adb knows several of them. Name one as adb devices lists it.",
    "not found": "there is no such phone. adb devices lists those that there are.",
    "no devices": "no phone is connected. Switch on USB debugging, plug it in, and look at: adb devices",
    "no permissions": "this user may not open the phone's USB port. See what adb devices says of udev rules.",
}


class AdbDevice:
    """A phone; the serial is as ``adb devices`` lists it. ``programs``: runtime -> path of its benchmark program here.

    Raises:
        UsageError: a program of a runtime that none is known of. FileError: there is no such program.
        MeasurementError: no adb, or the phone can't be used, with the reason.
    """

    computes = False

    def __init__(self, serial: str, programs: Mapping[str, Path], run_timeout_s: float = RUN_TIMEOUT_S) -> None:
        self.name, self.serial, self.run_timeout_s = f"adb:{serial}", serial, run_timeout_s
        self.programs = {runtime: (program_of(runtime, path.name), path) for runtime, path in programs.items()}
        for path in programs.values():
            if not path.is_file():
                raise MeasurementError(f"{path}: no program there. Give its path: --binary RUNTIME=PATH")
        self.pushed: set[str] = set()
        state = self._adb("get-state").strip()
        if state != "device":
            raise MeasurementError(f"{self.name}: {_words(state)}")
        told = self._shell("; ".join(f"getprop {name}" for name in _PROPERTIES))
        self.hardware = " ".join(dict.fromkeys(told.split())) or serial

    def __enter__(self) -> AdbDevice:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.pushed:
                self._shell(f"rm -rf {FOLDER}")
        except MeasurementError:  # it is gone, which the rows say already
            return

    def outputs(self, artifact: Artifact, inputs: Array) -> Array:
        """Raise MeasurementError: a benchmark program shows none."""
        raise MeasurementError(f"{self.name}: a benchmark program shows no outputs.")

    def measure(self, artifacts: Sequence[Artifact], threads: int, n: int) -> Sequence[Taken]:
        """Return what each artifact's program tells, one after the other, or the error that says why there is none."""
        return [self._attempt(artifact, threads, n) for artifact in artifacts]

    def _attempt(self, artifact: Artifact, threads: int, n: int) -> ProgramTimes | FlyweightError:
        try:
            return self._taken(artifact, threads, n)
        except FlyweightError as error:
            return error

    def _taken(self, artifact: Artifact, threads: int, n: int) -> ProgramTimes:
        if artifact.runtime not in self.programs:
            raise MeasurementError(
                f"{self.name}: no benchmark program of {artifact.runtime} was given. "
                f"Name one that is built for the phone: --binary {artifact.runtime}=PATH"
            )
        program, path = self.programs[artifact.runtime]
        check_digest(artifact)
        place = self._push(artifact, program, path)
        output, code = self._run(place, command_line(program, path.name, artifact, threads, n))
        if code:
            raise MeasurementError(f"{self.name}: {self._why(path.name, output, code)}")
        return times_of(program, path.name, self.hardware, output, n)

    def _push(self, artifact: Artifact, program: Program, path: Path) -> PurePosixPath:
        """Push the program, the libraries beside it, and the artifact's files; return the folder, cleared first."""
        place = FOLDER / artifact.sha256[:16]
        if artifact.sha256 not in self.pushed:
            self._shell(f"rm -rf {place} && mkdir -p {place}/model")
            for each in (path, *sorted(path.parent.glob("*.so"))):
                self._adb("push", str(each), f"{place}/{each.name}", timeout_s=PUSH_TIMEOUT_S)
            for each in artifact.files:
                inside = each.relative_to(artifact.files[0].parent).as_posix()
                self._adb("push", str(each), f"{place}/model/{inside}", timeout_s=PUSH_TIMEOUT_S)
            self._shell(f"chmod 755 {shlex.quote(f'{place}/{path.name}')}")
            self.pushed.add(artifact.sha256)
        return place

    def _run(self, place: PurePosixPath, command: str) -> tuple[str, int]:
        """Run a command there; return what it wrote, pulled as a file, and its exit code."""
        self._shell(
            f"cd {place} && rm -f out.txt code.txt; LD_LIBRARY_PATH=. {command} > out.txt 2>&1; echo $? > code.txt",
            timeout_s=self.run_timeout_s,
        )
        code = self._pull(place / "code.txt").strip()
        if not code.isdigit():
            raise MeasurementError(f"{self.name}: the program left no exit code.")
        return self._pull(place / "out.txt"), int(code)

    def _pull(self, source: PurePosixPath) -> str:
        with tempfile.TemporaryDirectory(prefix="flyweight-") as folder:
            target = Path(folder) / source.name
            self._adb("pull", str(source), str(target))
            if not target.is_file() or target.stat().st_size > MOST_OUTPUT_BYTES:
                raise MeasurementError(f"{self.name}: what the program wrote can't be pulled, or is too long.")
            return files.read_bytes(target).decode(errors="replace")

    def _why(self, name: str, output: str, code: int) -> str:
        last = next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "nothing")
        if code in (_NOT_EXECUTABLE, _NOT_FOUND) or "CANNOT LINK" in output:
            return f"{name} can't be started on this phone ({last[:200]}). Build it for {self.hardware}."
        return f"{name} ended with exit code {code}. It wrote: {last[:300]}"

    def _shell(self, command: str, timeout_s: float = ASK_TIMEOUT_S) -> str:
        return self._adb("shell", command, timeout_s=timeout_s)

    def _adb(self, *arguments: str, timeout_s: float = ASK_TIMEOUT_S) -> str:
        """Run one adb command on the phone; return what it wrote.

        Raises:
            MeasurementError: no adb, no answer within ``timeout_s``, or it fails: the phone's state in words.
        """
        try:
            done = subprocess.run(
                ["adb", "-s", self.serial, *arguments], capture_output=True, timeout=timeout_s, check=False,
                stdin=subprocess.DEVNULL, env={**os.environ, "ADB_TRACE": ""},
            )  # fmt: skip
        except FileNotFoundError as error:
            raise MeasurementError(
                f"{self.name}: there is no adb here. Install Android's platform-tools (Debian: apt install adb)."
            ) from error
        except OSError as error:
            raise MeasurementError(f"{self.name}: adb can't be started ({error.strerror}).") from error
        except subprocess.TimeoutExpired as error:
            raise MeasurementError(f"{self.name}: no answer to 'adb {arguments[0]}' within {timeout_s:g} s.") from error
        if done.returncode:
            told = (done.stderr or done.stdout).decode(errors="replace").strip()
            raise MeasurementError(f"{self.name}: {_words(told)}")
        return done.stdout.decode(errors="replace")


def _words(told: str) -> str:
    """Return what adb says, with what to do."""
    last = " ".join((told.splitlines() or ["nothing"])[-1].split())[:200]
    known = next((words for key, words in _STATES.items() if key in told), "")
    return f"{known} (adb: {last})" if known else f"adb failed: {last}"
