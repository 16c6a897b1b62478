"""What every runtime does alike: find its packages, describe its files, check its inputs. No torch."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight import files
from flyweight.contracts import Artifact, Candidate, Precision, Predict
from flyweight.errors import ExportError, FileError, RuntimeMissingError, UsageError
from flyweight.graph import Graph, Node

if TYPE_CHECKING:
    from flyweight.contracts import Array


def missing_packages(runtime: str, packages: Iterable[str]) -> str | None:
    """Return None where all packages are installed, else what to install; nothing is imported."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    if not absent:
        return None
    return f"runtime '{runtime}' needs {' and '.join(absent)}. Install it with: pip install \"flyweight[{runtime}]\""


def require(reason: str | None) -> None:
    """Raise RuntimeMissingError where ``missing`` gave a reason."""
    if reason:
        raise RuntimeMissingError(reason)


def check_precision(runtime: str, precisions: Sequence[Precision], candidate: Candidate) -> None:
    """Raise ExportError where a candidate asks for a precision that a runtime has not."""
    if candidate.precision not in precisions:
        offered = " and ".join(precisions)
        raise ExportError(f"runtime '{runtime}' has no {candidate.precision} here, only {offered}. Choose another.")


def metadata(candidate: Candidate) -> dict[str, str]:
    """Return what an artifact tells of itself, as texts: version, precision, preprocessing, classes, spec."""
    texts = {
        # the package root is loaded before any of its modules; it is read here, not imported
        "flyweight.version": str(vars(sys.modules["flyweight"])["__version__"]),
        "flyweight.precision": candidate.precision,
        "flyweight.preprocessing": _compact(candidate.preprocessing.to_json()),
        "flyweight.class_names": _compact(list(candidate.preprocessing.class_names)),
    }
    if candidate.quantization is not None:
        told = candidate.quantization
        texts["flyweight.int8_method"] = told.method if told.made is None else "trained"
        texts["flyweight.float_layers"] = _compact(list(told.keep_float))
    if candidate.spec is not None:
        texts["flyweight.spec"] = _compact(candidate.spec.to_json())
    return texts


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a new folder for working files, gone afterwards.

    Raises:
        FileError: the system's folder for temporary files can't be written to.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="flyweight-") as name:
            yield Path(name)
    except OSError as error:
        raise files.file_error(Path(tempfile.gettempdir()), "write working files", error) from error


def publish(
    folder: Path,
    contents: Mapping[str, bytes],
    candidate: Candidate,
    runtime: str,
    output_shape: tuple[int, ...],
    module_of: Mapping[str, str],
    notes: Sequence[str],
    runtime_version: str | None = None,
) -> Artifact:
    """Write ``contents`` (file name -> bytes, the main file first) into ``folder`` and describe them.

    Every file appears wholly or not at all. Files written before one that fails stay; no artifact describes them.
    ``runtime_version`` is that of the package called ``runtime``, unless it is told.

    Raises:
        FileError: the folder can't be written to.
    """
    for name, data in contents.items():
        files.write_bytes(folder / name, data)
    told = runtime_version or version(runtime)
    return described(folder, contents, candidate, runtime, output_shape, module_of, notes, told)


def described(
    folder: Path,
    contents: Mapping[str, bytes],
    candidate: Candidate,
    runtime: str,
    output_shape: tuple[int, ...],
    module_of: Mapping[str, str],
    notes: Sequence[str],
    runtime_version: str,
) -> Artifact:
    """Return the artifact of files that were written: ``publish`` without the writing."""
    return Artifact(
        runtime=runtime, runtime_version=runtime_version, precision=candidate.precision,
        files=tuple(folder / name for name in contents), bytes=sum(map(len, contents.values())),
        sha256=hashlib.sha256(b"".join(contents.values())).hexdigest(), input_shape=candidate.input_shape,
        output_shape=output_shape, preprocessing=candidate.preprocessing, module_of=module_of, notes=tuple(notes),
    )  # fmt: skip


def check_files(artifact: Artifact) -> None:
    """Check that an artifact's files are there and of the size that it says.

    Raises:
        FileError: a file is missing, or their sizes don't sum to ``artifact.bytes``.
    """
    try:
        found = sum(path.stat().st_size for path in artifact.files)
    except OSError as error:
        raise files.file_error(Path(error.filename), "read", error) from error
    if found != artifact.bytes:
        raise FileError(
            f"{artifact.files[0]}: {found} bytes in all files, but {artifact.bytes} were exported. Export it again."
        )


def check_digest(artifact: Artifact) -> None:
    """Check that an artifact's files hold exactly what was exported.

    Raises:
        FileError: a file is missing, or the contents differ.
    """
    check_files(artifact)
    digest = hashlib.sha256()
    for path in artifact.files:
        digest.update(files.read_bytes(path))
    if digest.hexdigest() != artifact.sha256:
        raise FileError(f"{artifact.files[0]}: the contents are not what was exported. Export it again.")


def one_by_one(artifact: Artifact, run: Callable[[Array], Array]) -> Predict:
    """Return ``run``, which takes and gives one image, as a function on batches ``(n, C, H, W)``.

    The function raises UsageError where the input's shape is not the artifact's.
    """
    wanted = tuple(artifact.input_shape[1:])

    def predict(inputs: Array) -> Array:
        if inputs.ndim != 4 or inputs.shape[1:] != wanted or not len(inputs):
            raise UsageError(f"input of shape {inputs.shape}; this artifact takes (n, {', '.join(map(str, wanted))}).")
        inputs = np.ascontiguousarray(inputs, dtype=np.float32)
        if len(inputs) == 1:
            return run(inputs)
        return np.concatenate([run(inputs[index : index + 1]) for index in range(len(inputs))])

    return predict


def calibration_of(candidate: Candidate) -> Array:
    """Return the calibration inputs ``(n, C, H, W)`` of a candidate that is to be quantized.

    Raises:
        ExportError: there are none, their shape is not the network's, or a value is not finite.
    """
    assert candidate.quantization is not None  # the callers ask only for quantized candidates
    inputs = np.asarray(candidate.quantization.calibration, dtype=np.float32)
    wanted = candidate.input_shape[1:]
    if inputs.ndim != 4 or inputs.shape[1:] != wanted or not len(inputs):
        raise ExportError(
            f"calibration of shape {inputs.shape}; int8 needs (n, {', '.join(map(str, wanted))}) with n ≥ 1."
        )
    if not np.isfinite(inputs).all():
        raise ExportError("the calibration inputs hold NaN or infinity. Check the images and the preprocessing's std.")
    return inputs


def outside(graph: Graph, operators: frozenset[str]) -> tuple[Node, ...]:
    """Return the nodes whose operator is not among ``operators``."""
    return tuple(node for node in graph.nodes if node.op not in operators)
