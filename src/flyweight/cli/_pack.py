"""What ``flyweight pack`` does with its options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyweight.errors import UsageError

if TYPE_CHECKING:
    from flyweight.contracts import Candidate, DataSet, Progress, Split
    from flyweight.packing import Packed

HEADLINES = {"classify": "top1", "segment": "miou", "detect": "map50_95"}
JUDGED = 64  # validation images that the error of the outputs is measured on
_UNITS = {"": 1, "k": 10**3, "M": 10**6}


@dataclass(frozen=True)
class Limit:
    """What the file is to keep to; one of them at most is set."""

    snr_db: float | None = None
    max_bytes: int | None = None
    max_drop: float | None = None


def checked(snr_db: float | None, max_bytes: str | None, max_drop: float | None, data: str | None) -> Limit:
    """Return the limit that is asked for.

    Raises:
        UsageError: two of them, a size that is no number, or a drop without data.
    """
    if sum(value is not None for value in (snr_db, max_bytes, max_drop)) > 1:
        raise UsageError("--snr-db, --max-bytes and --max-drop each say how large the file may get. Give one of them.")
    if max_drop is not None and data is None:
        raise UsageError("--max-drop needs images with their truth. Add --data, e.g. --data blue_marble.")
    return Limit(snr_db, None if max_bytes is None else size(max_bytes), max_drop)


def size(text: str) -> int:
    """Return the bytes that ``2500000``, ``2500k`` or ``2.5M`` stand for."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([kM]?)", text)
    if not found or not (bytes_ := int(float(found[1]) * _UNITS[found[2]])):
        raise UsageError(f"--max-bytes is {text!r}; write e.g. 2500000, 2500k or 2.5M (of 1000).")
    return bytes_


def packed(
    candidate: Candidate, limit: Limit, data: str | None, images: int, progress: Progress, base: Sequence[Path] = ()
) -> Packed:
    """Return the network packed as the options say.

    Raises:
        UsageError: it can't be packed, or not within the limit.
        DataError, MeasurementError: as opening and scoring the data say.
    """
    from flyweight.data import load_dataset
    from flyweight.packing import SNR_DB, Packer, read_base

    known = read_base(base) if base else None
    dataset = load_dataset(data) if data else None
    if dataset and limit.max_drop is not None:
        _check_task(candidate, dataset)
    seen = _inputs(candidate, dataset.train, images) if dataset else None
    judged = _inputs(candidate, dataset.val, JUDGED) if dataset else None
    packer = Packer(candidate, seen, progress, judged, known)
    if limit.max_bytes is not None:
        return packer.within(limit.max_bytes)
    if limit.max_drop is None or dataset is None:
        return packer.at_snr(SNR_DB if limit.snr_db is None else limit.snr_db)
    before = _metric(candidate, candidate.module, dataset)
    progress.say(f"{HEADLINES[dataset.task]} of the float network on the validation images: {100 * before:.2f} %")
    least = before - limit.max_drop / 100 - 1e-9
    found = packer.smallest(lambda module: _metric(candidate, module, dataset) >= least)
    if found is None:
        raise UsageError(f"no file loses at most {limit.max_drop:g} points. Allow a larger drop, or give --snr-db.")
    return found


def _check_task(candidate: Candidate, dataset: DataSet) -> None:
    if candidate.spec is not None and candidate.spec.task != dataset.task:
        raise UsageError(f"MODEL is of task '{candidate.spec.task}', but '{dataset.name}' is for '{dataset.task}'.")


def _inputs(candidate: Candidate, split: Split, count: int) -> Any:
    """Return images spread evenly over a split, preprocessed."""
    import numpy as np

    from flyweight.evaluate import preprocess

    chosen = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))
    images = [preprocess(split[int(i)][0][None], candidate.preprocessing) for i in chosen]
    return np.concatenate(images)


def _metric(candidate: Candidate, module: Any, dataset: DataSet) -> float:
    """Return the headline metric on the validation images, 0 to 1."""
    from flyweight.evaluate import evaluate, torch_predict

    metrics = evaluate(torch_predict(module), dataset.val, dataset, candidate.preprocessing, spec=candidate.spec)
    return float(metrics.to_json()[HEADLINES[dataset.task]])


def lines(made: Packed, path: Path, data: str | None) -> Iterator[str]:
    """Yield what is printed."""
    kb, float_kb = len(made.data) / 1000, made.float_bytes / 1000
    yield f"written: {path}, {kb:,.1f} kB, {float_kb / kb:.1f}x smaller than its {float_kb:,.1f} kB of float32"
    bits = 8 * len(made.data) / max(made.weights, 1)
    yield f"{made.weights:,} weights, {bits:.2f} bits each, all of the file counted"
    if made.judged:
        yield f"outputs {made.snr_db:.1f} dB above their error, measured on {made.judged} validation images of {data}"
        yield f"rounded by {made.inputs} training images"
    else:
        yield f"outputs about {made.snr_db:.0f} dB above their error, expected; rounded by made-up images"
        yield "real images, --data, give a smaller file and a measured figure"
