from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from flyweight.contracts import Artifact, Candidate, Precision, Runtime
from flyweight.errors import ParityError
from flyweight.runtimes._torch import check_parity
from tests.runtimes import nets


@dataclass
class Shifted:
    """A runtime that computes PyTorch's outputs plus a constant."""

    candidate: Candidate
    shift: float
    name: str = "shifted"
    rtol: float = 1e-3

    def load(self, artifact: Artifact, threads: int) -> Any:
        return lambda inputs: nets.outputs(self.candidate, inputs) + np.float32(self.shift)

    def intermediates(self, artifact: Artifact, image: Any) -> tuple[Any, ...]:
        return ()


def compare(share: float, precision: Precision = "fp32") -> tuple[float, float]:
    candidate, inputs = nets.small(), nets.images()
    largest = float(np.abs(nets.outputs(candidate, inputs)).max())
    artifact = Artifact(
        "shifted", "1", precision, (Path("a"),), 0, "", (1, 3, 32, 32), (1, 3, 32, 32), candidate.preprocessing
    )
    return check_parity(candidate, artifact, cast("Runtime", Shifted(candidate, share * largest)), inputs)


def test_difference_is_relative_to_the_largest_output() -> None:
    assert compare(5e-4) == (pytest.approx(5e-4, rel=0.01), pytest.approx(5e-4, rel=0.01))


def test_float_artifact_that_differs_is_an_error() -> None:
    with pytest.raises(ParityError, match=r"shifted is allowed 0\.001"):
        compare(2e-3)


def test_int8_artifact_may_differ() -> None:
    assert compare(0.1, "int8")[0] == pytest.approx(0.1, rel=0.01)


def test_nan_is_an_error_in_int8_too() -> None:
    with pytest.raises(ParityError, match="NaN"):
        compare(float("nan"), "int8")


def test_outputs_of_another_shape_are_an_error() -> None:
    candidate = nets.small()

    class Cropped(Shifted):
        def load(self, artifact: Artifact, threads: int) -> Any:
            def predict(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
                return nets.outputs(candidate, inputs)[..., :-1]

            return predict

    artifact = Artifact("c", "1", "fp32", (Path("a"),), 0, "", (1, 3, 32, 32), (1, 3, 32, 32), candidate.preprocessing)
    with pytest.raises(ParityError, match=r"\(4, 3, 32, 31\)"):
        check_parity(candidate, replace(artifact), cast("Runtime", Cropped(candidate, 0.0)), nets.images())
