"""Every registered runtime keeps the runtimes' contract; one that is not installed is skipped, by its own reason."""

import pytest

from flyweight.runtimes import RUNTIMES
from flyweight.testing import RuntimeContract


def _usable_or_skipped(name: str) -> object:
    runtime = RUNTIMES.get(name)
    reason = runtime.missing() or ("Core ML is converted here, never run" if name == "coreml" else None)
    return pytest.param(runtime, id=name, marks=[pytest.mark.skip(reason=reason)] if reason else [])


@pytest.mark.parametrize("runtime", [_usable_or_skipped(name) for name in RUNTIMES.names()], scope="class")
class TestEveryRuntime(RuntimeContract):
    """The contract, per member."""


def test_onnxruntime_is_usable_wherever_the_tests_run() -> None:
    assert RUNTIMES.get("onnxruntime").missing() is None


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_runtime_is_registered_under_its_own_name(name: str) -> None:
    assert RUNTIMES.get(name).name == name


@pytest.mark.parametrize("name", RUNTIMES.names())
def test_missing_runtime_tells_what_to_install(name: str) -> None:
    reason = RUNTIMES.get(name).missing()
    assert reason is None or (name in reason and "pip install" in reason)
