"""What a bench asks of another machine."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias

from flyweight.contracts import Artifact, Measurement
from flyweight.errors import FlyweightError
from flyweight.report.bench_value import ProgramTimes

if TYPE_CHECKING:
    from flyweight.contracts import Array

Taken: TypeAlias = Measurement | ProgramTimes | FlyweightError


class Device(Protocol):
    """Another machine; leaving the context ends the talk with it and clears away what was put there."""

    name: str
    computes: bool  # whether outputs can be had from there

    def outputs(self, artifact: Artifact, inputs: Array) -> Array:
        """Return the outputs for ``(n, C, H, W)``, computed there.

        Raises:
            MeasurementError, FileError: it can't be run there, or the device is gone.
        """

    def measure(self, artifacts: Sequence[Artifact], threads: int, n: int) -> Sequence[Taken]:
        """Return each artifact's times, or the error that says why there are none."""

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
