"""What is particular to ExecuTorch; its contract is kept in tests/contracts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flyweight.contracts import Measurement
from flyweight.errors import ExportError
from flyweight.runtimes.executorch import ExecuTorch, _notes
from tests.runtimes import nets

RUNTIME = ExecuTorch()


def test_operators_outside_xnnpack_are_told_by_name_and_number() -> None:
    assert _notes(1, {}) == ()
    told = _notes(14, {"aten.split_with_sizes_copy.default": 13})
    assert told == ("XNNPACK runs it in 14 parts; outside: 13× aten.split_with_sizes_copy.default",)


@pytest.mark.skipif(RUNTIME.missing() is not None, reason=str(RUNTIME.missing()))
def test_other_precisions_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="runtime 'executorch' has no fp16 here, only fp32"):
        RUNTIME.export(replace(nets.small(), half=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(RUNTIME.missing() is not None, reason=str(RUNTIME.missing()))
def test_artifact_is_timed_in_its_own_environment(tmp_path: Path) -> None:
    from flyweight.measure import measure_group

    artifact = RUNTIME.export(nets.small(), tmp_path)
    (found,) = measure_group([artifact], 1, 20)
    assert isinstance(found, Measurement), found
    assert found.median_ms > 0
    assert found.runtime_version == RUNTIME.version()
