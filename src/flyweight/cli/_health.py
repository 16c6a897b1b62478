"""What ``flyweight health`` prints: findings as rows, sums, and what is left when the removable channels are gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flyweight.cli._tables import si

if TYPE_CHECKING:
    from flyweight.contracts import Candidate, Progress
    from flyweight.health import Finding, Health

COLUMNS = ("layer", "what", "channels", "of", "evidence", "removable")
SHOWN_CHANNELS = 6
_WORDS = {
    "dead": "dead", "unread": "unread", "near_zero": "near zero", "saturated": "saturated", "not_finite": "not finite",
    "variance": "variance",
}  # fmt: skip


@dataclass(frozen=True)
class Removed:
    """Counted figures of a network as it is, and without what can be removed: parameters and MACs."""

    params: int
    macs: int
    params_left: int
    macs_left: int
    images: int


@dataclass(frozen=True)
class Examined:
    """A network's health, and what removing would save: by the weights, and by the images; None where nothing."""

    health: Health
    by_weights: Removed | None
    by_images: Removed | None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        saved = {"by_weights": self.by_weights, "by_images": self.by_images}
        return {**self.health.to_json(), "removal": {k: vars(v) if v else None for k, v in saved.items()}}


def examined(candidate: Candidate, data: str | None, images: int, share: float, progress: Progress) -> Examined:
    """Return the health of a network, on images of a data set where one is named; errors as each step says."""
    from flyweight.evaluate import example_input
    from flyweight.health import anatomy, diagnose

    example, inputs = example_input(candidate), _inputs(candidate, data, images)
    health = diagnose(candidate.module, example, inputs, saturated=share, progress=progress)
    if not any(finding.removable for finding in health.findings):
        return Examined(health, None, None)
    found = anatomy(candidate.module, example, inputs)
    by_images = any(finding.images and finding.removable for finding in health.findings)
    by_weights = any(not finding.images and finding.removable for finding in health.findings)
    return Examined(
        health,
        _removed(found, example, 0) if by_weights else None,
        _removed(found, example, health.images) if by_images else None,
    )


def _inputs(candidate: Candidate, data: str | None, count: int) -> Any:
    """Return images spread evenly over a training split, preprocessed; None without a data set."""
    if data is None:
        return None
    import numpy as np

    from flyweight.data import load_dataset
    from flyweight.evaluate import preprocess

    train = load_dataset(data).train
    chosen = np.unique(np.linspace(0, len(train) - 1, min(count, len(train))).astype(int))
    return np.concatenate([preprocess(train[int(i)][0][None], candidate.preprocessing) for i in chosen])


def _removed(found: Any, example: Any, images: int) -> Removed | None:
    from flyweight.profile import profile, profile_module
    from flyweight.transforms.remove_dead import removed

    module, plan = removed(found, example, on_images=images > 0)
    if not plan.ids.size:
        return None
    before, after = profile(found.graph), profile_module(module, example)
    return Removed(before.params, before.macs, after.params, after.macs, images)


def remarks(health: Health) -> Iterator[str]:
    """Yield what is to be said besides findings."""
    if health.random:
        yield "The weights are random: no diagnosis. Give trained ones, e.g. a .safetensors file or a rung of a run."
    elif not health.findings:
        seen = "No channel is dead, unread, near zero or saturated."
        yield seen if health.images else "By the weights no channel is dead, unread or near zero. Add --data for more."
    if health.computed:
        yield f"Not looked at, since their weights are computed as they run: {', '.join(health.computed)}."


def rows(health: Health) -> list[list[str]]:
    """Return a row for each finding."""
    return [
        [
            finding.layer or "(root)",
            f"{_WORDS[finding.kind]}: {finding.what}",
            _numbers(finding.channels),
            str(finding.of),
            finding.evidence,
            str(len(finding.removable)) if finding.kind in ("dead", "unread") else "",
        ]
        for finding in health.findings
    ]


def _numbers(channels: Iterable[int]) -> str:
    all_of = list(channels)
    more = f" and {len(all_of) - SHOWN_CHANNELS} more" if len(all_of) > SHOWN_CHANNELS else ""
    return ", ".join(map(str, all_of[:SHOWN_CHANNELS])) + more


def summary(found: Examined) -> Iterator[str]:
    """Yield the sums: how many of each kind, what can go, what must stay and why."""
    for kind, word in _WORDS.items():
        if own := [finding for finding in found.health.findings if finding.kind == kind]:
            yield f"{word}: {_sum(own)}"
    for removed in (found.by_weights, found.by_images):
        if removed:
            where = f"on these {removed.images} images" if removed.images else "for all inputs"
            params, macs = _left(removed.params_left, removed.params), _left(removed.macs_left, removed.macs)
            yield f"without the removable ones (counted; outputs equal {where}): {params} parameters, {macs} MACs"
    for finding in found.health.findings:
        if finding.left_whole:
            yield f"left whole in {finding.layer}: {finding.left_whole}"


def _sum(findings: list[Finding]) -> str:
    count, layers = sum(len(f.channels) for f in findings), len({f.layer for f in findings})
    channels = f"{count} channel{'s' * (count != 1)} of {layers} layer{'s' * (layers != 1)}"
    if findings[0].kind not in ("dead", "unread"):
        return channels
    return f"{channels}, {sum(len(f.removable) for f in findings)} of them removable"


def _left(after: int, before: int) -> str:
    return f"{si(after)} of {si(before)}"
