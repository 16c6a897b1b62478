"""What the exporters need of PyTorch: the network's own outputs, and the check that an artifact computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from flyweight.contracts import Artifact, Candidate, Runtime
from flyweight.errors import ExportError, ParityError
from flyweight.runtimes._departure import explained

if TYPE_CHECKING:
    from flyweight.contracts import Array

PROBES = 2


def probes(candidate: Candidate, count: int = PROBES) -> Array:
    """Return inputs ``(count, C, H, W)`` to compare on: the calibration's first ones, else noise of a fixed seed."""
    if candidate.quantization is not None:
        return np.asarray(candidate.quantization.calibration[:count], dtype=np.float32)
    noise = np.random.default_rng(0).standard_normal((count, *candidate.input_shape[1:]))
    return noise.astype(np.float32)


def torch_outputs(candidate: Candidate, inputs: Array) -> Array:
    """Return what the PyTorch module computes for ``inputs`` ``(n, C, H, W)``.

    Raises:
        ExportError: it raises, or gives anything but one finite float32 tensor whose first dimension is the batch.
    """
    import torch

    try:
        with torch.inference_mode():
            out = candidate.module(torch.from_numpy(inputs))
    except Exception as error:  # whatever the user's network raises
        raise ExportError(
            f"the network can't be run on input {inputs.shape}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(out, torch.Tensor) or out.dtype != torch.float32 or out.ndim < 1 or len(out) != len(inputs):
        found = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, torch.Tensor) else type(out).__name__
        raise ExportError(f"the network gives {found}; it must give one float32 tensor for {len(inputs)} images.")
    if not torch.isfinite(out).all():
        raise ExportError("the network's own outputs hold NaN or infinity. Was it trained? Did training diverge?")
    return cast("Array", out.numpy())


def check_parity(candidate: Candidate, artifact: Artifact, runtime: Runtime, inputs: Array) -> tuple[float, float]:
    """Compare an artifact with the PyTorch module on ``inputs`` ``(n, C, H, W)``.

    Returns:
        Largest and mean absolute difference, each over PyTorch's largest absolute output.

    Raises:
        ParityError: a float artifact differs by more than the runtime's ``rtol``; or any gives NaN or another shape.
    """
    wanted = torch_outputs(candidate, inputs)
    found = runtime.load(artifact, 1)(inputs)
    if found.shape != wanted.shape:
        raise ParityError(f"{artifact.files[0].name}: outputs are {found.shape}, PyTorch's are {wanted.shape}.")
    scale = float(np.abs(wanted).max()) or 1.0
    difference = np.abs(found - wanted) / scale
    largest, mean = float(difference.max()), float(difference.mean())
    if not np.isfinite(largest):
        said = f"{artifact.files[0].name}: outputs hold NaN or infinity, PyTorch's don't."
        raise ParityError(f"{said} {explained(candidate, artifact, runtime, inputs)}".strip())
    if artifact.precision == "fp32" and largest > runtime.rtol:
        worst = int(difference.reshape(len(inputs), -1).max(1).argmax())
        said = (
            f"{artifact.files[0].name}: differs from PyTorch by {largest:.2g} of the largest output; "
            f"{runtime.name} is allowed {runtime.rtol:.0g}."
        )
        raise ParityError(f"{said} {explained(candidate, artifact, runtime, inputs[worst : worst + 1])}".strip())
    return largest, mean
