"""The package as it is installed: its public face, its metadata, its wheel."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import flyweight
from flyweight.environments import NEEDS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNLOCKED = ("coreml", "litert")  # extras that make and CI don't install, nor does the extra "all"
HEAVY = ("torch", "onnx", "onnxruntime", "openvino", "MNN", "ncnn", "numpy", "PIL", "rich")


def modules_after(statement: str) -> set[str]:
    """Return what a fresh Python has imported after the statement."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_flyweight_loads_none_of_the_heavy_packages() -> None:
    assert modules_after("import flyweight").isdisjoint(HEAVY)


def test_import_of_the_command_line_loads_none_of_the_heavy_packages() -> None:
    assert modules_after("import flyweight.cli").isdisjoint(HEAVY)


@pytest.mark.parametrize("module", ["errors", "files", "family", "spec", "graph", "contracts", "report"])
def test_torch_free_modules_do_not_load_torch(module: str) -> None:
    assert "torch" not in modules_after(f"import flyweight.{module}")


@pytest.mark.parametrize("name", flyweight.__all__)
def test_public_name_can_be_had(name: str) -> None:
    assert getattr(flyweight, name) is not None


def test_unknown_public_name_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(AttributeError, match=r"no 'slimm'.* slim, "):
        _ = flyweight.slimm


def declared(*extras: str) -> set[str]:
    """Return the names of the packages that the core, or these extras, require."""
    texts = [text for extra in extras for text in PROJECT["optional-dependencies"][extra]]
    return {canonicalize_name(Requirement(text).name) for text in texts or PROJECT["dependencies"]}


def imported() -> set[str]:
    """Return the names of the packages outside the standard library that the source imports, lazily or not."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    outside = found - sys.stdlib_module_names - {"flyweight"}
    owners = packages_distributions()
    return {canonicalize_name(owner) for name in outside for owner in owners.get(name, [name])}


def test_every_imported_package_is_declared() -> None:
    # pytest: flyweight.testing offers its contract tests to projects that run pytest already
    elsewhere = {name for needs in NEEDS.values() for name in needs.packages}  # in environments of their own
    extras = declared("onnxruntime", "ncnn", "openvino", "mnn", "samples", *UNLOCKED)
    assert imported() - declared() - extras - elsewhere - {"pytest"} == set()


def test_every_core_dependency_is_imported() -> None:
    assert declared() - imported() == set()


def test_lock_holds_every_direct_dependency_but_torch_which_has_its_own() -> None:
    locked = {line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line}
    wanted = declared() | declared("onnxruntime", "ncnn", "openvino", "mnn", "samples", "dev")
    assert wanted - locked == {"torch", "flyweight"}  # flyweight: the extra dev names the extra all
    assert "torch==" in (ROOT / "requirements-torch.lock").read_text()


def test_locked_versions_are_within_the_declared_ranges() -> None:
    lines = [
        *(ROOT / "requirements.lock").read_text().splitlines(),
        *(ROOT / "requirements-torch.lock").read_text().splitlines(),
    ]
    locked = dict(line.removesuffix(" \\").split("==") for line in lines if "==" in line)
    extras = [texts for extra, texts in PROJECT["optional-dependencies"].items() if extra not in UNLOCKED]
    texts = [PROJECT["dependencies"], *extras]
    ranges = [Requirement(text) for group in texts for text in group]
    outside = [str(r) for r in ranges if r.name != "flyweight" and locked[canonicalize_name(r.name)] not in r.specifier]
    assert outside == []


def test_locks_name_no_host() -> None:
    text = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-torch.lock").read_text()
    assert "://" not in text and "--index" not in text and "--find-links" not in text


def test_dependencies_page_names_every_direct_dependency() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text().lower()
    wanted = declared() | declared("onnxruntime", "ncnn", "openvino", "mnn", "samples", "dev", *UNLOCKED) - {
        "flyweight"
    }
    assert {name for name in wanted if f"| {name} |" not in page} == set()  # its own row in a table


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy of the sources, with the setuptools that is installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so"))
    shutil.copytree(ROOT / "decoder", folder / "decoder")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, f"--wheel-dir={folder}", str(folder)], check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("flyweight-*.whl")))


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    files = [path for path in (ROOT / "src" / "flyweight").rglob("*") if path.is_file()]
    files = [path for path in files if path.suffix not in (".pyc", ".so")]
    wanted = {path.relative_to(ROOT / "src").as_posix() for path in files}
    assert wanted - set(wheel.namelist()) == set()
    assert "flyweight/py.typed" in wanted


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: the C decoder is not built")
def test_wheel_holds_the_compiled_decoder(wheel: zipfile.ZipFile) -> None:
    assert len([name for name in wheel.namelist() if name.startswith("flyweight/codec/_flydec.")]) == 1


@pytest.mark.slow
def test_wheel_holds_the_licence_and_says_apache(wheel: zipfile.ZipFile) -> None:
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    assert "License-Expression: Apache-2.0" in wheel.read(metadata).decode()
    (licence,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()


@pytest.mark.slow
def test_wheel_has_the_version_and_the_command(wheel: zipfile.ZipFile) -> None:
    (entry_points,) = [name for name in wheel.namelist() if name.endswith(".dist-info/entry_points.txt")]
    assert entry_points == f"flyweight-{flyweight.__version__}.dist-info/entry_points.txt"
    assert "flyweight = flyweight.cli:main" in wheel.read(entry_points).decode()
