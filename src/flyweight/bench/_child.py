"""The exporting process: ``python -m flyweight.bench._child`` reads one model's jobs, and writes an answer to each.

It is a process of its own, since converters crash, too, and because each of them leaves its memory and threads behind.
Whoever asks finds in the folder of each job ``answer.json``: the last thing that is written. A job without it is the
one that the process died of. Beside the artifact lie the inputs that it is judged by, and PyTorch's outputs for them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files, flow
from flyweight.bench._images import inputs_of
from flyweight.errors import FlyweightError, UsageError
from flyweight.evaluate import torch_predict

if TYPE_CHECKING:
    from flyweight.contracts import Candidate

ANSWER, INPUTS, REFERENCE = "answer.json", "inputs.npy", "reference.npy"


def main(request: Mapping[str, Any]) -> None:
    """Do what is asked; what goes wrong on purpose is an answer too."""
    opened: Candidate | FlyweightError
    try:
        opened = flow.open_model(request["model"], resolution=request["resolution"], classes=request["classes"])
    except FlyweightError as error:
        opened = error
    for job in request["jobs"]:
        try:
            answer = _exported(opened, job, request)
        except FlyweightError as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        files.write_json(Path(job["folder"]) / ANSWER, answer)


def _exported(
    candidate: Candidate | FlyweightError, job: Mapping[str, Any], request: Mapping[str, Any]
) -> dict[str, Any]:
    if isinstance(candidate, FlyweightError):
        raise candidate
    _check(candidate, request["model"], job["precision"])
    data, folder = request["data"], Path(job["folder"])
    (artifact,) = flow.export(candidate, folder, (job["runtime"],), precision=job["precision"], data=data)
    inputs, told = inputs_of(candidate.preprocessing, data, request["images"], sample=request["sample"])
    predict = torch_predict(candidate.module)
    reference = np.concatenate([predict(inputs[index : index + 1]) for index in range(len(inputs))])
    np.save(folder / INPUTS, inputs, allow_pickle=False)
    np.save(folder / REFERENCE, reference, allow_pickle=False)
    spec = candidate.spec.to_json() if candidate.spec else None
    return {"artifact": artifact.to_json(), "inputs": told, "spec": spec}


def _check(candidate: Candidate, model: str, precision: str) -> None:
    if candidate.quantization and precision != "int8":
        raise UsageError(f"'{model}' is quantized to int8 already. For {precision}, take the rung that it comes from.")


if __name__ == "__main__":
    os.dup2(2, 1)  # what a converter prints must not mix with anything
    main(json.loads(sys.stdin.buffer.read()))
