"""Pythons of their own, for runtimes whose packages can't live beside the others.

The user makes one with a single command (``Needs.install``) and names it once: ``flyweight runtimes add litert
~/litert``. Its path lies in ``$XDG_CONFIG_HOME/flyweight/runtimes.json``, else ``~/.config/flyweight/runtimes.json``;
``FLYWEIGHT_LITERT_PYTHON`` is taken before it. Nothing is installed by Flyweight.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flyweight import files
from flyweight.errors import FileError, RuntimeMissingError, UsageError, unknown_name

PROBE_TIMEOUT_S = 60
MOST_CONFIG_BYTES = 1 << 16
OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Needs:
    """What an environment must hold.

    Attributes:
        packages: distributions, as pip calls them, the one that names the runtime's version first.
        runs_in: the module that runs an artifact; where it can be imported here, no other Python is asked to run one.
        install: what to install into a new environment, as arguments of pip.
    """

    packages: tuple[str, ...]
    runs_in: str
    install: str


NEEDS: Mapping[str, Needs] = {
    "litert": Needs(
        ("litert-torch", "ai-edge-litert", "ai-edge-quantizer", "torch"),
        "ai_edge_litert",
        "torch==2.13.0 litert-torch==0.10.0 ai-edge-litert",
    ),
    "executorch": Needs(("executorch", "torch"), "executorch", "torch==2.13.0 executorch==1.5.1"),
}

_PROBE = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps({"python": list(sys.version_info[:2]), "versions": found}))
"""

# Only this very Flyweight is added to the other Python's modules, not what happens to lie beside it.
_BOOT = """
import importlib.util, runpy, sys
place = sys.argv[1]
spec = importlib.util.spec_from_file_location("flyweight", place + "/__init__.py", submodule_search_locations=[place])
sys.modules["flyweight"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
module = sys.argv[2]
del sys.argv[1:3]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


def needs_of(runtime: str) -> Needs:
    """Return what a runtime's environment must hold.

    Raises:
        UsageError: no runtime of that name has an environment of its own.
    """
    if runtime not in NEEDS:
        raise unknown_name("runtime with an environment of its own", runtime, NEEDS)
    return NEEDS[runtime]


def variable(runtime: str) -> str:
    """Return the environment variable that names a runtime's Python."""
    return f"FLYWEIGHT_{runtime.upper()}_PYTHON"


def config_file() -> Path:
    """Return the file that remembers the Pythons."""
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "flyweight"
    return folder / "runtimes.json"


def python_of(runtime: str) -> Path | None:
    """Return the Python that was named for a runtime, None where none was.

    Raises:
        FileError: the file that remembers it is damaged.
    """
    if told := os.environ.get(variable(runtime)):
        return Path(told)
    told = _remembered().get(runtime)
    return Path(told) if told else None


def missing(runtime: str) -> str | None:
    """Return None where a runtime's environment holds what it needs, else what to do, on one line."""
    try:
        versions(runtime)
    except (RuntimeMissingError, FileError) as error:
        return str(error)
    return None


def versions(runtime: str) -> Mapping[str, str]:
    """Return distribution -> version of what a runtime needs, from its own environment.

    Raises:
        RuntimeMissingError: no environment was named, it doesn't start, or it lacks a package.
        FileError: the file that remembers the environments is damaged.
    """
    python = python_of(runtime)
    if python is None:
        raise RuntimeMissingError(
            f"runtime '{runtime}' needs a Python environment of its own. Make and name it with: {how_to_make(runtime)}"
        )
    return probed(runtime, python)


def how_to_make(runtime: str) -> str:
    """Return the one command that makes a runtime's environment and names it."""
    folder = f"~/flyweight-{runtime}"
    install = f"{folder}/bin/pip install {needs_of(runtime).install}"
    return f"python3 -m venv {folder} && {install} && flyweight runtimes add {runtime} {folder}"


def probed(runtime: str, python: Path) -> Mapping[str, str]:
    """Return distribution -> version in the environment of ``python``.

    Raises:
        RuntimeMissingError: it doesn't start, is too old, or lacks a package.
    """
    found = _probe(str(python), needs_of(runtime).packages)
    if isinstance(found, str):
        raise RuntimeMissingError(f"runtime '{runtime}': {found}")
    if absent := [name for name in needs_of(runtime).packages if name not in found]:
        raise RuntimeMissingError(
            f"runtime '{runtime}': {python} lacks {' and '.join(absent)}. "
            f"Install what it needs with: {python} -m pip install {needs_of(runtime).install}"
        )
    return found


def remember(runtime: str, place: Path) -> tuple[Path, Mapping[str, str]]:
    """Write down the Python of a runtime's environment, after a look at what it holds.

    Args:
        runtime: one of NEEDS.
        place: the Python, or the folder of the environment.

    Returns:
        The Python, and distribution -> version.

    Raises:
        UsageError, RuntimeMissingError: not such a runtime, no Python there, or it lacks a package.
        FileError: it can't be written down.
    """
    needs_of(runtime)
    inside = [place / "bin" / "python", place / "Scripts" / "python.exe"]
    python = next((one for one in inside if one.is_file()), place).absolute()
    if not python.is_file():
        raise UsageError(f"{place}: no Python there. Give an environment's folder, or the path of its python.")
    found = probed(runtime, python)
    files.write_json(config_file(), {**_remembered(), runtime: str(python)})
    return python, found


def forget(runtime: str) -> None:
    """Strike a runtime's environment from the file; nothing of the environment itself is touched.

    Raises:
        UsageError: none was written down.
        FileError: the file can't be read or written.
    """
    needs_of(runtime)
    known = dict(_remembered())
    if runtime not in known:
        raise UsageError(f"no environment of '{runtime}' is written down. See: flyweight runtimes")
    del known[runtime]
    files.write_json(config_file(), known)


def runs_here(runtime: str) -> bool:
    """Return whether this very process can run a runtime's artifacts; always, for one without its own environment."""
    return runtime not in NEEDS or importlib.util.find_spec(NEEDS[runtime].runs_in) is not None


def command(python: Path, module: str) -> list[str]:
    """Return the command that runs a module of this very Flyweight in another Python, which holds its own packages."""
    return [str(python), "-I", "-c", _BOOT, str(Path(__file__).parent), module]


def worker_command(runtime: str, module: str) -> list[str]:
    """Return the command that runs a module of Flyweight where a runtime's artifacts can be run: here, or elsewhere."""
    python = None if runs_here(runtime) else python_of(runtime)
    # -P: a file in the current folder must not pass for a module of Python's
    return [sys.executable, "-P", "-m", module] if python is None else command(python, module)


def _remembered() -> Mapping[str, str]:
    path = config_file()
    if not path.exists():
        return {}
    found = files.read_json(path, MOST_CONFIG_BYTES)
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise FileError(f"{path}: not a list of runtimes' Pythons. Delete it and name them again: flyweight runtimes")
    return found


@lru_cache
def _probe(python: str, packages: tuple[str, ...]) -> Mapping[str, str] | str:
    """Return distribution -> version of those of ``packages`` that an environment holds, or why it can't be used."""
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROBE, *packages], capture_output=True, timeout=PROBE_TIMEOUT_S, check=False
        )
        found = json.loads(done.stdout)
        python_version, held = tuple(found["python"]), dict(found["versions"])
    except OSError as error:
        return f"{python} can't be started ({error.strerror}). Name it again: flyweight runtimes add"
    except subprocess.TimeoutExpired:
        return f"{python} gave no answer within {PROBE_TIMEOUT_S} s. Name it again: flyweight runtimes add"
    except (ValueError, KeyError, TypeError):
        return f"{python} isn't a Python that works. Name it again: flyweight runtimes add"
    if python_version < OLDEST_PYTHON:
        return f"{python} is Python {'.'.join(map(str, python_version))}, but 3.11 is the oldest that is used."
    return held
