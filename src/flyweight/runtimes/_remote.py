"""Running an artifact in its runtime's own environment, where its package can't be imported here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flyweight.contracts import Artifact, Predict
from flyweight.errors import ExportError, FileError
from flyweight.runtimes import _artifact
from flyweight.runtimes._elsewhere import start

if TYPE_CHECKING:
    from flyweight.contracts import Array

LOAD_TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 300.0


def remote(runtime: str, artifact: Artifact, threads: int) -> Predict:
    """Return a function on ``(n, C, H, W)`` that hands each image to a process over a pipe.

    The process lives as long as the function does. What it computes is the artifact's; the time that it takes has the
    pipe's in it, so measuring starts a process of Flyweight's own over there instead.

    Raises:
        FileError: the artifact can't be loaded over there.
        RuntimeMissingError: there is no such environment.
    """
    worker = start(runtime)
    shapes = {"input_shape": list(artifact.input_shape), "output_shape": list(artifact.output_shape)}
    try:
        path = str(artifact.files[0].absolute())
        worker.ask("load", {"path": path, "threads": threads, **shapes}, timeout_s=LOAD_TIMEOUT_S)
    except ExportError as error:
        worker.stop()
        raise FileError(f"{artifact.files[0]}: {error}") from error

    def run(image: Array) -> Array:
        try:
            _, found = worker.ask("run", {}, {"input": image}, timeout_s=RUN_TIMEOUT_S)
        except ExportError as error:
            raise FileError(f"{artifact.files[0]}: {error}") from error
        out = found.get("output", np.zeros(0))
        if out.shape != tuple(artifact.output_shape) or out.dtype != np.float32:
            raise FileError(f"{artifact.files[0]}: gives {out.dtype} {out.shape}, which was not exported.")
        return out

    return _artifact.one_by_one(artifact, run)
