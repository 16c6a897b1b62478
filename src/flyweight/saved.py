"""A trained network as one safetensors file: weights, and in its header the spec, the preprocessing and the history."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from flyweight import files
from flyweight.build import build
from flyweight.contracts import Candidate, Change, Preprocessing
from flyweight.errors import FileError, UsageError
from flyweight.narrow import check_built_by, narrow
from flyweight.spec import ArchSpec

SAVED_VERSION = "1"
MAX_BYTES = 2**32


def save_candidate(path: Path, candidate: Candidate, extra: dict[str, Any] | None = None) -> None:
    """Write weights, spec, preprocessing and history to ``path``, wholly or not at all; ``extra`` is kept beside them.

    Raises:
        UsageError: the candidate has no spec, or other layers than its spec builds (folded norms), so that its network
            could not be built again. Layers may be narrower: channels were taken out.
        FileError: the file can't be written.
    """
    if candidate.spec is None:
        raise UsageError("only a network built from a spec can be saved with its architecture; this module has none.")
    check_built_by(candidate.module, candidate.spec)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in candidate.module.state_dict().items()}
    header = {
        "flyweight": SAVED_VERSION,
        "spec": candidate.spec.dumps(),
        "preprocessing": json.dumps(candidate.preprocessing.to_json()),
        "history": json.dumps([_change_json(change) for change in candidate.history]),
        "extra": json.dumps(extra or {}),
    }
    files.write_bytes(path, save(tensors, metadata=header))


def load_candidate(path: Path) -> tuple[Candidate, dict[str, Any]]:
    """Read what ``save_candidate`` wrote: the candidate, and what was kept beside it.

    Raises:
        FileError: missing, damaged, or of another network than its header says.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(
                f"{path}: {path.stat().st_size} bytes, but at most {MAX_BYTES} are read. Is it the right file?"
            )
        with safe_open(path, framework="pt") as handle:
            header = dict(handle.metadata() or {})
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a mapping)
        if header.get("flyweight") != SAVED_VERSION:
            raise FileError(f"{path}: not a network that Flyweight {SAVED_VERSION} saved.")
        spec = ArchSpec.loads(header["spec"])
        module = build(spec)
        narrow(module, spec, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        module.load_state_dict(tensors)
        history = tuple(_change(item) for item in json.loads(header["history"]))
        preprocessing = Preprocessing.from_json(json.loads(header["preprocessing"]))
        return Candidate(module.eval(), preprocessing, spec, history), dict(json.loads(header["extra"]))
    except OSError as error:
        raise files.file_error(path, "read", error) from error
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FileError(f"{path}: damaged or not a saved network ({type(error).__name__}: {error}).") from error


def fresh_candidate(spec: ArchSpec, preprocessing: Preprocessing, seed: int) -> Candidate:
    """Return a newly built, untrained candidate."""
    with torch.no_grad():
        return Candidate(build(spec, seed), preprocessing, spec)


def candidate_from_function(name: str, resolution: int) -> Candidate:
    """Return the module that a user's function makes, as a candidate at ``resolution`` x ``resolution`` pixels.

    Args:
        name: ``file.py:function``. The file is executed: give only your own.

    Raises:
        FileError, UsageError: no such file or function, or it returns no ``nn.Module``.
    """
    file, _, function = name.rpartition(":")
    if not Path(file).is_file():
        raise FileError(f"{file}: it does not exist. Check the path before ':{function}'.")
    loader = importlib.util.spec_from_file_location("flyweight_user_model", file)
    if loader is None or loader.loader is None:
        raise UsageError(f"{file}: not a Python file.")
    module = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(module)
    if not callable(make := getattr(module, function, None)):
        raise UsageError(f"{file} has no function '{function}'. Give the name of one that returns an nn.Module.")
    network = make()
    if not isinstance(network, nn.Module):
        raise UsageError(f"{name} returned a {type(network).__name__}, but must return an nn.Module.")
    return Candidate(network.eval(), Preprocessing(resolution, resolution))


def _change_json(change: Change) -> dict[str, Any]:
    return {
        "transform": change.transform, "settings": dict(change.settings), "layers": list(change.layers),
        "before": change.before, "after": change.after,
    }  # fmt: skip


def _change(data: dict[str, Any]) -> Change:
    return Change(data["transform"], data["settings"], tuple(data["layers"]), data["before"], data["after"])
