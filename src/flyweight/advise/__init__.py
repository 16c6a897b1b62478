"""Advice: what is slow in a network, why, which edit would mend it, and what that would buy.

Every edit is applied to the spec, the edited network is traced without weights, and its time is predicted from the
measured layers of the network as it is (``flyweight.advise._time``): an estimate, with its interval. MACs and bytes
are counted. An edit whose prediction is no gain is not advised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from flyweight.advise._proposals import Place, Proposal, Risk, proposals
from flyweight.advise._time import Prediction, TimeModel, time_model
from flyweight.advise._work import works
from flyweight.contracts import LayerTimes, Transform
from flyweight.errors import SpecError, TransformError, UsageError
from flyweight.profile import Profile, profile_spec
from flyweight.spec import ArchSpec
from flyweight.transforms.quantize_int8 import QuantizeInt8
from flyweight.transforms.reparameterize import Reparameterize, deployed

LANES = 16  # of AVX-512, whose blocks ONNX Runtime's kernels have; AVX2 has 8
INT8_SPREAD = 0.3  # relative half width of the interval of an int8 network's time: kernels of a kind differ
WORTH = 0.02  # share of the time below which a predicted gain is not worth a finding
RISKS: Mapping[Risk, str] = {
    "none": "none: exact", "images": "small: needs images to calibrate on", "retrain": "needs retraining",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One piece of advice.

    Attributes:
        edits: the transforms that mend it, in order. words: what they do. layers: where.
        reason: why, in figures. risk: to the accuracy.
        gain_ms: predicted; negative for what wins accuracy (``wins``) at the cost of time. low_ms, high_ms: its 90 %
            interval. time_ms: predicted time behind the edit.
        macs, bytes: counted: by how much they fall; bytes are those of the weights.
        idea: findings of one idea on the same layers are strengths of one another.
    """

    edits: tuple[Transform, ...]
    words: str
    layers: tuple[str, ...]
    reason: str
    risk: Risk
    gain_ms: float
    low_ms: float
    high_ms: float
    time_ms: float
    macs: int
    bytes: int
    idea: str
    wins: bool = False
    spec: ArchSpec | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        edits = [{"transform": edit.name, "settings": _settings(edit)} for edit in self.edits]
        return {
            "edit": self.words, "edits": edits, "layers": list(self.layers), "reason": self.reason,
            "accuracy_risk": RISKS[self.risk], "wins_accuracy": self.wins,
            "predicted": {
                "gain_ms": self.gain_ms, "low_ms": self.low_ms, "high_ms": self.high_ms, "time_ms": self.time_ms,
            },
            "counted": {"macs_saved": self.macs, "weight_bytes_saved": self.bytes},
        }  # fmt: skip


@dataclass(frozen=True)
class Advice:
    """Findings on one network, those that buy most time first; behind them those that win accuracy.

    ``time_ms`` is measured: a run of the network as it is. ``int8``: measured time of int8 kernels over float ones, by
    kind; empty where it is not known.
    """

    time_ms: float
    macs: int
    weight_bytes: int
    findings: tuple[Finding, ...]


def advise(
    spec: ArchSpec,
    profile: Profile,
    times: LayerTimes,
    *,
    int8: Mapping[str, float] | None = None,
    lanes: int = LANES,
) -> Advice:
    """Return the advice on a network.

    Args:
        spec: its architecture. profile: its counted figures. times: its measured layers.
        int8: how long int8 kernels take over float ones, by kind, as measured on this machine; without it int8 is not
            advised.
        lanes: float32 numbers in a vector register.

    Raises:
        UsageError: the times are of no kernel.
    """
    if not times.kernels_us:
        raise UsageError("advice needs measured layers: the runtime told the time of none.")
    model = time_model(works(profile, lanes), times)
    place = Place(spec, profile, model)
    found = [finding for item in proposals(place) if (finding := _judged(item, place, lanes)) is not None]
    if int8:
        found += [quantized(place, int8)]
    paying = [f for f in found if f.wins or f.gain_ms >= WORTH * model.total_us / 1e3]
    paying.sort(key=lambda f: (f.wins, -f.gain_ms))
    return Advice(model.total_us / 1e3, profile.macs, profile.param_bytes, tuple(paying))


def _judged(item: Proposal, place: Place, lanes: int) -> Finding | None:
    """Return the finding of a proposal; None where the network can't be built so, or nothing would change."""
    try:
        spec = edited(place.spec, item.edits)
        after = profile_spec(spec)
    except (SpecError, TransformError):
        return None
    if spec == place.spec:
        return None
    return _finding(item, spec, after, place.model.predict(works(after, lanes)), place)


def edited(spec: ArchSpec, edits: Iterable[Transform]) -> ArchSpec:
    """Return the spec behind edits; those that don't edit specs leave it.

    Raises:
        TransformError, SpecError: the spec does not allow one of them.
    """
    for edit in edits:
        if isinstance(edit, Reparameterize):
            spec = deployed(spec)
        elif callable(change := getattr(edit, "edit", None)):
            spec = change(spec)
    return spec


def _finding(item: Proposal, spec: ArchSpec, after: Profile, predicted: Prediction, place: Place) -> Finding:
    gain, half = place.model.total_us - predicted.us, predicted.half_us
    return Finding(
        edits=item.edits, words=item.words, layers=item.layers, reason=item.reason, risk=item.risk,
        gain_ms=gain / 1e3, low_ms=(gain - half) / 1e3, high_ms=min(gain + half, place.model.total_us) / 1e3,
        time_ms=predicted.us / 1e3, macs=place.profile.macs - after.macs,
        bytes=place.profile.param_bytes - after.param_bytes, idea=item.idea, wins=item.wins, spec=spec,
    )  # fmt: skip


def quantized(place: Place, int8: Mapping[str, float]) -> Finding:
    """Return the finding of int8: every kernel's time by the measured ratio of its kind."""
    model = place.model
    by_kind: dict[str, float] = {}
    for module, us in model.measured.items():
        kind = model.works[module].kind if module in model.works else "move"
        by_kind[kind] = by_kind.get(kind, 0.0) + us
    after = sum(us * int8.get(kind, 1.0) for kind, us in by_kind.items())
    dearest = max(by_kind, key=lambda kind: by_kind[kind])
    item = Proposal(
        (QuantizeInt8(),), ("all layers",), "int8, post-training",
        f"{by_kind[dearest] / model.total_us:.0%} of the time are {dearest} kernels, which take "
        f"{int8.get(dearest, 1.0):.2g} times as long in int8 on this machine", "images", "int8",
    )  # fmt: skip
    found = _finding(item, place.spec, place.profile, Prediction(after, INT8_SPREAD * after, {}), place)
    return _with_bytes(found, place.profile.param_bytes * 3 // 4)


def _with_bytes(finding: Finding, saved: int) -> Finding:
    return replace(finding, bytes=saved)


def chosen(findings: Iterable[Finding], target_ms: float | None = None) -> tuple[Finding, ...]:
    """Return one strength of each idea on the same layers: the mildest that reaches the target, else the strongest.

    Without a target it is the mildest that buys a tenth of the time; findings keep their order.
    """
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.idea, finding.layers[0] if finding.idea in _PER_LAYER else ""), []).append(finding)
    kept = [_strength(group, target_ms) for group in groups.values()]
    return tuple(sorted(kept, key=lambda f: (f.wins, -f.gain_ms)))


_PER_LAYER = ("width", "expansion", "alignment")


def _strength(group: list[Finding], target_ms: float | None) -> Finding:
    mildest_first = sorted(group, key=lambda f: f.gain_ms)
    if group[0].wins:
        return mildest_first[0]
    enough = target_ms if target_ms is not None else 0.9 * (group[0].time_ms + group[0].gain_ms)
    return next((f for f in mildest_first if f.time_ms <= enough), mildest_first[-1])


def _settings(edit: Transform) -> dict[str, Any]:
    return {field.name: getattr(edit, field.name) for field in fields(edit)}  # type: ignore[arg-type]  # a frozen dataclass


__all__ = ["Advice", "Finding", "TimeModel", "advise", "chosen", "edited", "time_model", "works"]
