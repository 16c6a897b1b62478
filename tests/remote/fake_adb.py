"""An ``adb`` for tests: a folder (FAKE_PHONE) stands for the phone, and its shell is this machine's.

FAKE_MODE: what is wrong with it. The words are those that adb 35 writes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

PHONE = Path(os.environ["FAKE_PHONE"])
MODE = os.environ.get("FAKE_MODE", "")
PROPERTIES = {"ro.product.manufacturer": "Maker", "ro.product.model": "Phone 3", "ro.product.cpu.abi": "arm64-v8a"}


def there(path: str) -> Path:
    """Return where a path of the phone lies here."""
    return PHONE / path.removeprefix("/data/local/tmp/")


def fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def shell(command: str) -> None:
    if command.startswith("getprop"):
        print("\n".join(PROPERTIES.get(part.split()[1], "") for part in command.split(";")))
        return
    runs = " > out.txt" in command
    if runs and MODE == "hangs":
        time.sleep(60)
    if runs and MODE == "unplugged":
        (PHONE / "unplugged").touch()
        fail("adb: device 'fake' not found")
    done = subprocess.run(["sh", "-c", command.replace("/data/local/tmp", str(PHONE))], check=False)
    sys.exit(done.returncode)


def main() -> None:
    assert sys.argv[1] == "-s"
    serial, task, *rest = sys.argv[2:]
    if serial != "fake" or (PHONE / "unplugged").exists():
        fail(f"adb: device '{serial}' not found")
    if MODE == "unauthorized":
        fail("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set")
    if MODE == "offline":
        fail("error: device offline")
    if task == "get-state":
        print("device")
    elif task == "shell":
        shell(rest[0])
    elif task == "push":
        there(rest[1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(rest[0], there(rest[1]))
    elif task == "pull":
        shutil.copyfile(there(rest[0]), rest[1])


main()
