"""tools/check_layers.py on tiny made trees: each rule is broken once and must be told of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools import check_layers

ROOT = Path(__file__).resolve().parents[2]
FAMILY_INIT = "from flyweight.family import Family\n"


def problems(root: Path, **sources: str) -> list[str]:
    """Check a package of these modules; ``blocks__separable`` is the file blocks/separable.py."""
    for name in ("__init__", *sources):
        path = root / "src" / "flyweight" / (name.replace("__", "/") + ".py" if name != "__init__" else "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(sources.get(name, ""))
    return check_layers.check(check_layers.find_modules(root / "src"))


def package(root: Path, name: str, init: str = "") -> None:
    folder = root / "src" / "flyweight" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(init)


def test_import_from_a_row_below_is_allowed(tmp_path: Path) -> None:
    assert (
        problems(tmp_path, errors="", spec="from flyweight.errors import SpecError", profile="import flyweight.spec")
        == []
    )


def test_import_from_a_row_above_fails_and_names_file_line_and_both_modules(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, errors="", spec="x = 1\nfrom flyweight.build import build", build="")
    assert "spec.py:2: flyweight.spec imports flyweight.build, which is in a row above" in found


def test_import_of_a_sibling_fails(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, build="", trace="import flyweight.build")
    assert "flyweight.trace imports flyweight.build, which is a sibling on its row" in found


def test_lazy_import_counts(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, build="", spec="def f():\n    from flyweight import build")
    assert "spec.py:2" in found and "row above" in found


def test_import_under_type_checking_counts(tmp_path: Path) -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from flyweight.build import build"
    (found,) = problems(tmp_path, build="", spec=source)
    assert "spec.py:3" in found and "row above" in found


def test_relative_import_is_resolved(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, build="", spec="from .build import build")
    assert "flyweight.spec imports flyweight.build" in found


def test_relative_import_in_a_package_is_resolved_from_the_package(tmp_path: Path) -> None:
    package(tmp_path, "blocks", "from ._layers import conv\nfrom ..build import build")
    (found,) = problems(tmp_path, blocks___layers="", build="")
    assert "blocks/__init__.py:2: flyweight.blocks imports flyweight.build, which is in a row above" in found


def test_import_by_a_name_in_import_module_counts(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, build="", spec="import importlib\nimportlib.import_module('flyweight.build')")
    assert "spec.py:2" in found and "row above" in found


@pytest.mark.parametrize("source", ["import flyweight", "from flyweight import __version__", "from . import slim"])
def test_import_of_the_package_root_fails(tmp_path: Path, source: str) -> None:
    (found,) = problems(tmp_path, spec=source)
    assert "spec.py:1: flyweight.spec imports flyweight: the package root" in found


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "from torch import nn",
        "def f():\n    import torch.nn as nn",
        "from safetensors.torch import save",
    ],
)
def test_torch_fails_in_a_module_that_may_not(tmp_path: Path, source: str) -> None:
    (found,) = problems(tmp_path, spec=source)
    assert "but may not import torch" in found


def test_torch_is_allowed_in_a_module_of_a_folder_that_may(tmp_path: Path) -> None:
    package(tmp_path, "blocks")
    assert problems(tmp_path, blocks__separable="import torch", build="from torch import nn") == []


def test_torch_is_allowed_under_type_checking_but_not_in_its_else_branch(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"
    assert problems(tmp_path, spec=typed) == []
    (found,) = problems(tmp_path, spec=typed + "else:\n    import torch")
    assert "spec.py:5" in found


def test_a_circle_within_a_folder_fails_and_is_spelt_out(tmp_path: Path) -> None:
    package(tmp_path, "report")
    (found,) = problems(
        tmp_path, report__value="from flyweight.report import page", report__page="import flyweight.report.value"
    )
    assert "circle" in found and "flyweight.report.value" in found and "flyweight.report.page" in found


def test_members_of_a_family_do_not_see_each_other(tmp_path: Path) -> None:
    package(tmp_path, "runtimes", FAMILY_INIT)
    (found,) = problems(
        tmp_path, family="", runtimes__ncnn="", runtimes__onnxruntime="from flyweight.runtimes.ncnn import f"
    )
    assert "flyweight.runtimes.onnxruntime imports flyweight.runtimes.ncnn: members of a family" in found


def test_helper_of_a_family_does_not_see_the_members(tmp_path: Path) -> None:
    package(tmp_path, "runtimes", FAMILY_INIT)
    (found,) = problems(tmp_path, family="", runtimes__ncnn="", runtimes___x="from flyweight.runtimes import ncnn")
    assert "flyweight.runtimes._x imports flyweight.runtimes.ncnn: members of a family" in found


def test_members_of_a_family_see_its_underscore_helpers(tmp_path: Path) -> None:
    package(tmp_path, "runtimes", FAMILY_INIT)
    assert problems(tmp_path, family="", runtimes___x="", runtimes__ncnn="from flyweight.runtimes._x import f") == []


def test_modules_of_a_folder_that_is_no_family_see_each_other(tmp_path: Path) -> None:
    package(tmp_path, "report", "from flyweight.report.value import Report")
    assert problems(tmp_path, report__value="", report__page="from flyweight.report.value import Report") == []


def test_module_without_a_row_fails(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, wizardry="")
    assert "'wizardry' has no row" in found


def test_file_of_501_lines_fails_and_of_500_does_not(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_long.py").write_text("x = 1\n" * 500)
    assert check_layers.check_lengths(tmp_path) == []
    (tmp_path / "tests" / "test_long.py").write_text("x = 1\n" * 501)
    (found,) = check_layers.check_lengths(tmp_path)
    assert "501 lines, but at most 500" in found


def test_the_command_exits_with_1_and_prints_the_problem(tmp_path: Path) -> None:
    problems(tmp_path, spec="import torch")
    done = subprocess.run(
        [sys.executable, check_layers.__file__, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "may not import torch" in done.stdout) == (1, True)


def test_a_tree_without_modules_is_an_error_not_a_pass(tmp_path: Path) -> None:
    assert check_layers.main([str(tmp_path)]) == 1


def test_this_project_keeps_its_layers() -> None:
    assert check_layers.check(check_layers.find_modules(ROOT / "src")) + check_layers.check_lengths(ROOT) == []
