"""Making an artifact in its runtime's own environment, and running it there where it can't be run here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.contracts import Artifact, Candidate, Predict, Runtime
from flyweight.errors import ExportError, FileError
from flyweight.runtimes import _artifact
from flyweight.runtimes._elsewhere import start
from flyweight.runtimes._torch import check_parity, probes, torch_outputs

if TYPE_CHECKING:
    from flyweight.contracts import Array

LOAD_TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 300.0


def exported(
    runtime: Runtime,
    candidate: Candidate,
    folder: Path,
    file: str,
    settings: Mapping[str, Any],
    notes_of: Callable[[Mapping[str, Any]], Sequence[str]],
    beside: Mapping[str, Array] | None = None,
) -> Artifact:
    """Write ``file``, made over there, and its description ``file.json``; only what passed the parity check stays.

    Args:
        settings: of the conversion. beside: arrays that it needs beside the network's tensors.
        notes_of: what is to be told of the worker's answer.

    Raises:
        ExportError: the network can't be expressed or converted.
        ParityError: the artifact computes something else than PyTorch.
        FileError: the folder can't be written to.
        RuntimeMissingError: there is no environment, or it lacks a package.
    """
    from flyweight.runtimes._program import to_plain

    inputs = probes(candidate)
    shape = (1, *torch_outputs(candidate, inputs).shape[1:])
    plain, tensors = to_plain(candidate, runtime.name)
    with start(runtime.name) as worker:
        answer, made = worker.ask("export", {"plain": plain, **settings}, {**tensors, **(beside or {})})
    told = {**_artifact.metadata(candidate), "input": "(1, C, H, W)", "output": list(shape)}
    contents = {
        file: np.asarray(made[file], np.uint8).tobytes(),
        f"{file}.json": (json.dumps(told, indent=1, ensure_ascii=False) + "\n").encode(),
    }
    notes, version = notes_of(answer), runtime.version()
    with _artifact.scratch() as draft:
        drafted = _artifact.publish(draft, contents, candidate, runtime.name, shape, {}, notes, version)
        check_parity(candidate, drafted, runtime, inputs)
    return _artifact.publish(folder, contents, candidate, runtime.name, shape, {}, notes, version)


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
