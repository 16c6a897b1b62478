"""tools/install_size.py: what is counted, and for whom."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, PathDistribution, version
from pathlib import Path

import pytest

from tools import claims, install_size


def distribution(folder: Path, *files: tuple[str, int]) -> PathDistribution:
    """Make an installed package of files of these many bytes."""
    info = folder / "made-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: made\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{name},,\n" for name, _ in files))
    for name, size in files:
        (folder / name).write_bytes(b"x" * size)
    return PathDistribution(info)


def test_size_is_the_sum_of_the_listed_files(tmp_path: Path) -> None:
    assert install_size.size_bytes(distribution(tmp_path, ("a.py", 100), ("b.so", 23))) == 100 + 23


def test_listed_file_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    package = distribution(tmp_path, ("a.py", 100), ("b.so", 23))
    (tmp_path / "b.so").unlink()
    assert install_size.size_bytes(package) == 100


def test_requirements_of_requirements_are_found() -> None:
    found = install_size.requirements_of(["rich"])
    assert {"rich", "markdown-it-py", "mdurl", "pygments"} <= found  # rich -> markdown-it-py -> mdurl


def needs_metadata() -> None:
    """Skip where Flyweight runs from its sources and was never installed."""
    try:
        version("flyweight")
    except PackageNotFoundError:
        pytest.skip("flyweight is not installed here (`make install` does it)")


def test_requirements_of_an_extra_are_left_out_unless_it_is_asked_for() -> None:
    needs_metadata()
    plain, extra = (install_size.requirements_of([name]) for name in ("flyweight", "flyweight[samples]"))
    assert extra - plain == {"basemap-data"}


def test_the_result_is_a_claim_that_the_claims_table_reads(tmp_path: Path) -> None:
    needs_metadata()
    assert install_size.main(["--out", str(tmp_path / "install_size.json")]) == 0
    (claim,) = claims.read_result(tmp_path / "install_size.json")["claims"]
    packages = json.loads((tmp_path / "install_size.json").read_text())["packages"]
    core = sum(p["mb"] for p in packages if p["part"] == "core")
    assert claim["value"] == pytest.approx(core, abs=0.06)  # rounded to 0.1


def test_core_stays_below_200_mb() -> None:
    needs_metadata()
    assert install_size.measure()["claims"][0]["holds"]


def test_each_package_is_counted_once() -> None:
    needs_metadata()
    names = [p["package"] for p in install_size.measure()["packages"]]
    assert len(names) == len(set(names))
