"""From a PyTorch module to the files of a Core ML package, and the check that the package holds what was converted."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.contracts import Candidate
from flyweight.errors import ExportError
from flyweight.runtimes import _artifact
from flyweight.runtimes._program import exported_program

PACKAGE = "model.mlpackage"
MANIFEST = "Manifest.json"
MODEL = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"
_DATE = "com.github.apple.coremltools.conversion_date"  # would make every export another file


def package(candidate: Candidate, output_shape: tuple[int, ...]) -> dict[str, bytes]:
    """Return the package's files by their names in it.

    Raises:
        ExportError: Core ML can't express the network, or the package isn't what was converted.
    """
    program = exported_program(candidate, "coreml")
    with _quiet(), _artifact.scratch() as work:
        import coremltools as ct

        try:
            model = ct.convert(
                program.run_decompositions({}),
                inputs=[ct.TensorType(name="input", shape=candidate.input_shape)],
                outputs=[ct.TensorType(name="output")],
                convert_to="mlprogram",
                # asked for: left alone, Core ML computes in half precision
                compute_precision=ct.precision.FLOAT16 if candidate.half else ct.precision.FLOAT32,
                minimum_deployment_target=ct.target.iOS16,
                skip_model_load=True,
            )
        except Exception as error:  # whatever the converter raises
            text = " ".join(str(error).split())[:300]
            raise ExportError(
                f"coreml can't express this network: {type(error).__name__}: {text}. Replace it, or choose another."
            ) from error
        model.user_defined_metadata.update(_artifact.metadata(candidate))
        del model.user_defined_metadata[_DATE]
        model.save(str(work / PACKAGE))
        converted = Counter(operation.op_type for operation in model._mil_program.functions["main"].operations)
        _check(ct.utils.load_spec(str(work / PACKAGE)), candidate.input_shape, output_shape, converted)
        present = [name for name in (MANIFEST, MODEL, WEIGHTS) if (work / PACKAGE / name).exists()]
        return {name: (work / PACKAGE / name).read_bytes() for name in present}


def _check(spec: Any, input_shape: tuple[int, ...], output_shape: tuple[int, ...], converted: Counter[str]) -> None:
    """Raise ExportError where a package that was read back isn't what was converted."""
    found = {each.name: _shape(each) for each in (*spec.description.input, *spec.description.output)}
    wanted = {"input": tuple(input_shape), "output": tuple(output_shape)}
    if found != wanted:
        raise ExportError(f"{PACKAGE}: takes and gives {found}, but the network {wanted}. Choose another runtime.")
    main = spec.mlProgram.functions["main"]
    operations = Counter(one.type for one in main.block_specializations[main.opset].operations)
    if different := sorted(key for key in operations | converted if operations[key] != converted[key]):
        kind = different[0]
        raise ExportError(
            f"{PACKAGE}: holds {operations[kind]} operators '{kind}', but {converted[kind]} were converted. Try again."
        )


def _shape(description: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in description.type.multiArrayType.shape)


def put(target: Path, contents: Mapping[str, bytes]) -> None:
    """Write a package wholly: into a folder beside it, which then takes its name; an older one is replaced.

    Raises:
        FileError: it can't be written.
    """
    part, old = target.with_name(target.name + ".part"), target.with_name(target.name + ".old")
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name, data in contents.items():
            files.write_bytes(part / name, data)
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise files.file_error(target, "write", error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what coremltools says of torch's version, of libraries that only Apple has, and its progress bars."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
