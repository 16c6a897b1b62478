"""The integers of a program beside those that ONNX Runtime computes for the same file, tensor by tensor."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight import files
from flyweight.errors import DataError, MeasurementError, RuntimeMissingError
from flyweight.fixed_point._read import MOVES, SUMS_SUFFIX, Program, Step
from flyweight.fixed_point._requantize import Mode
from flyweight.fixed_point._run import outputs_of, quantized_inputs, run
from flyweight.fixed_point._scales import SumScale
from flyweight.fixed_point._tables import dequantize
from flyweight.onnx_graph import MAX_BYTES


@dataclass(frozen=True)
class Difference:
    """One step's output against ONNX Runtime's.

    Attributes:
        runtime_op: the operator ONNX Runtime ran there, ``float`` where it computed in float and quantized that.
        elements, differing: compared, unequal. largest: of their differences, in steps of 8 bits (LSB).
        alone: elements that differ where the step is given ONNX Runtime's own inputs. alone_largest: likewise.
    """

    name: str
    op: str
    runtime_op: str
    elements: int
    differing: int
    largest: int
    alone: int
    alone_largest: int


@dataclass(frozen=True)
class Comparison:
    """All steps, over all images.

    Attributes:
        entries_differing: elements of the quantized inputs that differ.
        outputs, outputs_differing: elements of the file's float outputs as an application gets them, and those that
            are not equal to the last bit; 0 of 0 where float operators come behind the last integer.
        intact: the session that shows all tensors gives the same outputs as the one an application has.
    """

    mode: Mode
    images: int
    steps: tuple[Difference, ...]
    entries_differing: int
    outputs: int
    outputs_differing: int
    intact: bool


def against_onnxruntime(
    program: Program,
    images: Iterable[Mapping[str, NDArray[np.float32]]],
    modes: Sequence[Mode],
    after_each: Callable[[], None] | None = None,
) -> dict[Mode, Comparison]:
    """Compare under each rounding mode, image by image; each image holds the file's inputs by name.

    ``after_each`` is called when an image is done.

    Raises:
        RuntimeMissingError: onnxruntime is not installed.
        DataError: no image, or an input that does not fit.
        MeasurementError: ONNX Runtime can't load the file.
    """
    sessions = _sessions(program)
    found: dict[Mode, Comparison] = {}
    for image in images:
        feeds = {name: np.ascontiguousarray(value) for name, value in image.items()}
        expected = _run(program, sessions.plain, feeds)
        begun = _run(program, sessions.head, feeds) if sessions.head else {}
        theirs = _run(program, sessions.watched, {**feeds, **{name: begun[name] for name in sessions.fed}})
        intact = all(np.array_equal(value, theirs[name]) for name, value in expected.items())
        seen = _kept(program, {**begun, **theirs})
        inputs = _entries(program, feeds, seen)
        apart = sum(int((inputs[name] != seen[name]).sum()) for name in inputs if name in seen)
        for mode in modes:
            free = run(program, inputs, mode)
            alone = run(program, inputs, mode, given={**free, **seen})
            rows = [_difference(step, sessions.makers, seen, free, alone) for step in program.steps]
            pairs = [(expected[n], value) for n, value in outputs_of(program, free).items() if n in expected]
            size, unequal = sum(a.size for a, _ in pairs), sum(int((a != b).sum()) for a, b in pairs)
            one = Comparison(mode, 1, tuple(rows), apart, size, unequal, intact)
            found[mode] = one if mode not in found else _joined(found[mode], one)
        if after_each is not None:
            after_each()
    if not found:
        raise DataError("no image to compare on. Give a folder with images, or --random 1.")
    return found


def _entries(
    program: Program, feeds: Mapping[str, NDArray[Any]], seen: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return the quantized inputs: our own of the file's inputs; ONNX Runtime's of what a float head computed."""
    ours = tuple(port for port in program.entries if port.tensor in feeds)
    found = quantized_inputs(replace(program, entries=ours), feeds)
    for port in program.entries:
        if port.quantized not in found:
            if port.quantized not in seen:
                raise DataError(f"{program.path}: input '{port.tensor}' is missing.")
            found[port.quantized] = seen[port.quantized]
    return found


def _kept(program: Program, theirs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the file's 8-bit tensors that ONNX Runtime kept; on x86 most int8 ones give way to its own in uint8."""
    names = [port.quantized for port in program.entries] + [step.output for step in program.steps]
    found = {name: theirs[name] for name in names if name in theirs}
    ends = (port for port in program.exits if isinstance(port.scale, SumScale))
    return {**found, **{port.quantized: theirs[port.tensor] for port in ends if port.tensor in theirs}}


def _difference(step: Step, fused: Mapping[str, tuple[str, str]], seen: Any, free: Any, alone: Any) -> Difference:
    if step.output not in seen:
        return Difference(step.name, step.op, "none of its own", 0, 0, 0, 0, 0)
    first, second = (_apart(step, one[step.output], seen[step.output]) for one in (free, alone))
    return Difference(
        step.name, step.op, _runtime_op(step, fused), first.size, int((first > 0).sum()), int(first.max(initial=0)),
        int((second > 0).sum()), int(second.max(initial=0)),
    )  # fmt: skip


def _apart(step: Step, ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.int64]:
    """Return the differences in steps; of int32 sums ONNX Runtime shows the floats that it makes of them."""
    if not isinstance(step.scale, SumScale):
        return np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    floats = dequantize(ours, step.scale)
    steps = np.maximum(np.rint(np.abs(floats - theirs) / step.scale.scale), 1).astype(np.int64)
    return np.where(floats == theirs, 0, steps)


def _runtime_op(step: Step, fused: Mapping[str, tuple[str, str]]) -> str:
    """Return what ONNX Runtime ran for a step, looking through moves that ours did along with it."""
    op, source = fused[step.output.removesuffix(SUMS_SUFFIX) if isinstance(step.scale, SumScale) else step.output]
    while op in MOVES and op != step.op and source in fused:
        op, source = fused[source]
    return "float" if op == "QuantizeLinear" and step.op != op else op


def _joined(a: Comparison, b: Comparison) -> Comparison:
    rows = [
        replace(
            x, elements=x.elements + y.elements, differing=x.differing + y.differing, alone=x.alone + y.alone,
            largest=max(x.largest, y.largest), alone_largest=max(x.alone_largest, y.alone_largest),
        )
        for x, y in zip(a.steps, b.steps, strict=True)
    ]  # fmt: skip
    return Comparison(
        a.mode, a.images + b.images, tuple(rows), a.entries_differing + b.entries_differing, a.outputs + b.outputs,
        a.outputs_differing + b.outputs_differing, a.intact and b.intact,
    )  # fmt: skip


@dataclass(frozen=True)
class _Sessions:
    """What ONNX Runtime is asked through.

    Attributes:
        plain: the file, as an application runs it. head: the same, showing what a float head ends in; None without one.
        watched: the graph that ONNX Runtime itself wrote after fusing, showing all 8-bit tensors; to ask the file for
            them would keep it from fusing. fed: those that it takes from ``head``: a float head computed on its own
            may take other kernels, whose sums end in other bits.
        makers: the operator that makes each tensor there, and its first input.
    """

    plain: Any
    head: Any
    watched: Any
    fed: tuple[str, ...]
    makers: Mapping[str, tuple[str, str]]


def _sessions(program: Program) -> _Sessions:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissingError(
            'comparing needs onnxruntime. Install it with: pip install "flyweight[onnxruntime]"'
        ) from error
    data = files.read_bytes(program.path, MAX_BYTES)
    levels = onnxruntime.GraphOptimizationLevel
    with tempfile.TemporaryDirectory() as scratch:
        optimized = Path(scratch) / "fused.onnx"
        plain = _session(program, data, levels.ORT_ENABLE_ALL, None)
        _session(program, data, levels.ORT_ENABLE_EXTENDED, optimized)  # without layouts, in which axes change places
        proto = onnx.load(optimized)
    makers = {name: (node.op_type, node.input[0]) for node in proto.graph.node for name in node.output}
    behind = [port.quantized for port in program.entries if port.tensor not in program.inputs]
    fed = [name for name in behind if name in makers]
    _show(proto, [*(port.quantized for port in program.entries), *(step.output for step in program.steps)], makers)
    _feed(proto, fed)
    watched = _session(program, proto.SerializeToString(), levels.ORT_DISABLE_ALL, None)
    head = None
    if behind:
        shown = onnx.load_from_string(data)
        _show(shown, behind, [name for node in shown.graph.node for name in node.output])
        head = _session(program, shown.SerializeToString(), levels.ORT_ENABLE_ALL, None)
    return _Sessions(plain, head, watched, tuple(fed), makers)


def _show(proto: Any, names: Iterable[str], made: Collection[str]) -> None:
    """Make tensors outputs of the graph."""
    known = {value.name for value in proto.graph.output}
    for name in dict.fromkeys(names):
        if name in made and name not in known:
            proto.graph.output.append(type(proto.graph.output[0])(name=name))


def _feed(proto: Any, names: Sequence[str]) -> None:
    """Turn tensors into inputs of the graph."""
    from onnx import TensorProto, helper

    kept = [node for node in proto.graph.node if not set(node.output) & set(names)]
    zeros = {node.output[0]: node.input[2] for node in proto.graph.node if node.op_type == "QuantizeLinear"}
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    for name in names:
        kind = types.get(zeros.get(name, ""), TensorProto.UINT8)
        proto.graph.input.append(helper.make_tensor_value_info(name, kind, None))
    shown = [value for value in proto.graph.output if value.name not in names]
    del proto.graph.node[:], proto.graph.output[:]
    proto.graph.node.extend(kept)
    proto.graph.output.extend(shown)


def _session(program: Program, data: bytes, level: Any, optimized: Path | None) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = level
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own, which share no base but Exception
        raise MeasurementError(f"{program.path}: ONNX Runtime can't load it ({error}).") from error


def _run(program: Program, session: Any, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return all outputs of a session by name."""
    names = [value.name for value in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    try:
        made = session.run(names, {name: value for name, value in feeds.items() if name in wanted})
    except Exception as error:  # onnxruntime's own
        raise DataError(f"{program.path}: ONNX Runtime can't take this input ({error}).") from error
    return dict(zip(names, made, strict=True))
