"""Int8 files of a network for four runtimes, by Flyweight and by each runtime's own quantizer: fidelity and time.

OpenVINO's own quantizer, NNCF, runs in a Python that has it (``--nncf``), LiteRT's, ai-edge-quantizer, in that of
``flyweight runtimes add litert`` (``--litert``); ncnn's tool, which no package holds, is written again in
``_ncnn2table.py``. Each in its own best ways: all of them are rows, and the nearest to float is held against ours.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import _ncnn2table
from flyweight.contracts import Candidate, Int8Method, Quantization
from flyweight.quantize import METHODS, Method, quantize
from flyweight.runtimes._ncnn_int8 import by, magnitudes, with_ends
from flyweight.runtimes._ncnn_net import load_net, run_net
from flyweight.runtimes._onnx_export import export_onnx
from flyweight.runtimes._onnx_int8 import kept_in_float, prepared
from flyweight.runtimes._openvino_net import compiled, filled_request, to_ir
from flyweight.runtimes._pnnx import to_ncnn
from flyweight.runtimes.onnxruntime import session_options

ORT, NCNN, OPENVINO, LITERT = "ONNX Runtime", "ncnn", "OpenVINO", "LiteRT"
ORT_METHODS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
ROUNDS, WARM_UP = 200, 10
Images = NDArray[np.float32]
Errors = NDArray[np.float64]
Run = Callable[[Images], Images]  # one input (1, C, H, W) -> its output


@dataclass(frozen=True)
class Case:
    """A network, images ``(n, C, H, W)`` to calibrate and to judge by, and what outputs score (points), if known.

    ``groups``: whose images those that judge are, by number; without, each is its own.
    """

    candidate: Candidate
    calibration: Images
    judge: Images
    folder: Path
    score: Callable[[Images], float] | None = None
    litert: Path | None = None
    nncf: Path | None = None
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class File:
    """One file: of which runtime, made by whom and how, in how long; ``path`` without folder."""

    runtime: str
    by: str  # float, ours or theirs
    method: str
    path: str
    seconds: float = 0.0


# ---- making ---------------------------------------------------------------------------------------------------------


def onnx_files(case: Case, ours: Mapping[str, Method], theirs: Sequence[str] = tuple(ORT_METHODS)) -> list[File]:
    """Write ONNX files: in float, by our methods, and by ONNX Runtime's own tool."""
    made = [_file(case, ORT, "float", "float", lambda: _bytes(export_onnx(case.candidate)[0]))]
    for name in theirs:
        made.append(_file(case, ORT, "theirs", name, lambda name=name: _by_onnxruntime(case, name)))  # type: ignore[misc]
    for name, method in ours.items():
        made.append(_file(case, ORT, "ours", name, lambda method=method: _by_us(case, method)))  # type: ignore[misc]
    return made


def _by_us(case: Case, method: Method) -> bytes:
    model, modules = export_onnx(case.candidate)
    _, stay, _ = prepared(model, modules)
    return _bytes(quantize(model, case.calibration, method, stay))


def _by_onnxruntime(case: Case, method: str) -> bytes:
    """Return what ONNX Runtime's own tool makes of the same float model, the same layers left in float."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model, modules = export_onnx(case.candidate)
    prepared(model, modules)
    with tempfile.TemporaryDirectory() as folder:
        ready, done = Path(folder, "ready.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(model, ready, skip_symbolic_shape=True, skip_optimization=True)
        quantize_static(
            ready, done, _reader(case.calibration), quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=kept_in_float(model),
            calibrate_method=CalibrationMethod[ORT_METHODS[method]],
        )  # fmt: skip
        return done.read_bytes()


def _reader(calibration: Images) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package is untyped
        """Gives the calibration inputs one by one."""

        def __init__(self) -> None:
            self.rest = iter(calibration)

        def get_next(self) -> dict[str, Images] | None:
            """Return the next input by name, None behind the last."""
            image = next(self.rest, None)
            return None if image is None else {"input": image[None]}

    return Reader()


def ncnn_files(case: Case, ours: Mapping[str, Method]) -> list[File]:
    """Write ncnn's files: in float, by our methods, and as ncnn2table and ncnn2int8 would."""
    plain = to_ncnn(case.candidate)
    made = [_pair(case, "float", "float", lambda: plain)]
    for name, end_of in _ncnn2table.METHODS.items():
        made.append(_pair(case, "theirs", name, lambda name=name, end_of=end_of: _by_table(case, plain, name, end_of)))  # type: ignore[misc]
    for name, method in ours.items():
        made.append(_pair(case, "ours", name, lambda method=method: by(*plain, case.calibration, method)[:2]))  # type: ignore[misc]
    return made


def _by_table(
    case: Case, plain: tuple[str, bytes], name: str, end_of: Callable[[_ncnn2table.Seen], float]
) -> tuple[str, bytes]:
    seen = _ncnn2table.seen_in(lambda: magnitudes(*plain, case.calibration))
    ends = {blob: end_of(found) for blob, found in seen.items()}
    return with_ends(*plain, ends, _ncnn2table.steps(*plain, clip=name == "aciq"))


def openvino_files(case: Case, onnx: Sequence[File]) -> list[File]:
    """Write OpenVINO's files from float and our ONNX files, and let NNCF quantize the float one."""
    made = []
    for one in onnx:
        if one.by == "theirs":
            continue
        with tempfile.TemporaryDirectory() as work:
            xml, weights, _ = to_ir((case.folder / one.path).read_bytes(), {}, Path(work))
        name = _name(OPENVINO, one.by, one.method)
        (case.folder / f"{name}.xml").write_bytes(xml)
        (case.folder / f"{name}.bin").write_bytes(weights)
        made.append(File(OPENVINO, one.by, one.method, f"{name}.xml", one.seconds))
    if case.nncf is not None:
        made += _elsewhere(case, case.nncf, "_int8_nncf.py", OPENVINO, made[0].path)
    return made


def litert_files(case: Case, ours: Sequence[Int8Method]) -> list[File]:
    """Write LiteRT's files as ``export`` does, in float and int8, and let ai-edge-quantizer quantize the float one."""
    from flyweight.runtimes import RUNTIMES

    if case.litert is None:
        return []
    made = []
    for method in (None, *ours):
        wanted, name = (None, "float") if method is None else (Quantization(case.calibration, method), method)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as work:
            found = RUNTIMES.get("litert").export(replace(case.candidate, quantization=wanted), Path(work))
            seconds = time.perf_counter() - begin
            path = f"{_name(LITERT, 'ours' if wanted else 'float', name)}.tflite"
            (case.folder / path).write_bytes(found.files[0].read_bytes())
        made.append(File(LITERT, "ours" if wanted else "float", name, path, seconds))
    return [*made, *_elsewhere(case, case.litert, "_int8_litert.py", LITERT, made[0].path)]


def tools(litert: Path | None, nncf: Path | None) -> dict[str, str]:
    """Return the versions of the quantizers and of the runtimes that are in other Pythons."""
    code = "import importlib.metadata as m, sys; print(*(f'{n}\\t{m.version(n)}' for n in sys.argv[1:]), sep='\\n')"
    found: dict[str, str] = {}
    for python, names in ((nncf, ("nncf",)), (litert, ("ai-edge-quantizer", "ai-edge-litert", "litert-torch"))):
        if python is not None:
            told = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True)
            found |= dict(line.split("\t") for line in told.stdout.splitlines())
    return found


def _elsewhere(case: Case, python: Path, script: str, runtime: str, source: str) -> list[File]:
    """Let a script of another Python quantize a float file; it writes files and prints method, path and seconds."""
    calibration = case.folder / "calibration.npy"
    np.save(calibration, case.calibration)
    command = [str(python), str(Path(__file__).with_name(script)), "make", str(case.folder / source), str(calibration)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"{script}: {told.stderr.strip()[-2000:]}")
    rows = [line.split("\t")[1:] for line in told.stdout.splitlines() if line.startswith("made\t")]
    return [File(runtime, "theirs", method, Path(path).name, float(seconds)) for method, path, seconds in rows]


def _file(case: Case, runtime: str, by_whom: str, method: str, make: Callable[[], bytes]) -> File:
    begin = time.perf_counter()
    data = make()
    seconds = time.perf_counter() - begin
    path = f"{_name(runtime, by_whom, method)}.onnx"
    case.folder.joinpath(path).write_bytes(data)
    return File(runtime, by_whom, method, path, seconds)


def _pair(case: Case, by_whom: str, method: str, make: Callable[[], tuple[str, bytes]]) -> File:
    begin = time.perf_counter()
    param, weights = make()
    seconds = time.perf_counter() - begin
    path = f"{_name(NCNN, by_whom, method)}.param"
    case.folder.joinpath(path).write_text(param)
    case.folder.joinpath(path).with_suffix(".bin").write_bytes(weights)
    return File(NCNN, by_whom, method, path, seconds)


def _name(runtime: str, by_whom: str, method: str) -> str:
    return f"{runtime}_{by_whom}_{method}".replace(", ", "_").replace(" ", "_").lower()


def _bytes(model: Any) -> bytes:
    return bytes(model.SerializeToString(deterministic=True))


# ---- running --------------------------------------------------------------------------------------------------------


def runner(path: Path, shape: tuple[int, ...]) -> Run:
    """Return a function that runs an ONNX, ncnn or OpenVINO file on one input, in one thread."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), session_options(1), providers=["CPUExecutionProvider"])
        return lambda image: np.asarray(session.run(None, {"input": image})[0], np.float32)
    if path.suffix == ".param":
        net = load_net(path, path.with_suffix(".bin"), 1)
        return lambda image: run_net(net, np.ascontiguousarray(image[0]), ("out0",))[0][None]
    given = np.zeros(shape, np.float32)
    request = filled_request(compiled(path, 1, "f32"), given)

    def run(image: Images) -> Images:
        given[...] = image
        request.infer()
        return np.array(request.get_output_tensor().data, np.float32)

    return run


def outputs(case: Case, file: File) -> Images:
    """Return what a file gives for all images that judge."""
    if file.runtime == LITERT:
        assert case.litert is not None
        with tempfile.TemporaryDirectory() as work:
            np.save(f"{work}/images.npy", case.judge)
            script = str(Path(__file__).with_name("_int8_litert.py"))
            command = [str(case.litert), script, "run", str(case.folder / file.path), f"{work}/images.npy"]
            told = subprocess.run([*command, f"{work}/out.npy"], capture_output=True, text=True, check=False)
            if told.returncode:
                raise SystemExit(told.stderr.strip()[-2000:])
            return np.asarray(np.load(f"{work}/out.npy"), np.float32)
    run = runner(case.folder / file.path, case.candidate.input_shape)
    return np.concatenate([run(image[None]) for image in case.judge])


def judged(case: Case, files: Sequence[File]) -> dict[str, Any]:
    """Return ``rows``, the figures of each file against the float file of its runtime, and ``paired``.

    That is by runtime how many decibels our best's signal-to-noise ratio is above that of the nearest file of its own
    quantizers, on the same images, with the interval that 95 % of bootstrap samples of their groups give.
    """
    found: list[dict[str, Any]] = []
    wanted: dict[str, Images] = {}
    errors: dict[str, Errors] = {}
    for file in sorted(files, key=lambda one: one.by != "float"):
        out = outputs(case, file)
        wanted.setdefault(file.runtime, out)
        found.append(_row(case, file, wanted[file.runtime], out))
        errors[file.path] = _squares(wanted[file.runtime].astype(np.float64) - out)
        print({key: value for key, value in found[-1].items() if key != "file"}, flush=True)
    apart = {
        runtime: _apart(
            case, errors[ours_of(found, runtime)["file"]], errors[best_of(found, runtime, "theirs")["file"]]
        )
        for runtime in runtimes_of(found)
    }
    return {"rows": found, "paired": apart}


def _squares(values: Errors) -> Errors:
    """Return each image's sum of squares."""
    return np.asarray(np.square(values).reshape(len(values), -1).sum(1))


def _apart(case: Case, ours: Errors, theirs: Errors) -> dict[str, float]:
    """Return the ratio of two files' errors in dB, positive where ours are smaller, and its interval."""
    groups = np.arange(len(ours)) if case.groups is None else case.groups
    kinds, places = np.unique(groups, return_inverse=True)
    sums = [np.bincount(places, errors) for errors in (ours, theirs)]
    chosen = np.random.default_rng(0).integers(0, len(kinds), (1000, len(kinds)))
    drawn = 10 * np.log10(sums[1][chosen].sum(1) / sums[0][chosen].sum(1))
    low, high = np.percentile(drawn, (2.5, 97.5))
    value = 10 * np.log10(theirs.sum() / ours.sum())
    return {"db": round(float(value), 2), "low": round(float(low), 2), "high": round(float(high), 2)}


def _row(case: Case, file: File, wanted: Images, out: Images) -> dict[str, Any]:
    error = float(np.square(wanted.astype(np.float64) - out).sum())
    snr = 10 * np.log10(float(np.square(wanted.astype(np.float64)).sum()) / error) if error else None
    weights = (case.folder / file.path).with_suffix(".bin")
    size = (case.folder / file.path).stat().st_size + (weights.stat().st_size if weights.exists() else 0)
    return {
        "runtime": file.runtime, "by": file.by, "method": file.method, "file": file.path, "bytes": size,
        "snr_db": None if snr is None else round(float(snr), 2),
        "agreement": round(100 * float((out.argmax(1) == wanted.argmax(1)).mean()), 2),
        **({} if case.score is None else {"score": round(case.score(out), 2)}),
        "made_in_s": round(file.seconds, 1),
    }  # fmt: skip


# ---- comparing ------------------------------------------------------------------------------------------------------


def best_of(found: Sequence[Mapping[str, Any]], runtime: str, by_whom: str, key: str = "snr_db") -> Mapping[str, Any]:
    """Return a runtime's row of the greatest figure, by us or by its own quantizer."""
    return max((row for row in found if row["runtime"] == runtime and row["by"] == by_whom), key=lambda row: row[key])


def ours_of(found: Sequence[Mapping[str, Any]], runtime: str, method: str = "best") -> Mapping[str, Any]:
    """Return a runtime's row of one of our methods: the one that ``export`` uses."""
    return next(row for row in found if (row["runtime"], row["by"], row["method"]) == (runtime, "ours", method))


def runtimes_of(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the runtimes that have files by us and by their own quantizer."""
    has = {(row["runtime"], row["by"]) for row in found}
    return [name for name in (ORT, NCNN, OPENVINO, LITERT) if {(name, "ours"), (name, "theirs")} <= has]


def interleaved(runs: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, NDArray[np.float64]]:
    """Return the time of each function's runs in ms, every round in another order: each leaves a cache."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    random, names = np.random.default_rng(0), list(runs)
    for index in range(WARM_UP + rounds):
        for place in random.permutation(len(names)):
            name = names[place]
            begin = time.perf_counter()
            runs[name]()
            if index >= WARM_UP:
                taken[name].append(1e3 * (time.perf_counter() - begin))
    return {name: np.array(values) for name, values in taken.items()}


OURS = {name: METHODS[name] for name in ("minmax", "percentile", "entropy", "mse", "best")}
