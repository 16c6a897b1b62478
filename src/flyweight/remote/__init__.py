"""Times from another machine: a board over ssh, a phone over adb. ``docs/devices.md`` says what each needs.

A board runs Flyweight's own measuring code and answers with ``Measurement``; a phone runs the runtime's own benchmark
program, which tells less (``ProgramTimes``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flyweight.errors import UsageError
from flyweight.remote.adb import AdbDevice
from flyweight.remote.device import Device
from flyweight.remote.ssh import SshDevice

KINDS = ("ssh", "adb")


def parse_device(text: str) -> tuple[str, str]:
    """Return the kind and the address of ``'ssh:pi@board'`` or ``'adb:0123456789'``.

    Raises:
        UsageError: neither of the two, or no address.
    """
    kind, colon, address = text.partition(":")
    if kind not in KINDS or not colon or not address.strip() or address.startswith("-"):
        raise UsageError(f"--device {text}: wanted is ssh:HOST or adb:SERIAL (adb devices lists the serials).")
    return kind, address


def open_device(text: str, python: str, programs: Mapping[str, Path]) -> Device:
    """Return the device that ``text`` names, after a look at whether it answers.

    Args:
        text: ``ssh:HOST`` or ``adb:SERIAL``.
        python: of ``ssh``: the Python there that has Flyweight. programs: of ``adb``: runtime -> benchmark program.

    Raises:
        UsageError, MeasurementError: as ``parse_device``; it can't be reached, with the reason.
    """
    kind, address = parse_device(text)
    return SshDevice(address, python) if kind == "ssh" else AdbDevice(address, programs)
