"""The values that flow between the steps, and the protocols that family members keep.

Arrays: images go in as ``uint8`` RGB ``(n, height, width, 3)``; a network's input is ``float32`` ``(n, channels,
height,
width)``. ``Preprocessing`` is the whole way from the one to the other, and travels with every artifact.

Counted, estimated and measured figures have types of their own (``Profile``, ``Estimate``, ``Measurement``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from flyweight.graph import Graph, Node
from flyweight.spec import ArchSpec, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from flyweight.boxes import BoxCode

    Array: TypeAlias = NDArray[np.float32]

Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
Predict: TypeAlias = "Callable[[Array], Array]"  # (n, C, H, W) float32 -> (n, K, H', W') or (n, K) float32


@dataclass(frozen=True)
class Preprocessing:
    """From an RGB ``uint8`` image to the network's input: resize (area), scale to 0..1, subtract mean, divide by std.

    ``mean`` and ``std`` are per channel, of images scaled to 0..1, computed on the training split.
    """

    height: int
    width: int
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    class_names: tuple[str, ...] = ()
    resize: Literal["area"] = "area"
    layout: Literal["NCHW RGB"] = "NCHW RGB"

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "height": self.height, "width": self.width, "mean": list(self.mean), "std": list(self.std),
            "class_names": list(self.class_names), "resize": self.resize, "layout": self.layout,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Read what ``to_json`` wrote.

        Raises:
            ValueError: it asks for a way of resizing or a layout that there is not.
        """
        if (data["resize"], data["layout"]) != (cls.resize, cls.layout):
            raise ValueError(
                f"preprocessing by {data['resize']} to {data['layout']}; known: {cls.resize}, {cls.layout}"
            )
        return cls(
            height=int(data["height"]), width=int(data["width"]), mean=tuple(map(float, data["mean"])),
            std=tuple(map(float, data["std"])), class_names=tuple(map(str, data["class_names"])),
        )  # fmt: skip


@dataclass(frozen=True)
class Change:
    """What a transform did.

    Attributes:
        transform: its name.
        settings: its settings, as plain data.
        layers: the layers it touched (stage names or module paths); empty means nothing happened.
        before, after: what a reader should know of the layers before and after, one line each.
    """

    transform: str
    settings: Mapping[str, Any]
    layers: tuple[str, ...]
    before: str = ""
    after: str = ""


Int8Method = Literal["minmax", "entropy", "percentile", "mse", "best"]
DEFAULT_METHOD: Int8Method = "best"


@dataclass(frozen=True)
class Int8File:
    """An int8 ONNX file in the making that training has decided: its bytes, node name -> module path, and notes."""

    model: bytes
    module_of: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quantization:
    """How an artifact is to be quantized: int8 post-training, with ranges from these inputs.

    ``calibration`` is ``(n, C, H, W)``, preprocessed as for inference. Weights are quantized per output channel,
    activations per tensor; the artifact's inputs and outputs stay float32. ``method``: the observer that ranges come
    from, weights to the nearest; or "best": ranges of least squared error, and weights fitted to what they will see.
    ``keep_float``: paths of modules whose layers stay float in ONNX Runtime, OpenVINO and ncnn.
    ``made``: the file of the first two, if it was trained; ``method`` says nothing then.
    """

    calibration: Array
    method: Int8Method = DEFAULT_METHOD
    keep_float: tuple[str, ...] = ()
    made: Int8File | None = None


@dataclass(frozen=True)
class Candidate:
    """A network on its way: never changed in place.

    ``module`` is in eval mode, on the CPU. ``spec`` is None for a module that the user brought. ``half``: artifacts
    store their weights in half precision, which a runtime widens as it loads them; arithmetic stays float32.
    """

    module: nn.Module
    preprocessing: Preprocessing
    spec: ArchSpec | None = None
    history: tuple[Change, ...] = ()
    quantization: Quantization | None = None
    half: bool = False

    @property
    def precision(self) -> Precision:
        """The precision of the artifacts that are exported from it."""
        return "int8" if self.quantization else "fp16" if self.half else "fp32"

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """Shape of the example input: batch 1, channels, height, width."""
        return (1, len(self.preprocessing.mean), self.preprocessing.height, self.preprocessing.width)

    def having(self, change: Change, **fields: Any) -> Candidate:
        """Return a copy with ``fields`` replaced and ``change`` added to the history."""
        return replace(self, history=(*self.history, change), **fields)


class Split(Protocol):
    """Some images with their targets: a mask of class indices, 255 where there is no truth, a label, or boxes."""

    def __len__(self) -> int:
        """Return the number of images."""

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Return image ``(H, W, 3)`` RGB, and mask ``(H, W)``, label ``()``, or boxes as in ``tasks/detect.py``."""


@dataclass(frozen=True)
class DataSet:
    """Images for training, validation and test; ``mean`` and ``std`` (of images scaled to 0..1) are the training
    split's.

    Attributes:
        class_shares: share of the training pixels (labels, boxes) that each class has; sums to 1.
        groups: classes that the headline metric takes together, e.g. ``{"water": (0, 2), "land": (1,)}``; empty: none.
        size: height and width of the images, None where they differ.
        task: what the targets are.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_shares: tuple[float, ...]
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    size: tuple[int, int] | None = None
    colors: tuple[tuple[int, int, int], ...] = ()
    task: Task = "segment"


class TaskMember(Protocol):
    """What targets of one kind mean to training. ``spatial``: a target has a value per pixel of its image."""

    spatial: bool

    def fitted(self, boxes: BoxCode | None) -> TaskMember:
        """Return the task for one network; ``boxes`` says what its outputs mean, where they are boxes."""

    def flipped(self, target: NDArray[Any], horizontal: bool, vertical: bool) -> NDArray[Any]:
        """Return the target of an image that is mirrored left to right, top to bottom, or both."""

    def batch(self, targets: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return the targets of a batch as one array."""

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, a scalar; ``weights`` has one per class."""


@dataclass(frozen=True)
class Env:
    """What a transform may use besides the candidate."""

    calibration_images: Sequence[NDArray[np.uint8]] = ()  # training images, (H, W, 3)
    seed: int = 0


@dataclass(frozen=True)
class Artifact:
    """An exported network on disk.

    Attributes:
        runtime, runtime_version: what it was exported for.
        files: the files that ship, the main one first; all in its folder or below it.
        bytes: their sizes summed. sha256: of the files' contents in that order.
        module_of: from the artifact's node or layer names to module paths, where the exporter knows.
        notes: on operators that fell back or stayed float, for the reader.
    """

    runtime: str
    runtime_version: str
    precision: Precision
    files: tuple[Path, ...]
    bytes: int
    sha256: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    preprocessing: Preprocessing
    module_of: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON; file paths relative to the artifact's folder, that of its first file."""
        names = [file.relative_to(self.files[0].parent).as_posix() for file in self.files]
        return {
            "runtime": self.runtime, "runtime_version": self.runtime_version, "precision": self.precision,
            "files": names, "bytes": self.bytes, "sha256": self.sha256,
            "input_shape": list(self.input_shape), "output_shape": list(self.output_shape),
            "preprocessing": self.preprocessing.to_json(), "module_of": dict(self.module_of), "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any], folder: Path) -> Artifact:
        """Read what ``to_json`` wrote; ``folder`` is where the files lie (a path that leaves it loses its folders)."""
        return cls(
            runtime=str(data["runtime"]), runtime_version=str(data["runtime_version"]), precision=data["precision"],
            files=tuple(folder / _inside(str(name)) for name in data["files"]), bytes=int(data["bytes"]),
            sha256=str(data["sha256"]), input_shape=tuple(data["input_shape"]),
            output_shape=tuple(data["output_shape"]), preprocessing=Preprocessing.from_json(data["preprocessing"]),
            module_of=dict(data["module_of"]), notes=tuple(data["notes"]),
        )  # fmt: skip


def _inside(name: str) -> Path:
    path = Path(name)
    return Path(path.name) if path.is_absolute() or ".." in path.parts else path


BUSY = 1.2  # Measurement.busy above which the machine was doing something else
UNSTEADY = 1.5  # 90th over 10th percentile above which a median says little of a single inference


@dataclass(frozen=True)
class Measurement:
    """Measured time of one artifact in a fresh process. Times are of one inference, batch 1, after warm-up.

    ``median_ms``, ``p10_ms`` and ``p90_ms`` are of all n samples' wall clock;
    ``busy`` is wall time over CPU time at one thread; at more, one plus the share of a core that each thread lacked
    beside other processes: above BUSY the machine was doing something else. ``cpu_median_ms`` is that of all threads
    together. ``energy_mj`` is the processor package's per inference, whatever else ran on it; None where the machine
    has no counter that may be read.
    """

    runtime: str
    runtime_version: str
    hardware: str
    threads: int
    n: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    cpu_median_ms: float
    busy: float
    load_ms: float
    first_ms: float
    peak_rss_bytes: int
    baseline_rss_bytes: int  # the same process before the artifact was loaded
    energy_mj: float | None = field(default=None, kw_only=True)

    @property
    def doubt(self) -> str:
        """Why the median is to be read with care: 'busy', 'unsteady', or '' where it isn't."""
        if self.busy > BUSY:
            return "busy"
        return "unsteady" if self.p90_ms > UNSTEADY * self.p10_ms else ""


@dataclass(frozen=True)
class LayerTime:
    """Measured time of one of the runtime's kernels. ``module`` is None where it can't be attributed."""

    name: str
    op: str
    module: str | None
    median_us: float


@dataclass(frozen=True)
class LayerTimes:
    """Measured time per layer: medians over n runs.

    ``run_us`` and ``cpu_us`` are medians of whole runs without a profiler, by turns with the profiled ones: wall clock,
    and CPU time of all threads. ``busy`` is the one over the other, at one thread; at more threads 1.
    """

    runtime: str
    runtime_version: str
    threads: int
    n: int
    rows: tuple[LayerTime, ...]
    run_us: float
    cpu_us: float = 0.0
    busy: float = 1.0

    @property
    def kernels_us(self) -> float:
        """Sum over all kernels."""
        return sum(row.median_us for row in self.rows)

    @property
    def attributed(self) -> float:
        """Share of the kernels' time whose module is known; 1 where there is no time."""
        known = sum(row.median_us for row in self.rows if row.module is not None)
        return known / self.kernels_us if self.kernels_us else 1.0

    def by_module(self) -> dict[str, float]:
        """Return microseconds per module path; what can't be attributed stands under '(unattributed)'."""
        sums: dict[str, float] = {}
        for row in self.rows:
            key = "(unattributed)" if row.module is None else row.module
            sums[key] = sums.get(key, 0.0) + row.median_us
        return sums


@dataclass(frozen=True)
class PlannedPeak:
    """Estimated: the most bytes of activations that a runtime holds at once, as it plans them, with its input.

    ``scratch_bytes`` of them are the kernel's own at that moment; ``operator`` is the runtime's name for it, ``module``
    where it is known.
    """

    bytes: int
    scratch_bytes: int
    operator: str
    module: str | None


@dataclass(frozen=True)
class Intermediate:
    """What one node of an artifact computed for one image.

    ``name`` is the value's, ``reads`` are the names of those that it was computed from; ``module`` where it is known.
    """

    name: str
    op: str
    reads: tuple[str, ...]
    value: Array
    module: str | None = None


@runtime_checkable
class Transform(Protocol):
    """One edit. A member is a frozen dataclass whose fields are its settings.

    ``exact``: outputs are the same before and after, within ``tolerance`` of the largest output.
    """

    name: ClassVar[str]
    exact: ClassVar[bool]
    tolerance: ClassVar[float]

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError, naming the layer, where the edit can't be made."""

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return an edited candidate; the one given is never touched."""


@runtime_checkable
class Runtime(Protocol):
    """One runtime.

    ``rtol``: largest difference to PyTorch over the largest output, for float32 artifacts. ``precisions``: those that
    it can be exported in; another one is an ExportError. ``not_run``: '' where its artifacts are run, else why
    they never are.
    """

    name: str
    rtol: float
    precisions: tuple[Precision, ...]
    not_run: str

    def missing(self) -> str | None:
        """Return None where it is usable, else what to install."""

    def version(self) -> str:
        """Return the runtime's version."""

    def unsupported(self, graph: Graph) -> tuple[Node, ...]:
        """Return the nodes that it can't run."""

    def export(self, candidate: Candidate, folder: Path) -> Artifact:
        """Write an artifact into ``folder``, wholly or not at all."""

    def load(self, artifact: Artifact, threads: int) -> Predict:
        """Return a function that runs the artifact."""

    def layer_times(self, artifact: Artifact, threads: int, n: int) -> LayerTimes | None:
        """Return the time per layer; None where the runtime can't tell."""

    def planned_peak(self, artifact: Artifact) -> PlannedPeak | None:
        """Return the peak of activations as the runtime plans them; None where its plan isn't known."""

    def intermediates(self, artifact: Artifact, image: Array) -> tuple[Intermediate, ...]:
        """Return what every node computes for one image, in order of execution; () where the runtime can't tell."""


class Progress(Protocol):
    """Who is told how far the work has got: the command line draws bars, a program stays silent.

    Steps nest: ``start`` opens one inside the one that is open, ``advance`` and ``finish`` speak of the innermost.
    """

    def start(self, what: str, total: int) -> None:
        """Open a step of ``total`` parts; 0 where the number is unknown."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count ``n`` more parts as done; ``note`` says how it stands, e.g. ``loss 0.31``."""

    def finish(self) -> None:
        """Close the innermost open step."""

    def say(self, line: str) -> None:
        """Tell the reader one line that stays, e.g. a finished rung's figures."""


@dataclass(frozen=True)
class Silent:
    """The ``Progress`` that tells nobody."""

    def start(self, what: str, total: int) -> None:
        """Do nothing."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""
