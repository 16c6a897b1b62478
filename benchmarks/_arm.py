"""A Debian for Arm in a folder, with qemu's user mode to run its Python: nothing of this system is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libexpat1", "zlib1g", "libssl3",
    "libffi8", "libbz2-1.0", "liblzma5", "libgcc-s1", "libstdc++6", "libgomp1", "libuuid1", "libcrypt1",
)  # fmt: skip
WHEELS = ("numpy", "onnxruntime", "ncnn")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64")
PROCESSOR = "neoverse-n1"
# ONNX Runtime looks its processor up here; what it found of the real one's caches would not fit
CPUINFO = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""
_APT = """APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "root";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
"""
_SOURCE = "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main\n"


def make(folder: Path) -> None:
    """Fetch Debian 12's Python for Arm, qemu-user-static, and the wheels of the versions that are installed here.

    Raises:
        subprocess.CalledProcessError: apt, dpkg or pip failed; it says why itself.
    """
    for name in ("state/lists/partial", "cache/archives/partial", "debs", "root", "qemu", "site"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(_SOURCE)
    (folder / "apt.conf").write_text(_APT.format(folder=folder.absolute()))
    apt = ["apt-get", "-q", "-c", str((folder / "apt.conf").absolute())]
    _run([*apt, "update"], folder)
    _run([*apt, "download", *PACKAGES], folder / "debs")
    for package in (folder / "debs").glob("*.deb"):
        _run(["dpkg", "-x", str(package), str(folder / "root")], folder)
    _run(["apt-get", "-q", "download", "qemu-user-static"], folder)
    _run(["dpkg", "-x", str(next(folder.glob("qemu-user-static*.deb"))), str(folder / "qemu")], folder)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    wheels = [f"{name}=={version(name)}" for name in WHEELS]
    _run([*pip, *platforms, "--target", str(folder / "site"), "--upgrade", *wheels], folder)
    describe_processor(folder)


def describe_processor(folder: Path) -> None:
    """Write down the processor that qemu plays, where the programs in it look."""
    places = {
        "proc/cpuinfo": CPUINFO,
        "sys/devices/system/cpu/possible": "0\n",
        "sys/devices/system/cpu/present": "0\n",
    }
    for name, text in places.items():
        path = folder / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def command(folder: Path, *arguments: str) -> list[str]:
    """Return the command that runs Arm's Python with arguments."""
    qemu, root = folder / "qemu/usr/bin/qemu-aarch64-static", folder / "root"
    return [str(qemu), "-L", str(root), "-cpu", PROCESSOR, str(root / "usr/bin/python3.11"), *arguments]


def environment(folder: Path) -> dict[str, str]:
    """Return the environment in which it finds its packages, and Flyweight's source."""
    source = Path(__file__).resolve().parents[1] / "src"
    return {**os.environ, "PYTHONPATH": f"{folder.absolute() / 'site'}{os.pathsep}{source}", "OMP_NUM_THREADS": "1"}


def _run(arguments: Sequence[str], folder: Path) -> None:
    subprocess.run(arguments, cwd=folder, check=True)
