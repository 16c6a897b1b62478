"""Named tensors out of a file that may come from anybody: nothing in it is executed, and its size is checked first."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError  # only the name of what torch.load raises: weights_only=True unpickles no code
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flyweight import files
from flyweight.errors import FileError

MAX_BYTES = 2**32
_READ_BY_TORCH = (".pth", ".pt", ".bin", ".tar", ".ckpt")
_WRAPPER = "module."  # torch.nn.DataParallel puts this before every name


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file of safetensors or of ``torch.save``, by name.

    A checkpoint that holds one state dict among other things gives that one; a common ``module.`` is taken off.

    Raises:
        FileError: missing, too large, damaged, or not such a file.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise files.file_error(path, "read", error) from error
    if size > MAX_BYTES:
        raise FileError(f"{path}: {size} bytes, but at most {MAX_BYTES} are read. Is it the right file?")
    if path.suffix == ".safetensors":
        tensors = _read_safetensors(path)
    elif path.suffix in _READ_BY_TORCH:
        tensors = _state_dict(_read_pickled(path), path)
    else:
        raise FileError(f"{path}: ends in '{path.suffix}'; allowed are .safetensors, {', '.join(_READ_BY_TORCH)}.")
    if all(name.startswith(_WRAPPER) for name in tensors):
        tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in tensors.items()}
    return tensors


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 (not a mapping)
    except OSError as error:
        raise files.file_error(path, "read", error) from error
    except SafetensorError as error:
        raise FileError(f"{path}: damaged, or not of safetensors ({error}).") from error


def _read_pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols; what can't be read is an error in any case
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise FileError(
            f"{path}: damaged, or it holds more than plain tensors, which could run code and is not read. "
            "Where you trust it, load it with torch and save its state_dict() alone."
        ) from error
    except OSError as error:
        raise files.file_error(path, "read", error) from error
    except (RuntimeError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise FileError(f"{path}: damaged, or not a file of torch.save ({type(error).__name__}: {error}).") from error


def _state_dict(loaded: Any, path: Path) -> dict[str, Tensor]:
    """Return what is a state dict in a checkpoint: itself, or the only one of its entries that is."""
    if _is_state_dict(loaded):
        return dict(loaded)
    entries = loaded if isinstance(loaded, Mapping) else {}
    inside = {str(name): value for name, value in entries.items() if _is_state_dict(value)}
    if len(inside) == 1:
        return dict(next(iter(inside.values())))
    if inside:
        raise FileError(f"{path}: several state dicts: {', '.join(inside)}. Save the one that you want alone.")
    raise FileError(f"{path}: no state dict: a {type(loaded).__name__}. Save the model's state_dict().")


def _is_state_dict(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(item, Tensor) for name, item in value.items())
    )
