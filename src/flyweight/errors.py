"""Every error that Flyweight raises on purpose.

::

    FlyweightError                 anything a user can mend; the command line prints it and exits with 2
    ├── UsageError                 an argument, a name or a combination that is not allowed
    ├── SpecError                  an architecture that can't be built as written
    ├── DataError                  an image, a mask or a data set that can't be used
    ├── GraphError                 a network that can't be traced or counted
    │   └── UnknownOperatorError   an operator without a formula, under ``strict``
    ├── TransformError             an edit that this network does not allow
    ├── TrainingError              training diverged or can't go on
    ├── RuntimeMissingError        a runtime's package is not installed
    ├── ExportError                a runtime can't express this network
    │   └── ParityError            the artifact computes something else than the network
    ├── MeasurementError           a measurement that failed or can't be trusted
    ├── FileError                  a file or folder that can't be read or written (missing, full, read-only, damaged)
    └── OverBudgetError            a limit is exceeded; the command line exits with 3

A message says where, which value, what is allowed and what to do, and names the layer or the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MOST_NAMES = 24  # named in an error: all commands are


class FlyweightError(Exception):
    """Anything that the user can mend; ``exit_code`` is what the command line ends with."""

    exit_code = 2


class UsageError(FlyweightError):
    """An argument, a name or a combination of them that is not allowed."""


class SpecError(FlyweightError):
    """An architecture that can't be built as written."""


class DataError(FlyweightError):
    """An image, a mask or a data set that can't be used."""


class GraphError(FlyweightError):
    """A network that can't be traced or counted."""


class UnknownOperatorError(GraphError):
    """An operator without a formula, where none may pass."""


class TransformError(FlyweightError):
    """An edit that this network does not allow."""


class TrainingError(FlyweightError):
    """Training diverged, or can't go on."""


class RuntimeMissingError(FlyweightError):
    """A runtime's package is not installed; the message names the extra to install."""


class ExportError(FlyweightError):
    """A runtime can't express this network."""


class ParityError(ExportError):
    """The exported artifact computes something else than the network it came from."""


class MeasurementError(FlyweightError):
    """A measurement that failed, or that can't be trusted."""


class FileError(FlyweightError):
    """A file or folder that can't be read or written."""


class OverBudgetError(FlyweightError):
    """A stated limit is exceeded."""

    exit_code = 3


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that does not exist, with the nearest ones first."""
    names = sorted(known)
    listed = ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")
    return UsageError(f"no {kind} is named '{name}'. {did_you_mean(name, names)}Known: {listed or 'none'}.")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean x or y? "`` with the names nearest to ``name``, or nothing where none is near."""
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}? " if near else ""
