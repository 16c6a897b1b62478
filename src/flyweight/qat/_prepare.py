"""From a trained candidate to one that trains on the int8 grids, and from that to the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from numpy.typing import NDArray

from flyweight.contracts import Candidate, Change, Int8File, Quantization
from flyweight.errors import ExportError
from flyweight.qat._grid import WeightGrid
from flyweight.qat._network import FakeQuantized
from flyweight.quantize._observers import OBSERVERS
from flyweight.quantize._plan import plan
from flyweight.quantize._run import histograms, scales
from flyweight.runtimes._onnx_export import export_onnx
from flyweight.runtimes._onnx_int8 import prepared, with_conversions


@dataclass(frozen=True)
class Rounding:
    """What is rounded how.

    Args:
        observer: chooses the first ranges of activations: "minmax", "percentile", "mse" or "entropy".
        ranges: "learned": steps are trained with the weights. "fixed": activations keep the first ranges, and a
            weight's range follows its largest value.
    """

    weights: WeightGrid = field(default_factory=WeightGrid)
    observer: str = "mse"
    ranges: Literal["learned", "fixed"] = "learned"

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "weight_bits": self.weights.bits, "per_channel": self.weights.per_channel, "observer": self.observer,
            "ranges": self.ranges,
        }  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A candidate whose module is a ``FakeQuantized``, and what its file says of nodes.

    ``module_of``: node name -> path of the module in the network that it was made from.
    """

    candidate: Candidate
    module_of: Mapping[str, str]
    notes: tuple[str, ...]
    calibration: NDArray[Any]

    @property
    def network(self) -> FakeQuantized:
        """Return the module that rounds."""
        assert isinstance(self.candidate.module, FakeQuantized)
        return self.candidate.module

    def having(self, module: FakeQuantized) -> Prepared:
        """Return a copy with another module, e.g. a trained one."""
        return replace(self, candidate=replace(self.candidate, module=module.eval()))

    def exportable(self) -> Candidate:
        """Return a candidate that ONNX Runtime and OpenVINO export as the int8 file that this module stands for."""
        model = self.network.file()
        module_of = with_conversions(model, self.module_of)
        made = Int8File(model.SerializeToString(deterministic=True), module_of, self.notes)
        return replace(self.candidate, quantization=Quantization(self.calibration, made=made))


def prepare(candidate: Candidate, calibration: NDArray[Any], rounding: Rounding | None = None) -> Prepared:
    """Return the candidate's network, norms folded, rounding where the int8 file will, its ranges from images.

    Args:
        candidate: trained; norms' statistics are kept as they are.
        calibration: inputs ``(n, C, H, W)`` as the network is fed them.

    Raises:
        ExportError: the network has no ONNX form, an operator has no gradient here, or an activation isn't finite.
    """
    rounding = rounding or Rounding()
    if rounding.observer not in OBSERVERS:
        raise ExportError(f"no observer '{rounding.observer}'. Known: {', '.join(OBSERVERS)}.")
    model, module_of = export_onnx(candidate)
    module_of, stay, notes = prepared(model, module_of)
    what = plan(model, stay)
    names = [name for name in what.points if name not in what.same]
    found = scales(histograms(model, names, calibration), what, rounding.observer)
    network = FakeQuantized(model, what, found, rounding.weights, rounding.ranges == "learned").eval()
    change = Change("quantization-aware training", rounding.to_json(), tuple(layer.weight for layer in what.layers))
    made = replace(candidate, module=network, quantization=None).having(change)
    return Prepared(made, module_of, tuple(notes), calibration)
