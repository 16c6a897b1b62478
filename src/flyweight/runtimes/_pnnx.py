"""PyTorch to ncnn's float files, by pnnx's own program.

pnnx's Python functions only trace, save and call that program; doing the same here keeps the working files in a folder
that vanishes and its chatter out of the terminal.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import warnings
from pathlib import Path

from flyweight.contracts import Candidate
from flyweight.errors import ExportError, RuntimeMissingError
from flyweight.runtimes import _artifact

TIMEOUT_S = 600


def to_ncnn(candidate: Candidate) -> tuple[str, bytes]:
    """Return ncnn's param text and weights of a candidate: float32, or half precision where it asks for it.

    Raises:
        ExportError: it can't be traced or converted.
    """
    with _artifact.scratch() as folder:
        _trace(candidate, folder / "model.pt")
        shape = ",".join(map(str, candidate.input_shape))
        command = [str(_program()), "model.pt", f"inputshape=[{shape}]f32", f"fp16={int(candidate.half)}"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"ncnn can't express this network: pnnx did not end within {TIMEOUT_S} s.") from error
        param, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        if done.returncode or not param.exists() or not weights.exists():
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
            raise ExportError(f"ncnn can't express this network: pnnx ended with {done.returncode}. It wrote:\n{said}")
        return param.read_text(), weights.read_bytes()


def _trace(candidate: Candidate, path: Path) -> None:
    import torch

    try:
        with torch.no_grad(), warnings.catch_warnings():
            # shapes are fixed on purpose, and the tracer itself is deprecated in torch, but pnnx reads nothing else
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            warnings.simplefilter("ignore", DeprecationWarning)
            example = torch.zeros(candidate.input_shape)
            traced = torch.jit.trace(candidate.module, example, check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(traced, str(path))
    except OSError:
        raise
    except Exception as error:  # whatever the network or the tracer raises
        raise ExportError(
            f"ncnn can't express this network: torch can't trace it ({type(error).__name__}: {error})"
        ) from error


def _program() -> Path:
    spec = importlib.util.find_spec("pnnx")
    places = list(spec.submodule_search_locations or []) if spec else []
    for place in places:
        program = Path(place, "pnnx.exe" if os.name == "nt" else "pnnx")
        if program.is_file():
            return program
    raise RuntimeMissingError("runtime 'ncnn' needs pnnx's program. Install it with: pip install \"flyweight[ncnn]\"")
