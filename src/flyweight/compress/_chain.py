"""The stages one after the other, each left in the folder before the next begins."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from flyweight import codec, files
from flyweight.compress._code import bits_for, check, file_of, layer_reports, stages_of
from flyweight.compress._score import HEADLINES, for_channels, metric
from flyweight.compress._settings import Compressed, CurvePoint, Settings
from flyweight.contracts import Candidate, Change, DataSet, Progress, Silent
from flyweight.errors import OverBudgetError, UsageError
from flyweight.packing import open_packed
from flyweight.saved import load_candidate, save_candidate
from flyweight.share import Sharing, baked, centroids, share, shared
from flyweight.sparse import Cubic, Gradual, density, layer_kinds, zeros
from flyweight.train import CHECKPOINT, train

FILE, RECORD = "model.fly", "compress.json"
TRIED_MORE_BITS = 3  # how often a sharing that loses too much gets a bit more
PRUNING = 0.6  # share of a round's steps in which weights go; the rest trains what is left
CURVE_BITS = ((8, 8), (8, 5), (6, 5), (5, 4), (4, 3), (3, 2))


def compress(
    candidate: Candidate, data: DataSet, settings: Settings, folder: Path, progress: Progress | None = None
) -> Compressed:
    """Prune, train on, share, train on, and code; leave ``model.fly`` and ``compress.json`` in ``folder``.

    Killed at any point, the same call goes on; what is finished is read.

    Raises:
        UsageError: a network that no file gives back, data of another task, or a folder with another run.
        OverBudgetError: no round, or no sharing, loses as little as ``max_drop``.
        TrainingError, FileError: as training and reading say.
    """
    check(candidate)
    if candidate.spec is not None and candidate.spec.task != data.task:
        raise UsageError(f"MODEL is of task '{candidate.spec.task}', but '{data.name}' is for '{data.task}'.")
    with files.held(folder):
        return _Chain(candidate, for_channels(data, candidate.input_shape[1]), settings, folder, progress).run()


def plan_lines(candidate: Candidate, data: DataSet, settings: Settings) -> Iterator[str]:
    """Yield what would be done, in words."""
    weights = dict(candidate.module.named_parameters())
    kinds = layer_kinds(candidate.module)
    coded, total = sum(weights[name].numel() for name in kinds), sum(w.numel() for w in weights.values())
    convs = sum(kind == "conv" for kind in kinds.values())
    yield f"{total:,} parameters; {coded:,} of them in {convs} convolutions and {len(kinds) - convs} fully connected"
    rounds = ", ".join(f"{100 * d:g} %" for d in settings.densities)
    yield f"prune to {rounds} of the weights, compared by '{settings.scope}', {settings.prune.steps} steps each"
    bits = "as fit" if settings.max_bytes else f"{settings.conv_bits} and {settings.fc_bits}"
    yield f"share: {bits} bits in convolutions and fully connected layers, {settings.share.steps} steps"
    yield f"train on {len(data.train)} images, judge on {len(data.val)}"
    if settings.max_drop is not None:
        yield f"a round that loses more than {settings.max_drop:g} points is not kept"


class _Chain:
    """One run: its record grows by what is finished."""

    def __init__(
        self, candidate: Candidate, data: DataSet, settings: Settings, folder: Path, progress: Progress | None
    ) -> None:
        self.given, self.data, self.settings, self.folder = candidate, data, settings, folder
        self.progress = progress or Silent()
        self.headline = HEADLINES[data.task]
        self.record: dict[str, Any] = self._opened()

    def _opened(self) -> dict[str, Any]:
        """Return what earlier calls have finished."""
        assert self.given.spec is not None
        told = {
            "settings": self.settings.to_json(), "data": self.data.name, "images": len(self.data.train),
            "spec": self.given.spec.to_json(), "weights": _digest(self.given.module),
        }  # fmt: skip
        path = self.folder / RECORD
        if not path.exists():
            return {"asked": told}
        found: dict[str, Any] = files.read_json(path)
        if found.get("asked") != told:
            there = found.get("asked", {})
            other = [name for name, value in told.items() if there.get(name) != value]
            raise UsageError(
                f"{self.folder} holds a run with other {', '.join(other)}. Choose another --out, or delete it."
            )
        return found

    def _note(self, **entries: Any) -> None:
        self.record |= entries
        files.write_json(self.folder / RECORD, self.record)

    def run(self) -> Compressed:
        """Return the result, of this call or of an earlier one."""
        if "before" not in self.record:
            self._note(before=self._val(self.given.module), test_before=self._test(self.given.module))
        self._say(f"{self.headline} of the given network on the validation images", self.record["before"])
        kept = self._rounds()
        name, trained = self._sharings(kept)
        return self._finished(name, trained)

    def _say(self, what: str, value: float) -> None:
        self.progress.say(f"{what}: {100 * value:.2f} %")

    def _val(self, module: nn.Module) -> float:
        return metric(self.given, module, self.data.val, self.data)

    def _test(self, module: nn.Module) -> float:
        return metric(self.given, module, self.data.test, self.data)

    def _good(self, value: float) -> bool:
        """Return whether a metric keeps to the drop that is allowed."""
        limit = self.settings.max_drop
        return limit is None or value >= self.record["before"] - limit / 100 - 1e-9

    def _rounds(self) -> list[int]:
        """Prune round after round; return those that are good, the sparsest last."""
        rounds: list[dict[str, Any]] = self.record.get("rounds", [])
        for index, wanted in enumerate(self.settings.densities):
            if rounds and not rounds[-1]["good"]:
                break
            if index < len(rounds):
                continue
            rounds.append(self._round(index, wanted))
            self._note(rounds=rounds)
            self._say(f"pruned to {100 * rounds[-1]['density']:.1f} % of the weights", rounds[-1]["metric"])
        good = [index for index, each in enumerate(rounds) if each["good"]]
        if not good:
            raise OverBudgetError(
                f"pruned to {100 * self.settings.densities[0]:g} % of its weights the network loses more than "
                f"{self.settings.max_drop:g} points. Allow a larger drop, more steps, or begin with a larger density."
            )
        return good

    def _round(self, index: int, wanted: float) -> dict[str, Any]:
        recipe, before = self.settings.prune, self._pruned(index - 1)
        start = self.settings.densities[index - 1] if index else 1.0
        end = max(1, round(PRUNING * recipe.steps))
        gradual = Gradual(Cubic(wanted, end=end, every=max(1, recipe.steps // 50), start=start), self.settings.scope)
        folder = self.folder / f"round-{index}"
        done = train(before, self.data, recipe, seed=self.settings.seed, folder=folder, progress=self.progress,
                     label=f"prune to {100 * wanted:g} %", after_step=gradual)  # fmt: skip
        left = density(
            {n: mask for n, mask in zeros(done.candidate.module).items() if n in layer_kinds(self.given.module)}
        )
        save_candidate(self._path(index), done.candidate)
        (folder / CHECKPOINT).unlink(missing_ok=True)
        value = self._val(done.candidate.module)
        return {"density": left, "metric": value, "good": self._good(value), "seconds": done.seconds}

    def _path(self, index: int) -> Path:
        return self.folder / f"round-{index}" / "model.safetensors"

    def _pruned(self, index: int) -> Candidate:
        return self.given if index < 0 else load_candidate(self._path(index))[0]

    def _sharings(self, good: list[int]) -> tuple[str, dict[str, Any]]:
        """Share the sparsest good round; where that loses too much, with more bits, then the round before."""
        tried: dict[str, dict[str, Any]] = self.record.get("sharings", {})
        ways = [(index, more) for index in reversed(good) for more in range(TRIED_MORE_BITS)]
        if self.settings.max_bytes is not None:
            ways = [(index, 0) for index in reversed(good)]
        for index, more in ways:
            name = f"share-{index}-{more}"
            if name not in tried:
                tried[name] = self._sharing(name, index, more)
                self._note(sharings=tried)
                self._say(f"shared and trained on, {tried[name]['bytes']:,} bytes", tried[name]["metric"])
            if tried[name]["good"]:
                return name, tried[name]
        raise OverBudgetError(
            f"sharing loses more than {self.settings.max_drop:g} points each time. Allow a larger drop, more bits, or "
            "more steps of training."
        )

    def _sharing(self, name: str, index: int, more: int) -> dict[str, Any]:
        pruned = self._pruned(index)
        books = self._shared(pruned, more)
        module = shared(copy.deepcopy(pruned.module), {n: (s.codes, s.book) for n, s in books.items()})
        untrained = self._val(module)
        done = train(replace(pruned, module=module), self.data, self.settings.share, seed=self.settings.seed,
                     folder=self.folder / name, progress=self.progress, label="train the centroids")  # fmt: skip
        trained = done.candidate.module
        book = centroids(trained)
        change = Change(
            "compress", {"densities": list(self.settings.densities[: index + 1]), "scope": self.settings.scope},
            tuple(books), f"{self.record['before']:.4f}", f"{self.headline} {self._val(trained):.4f} when coded",
        )  # fmt: skip
        plain = replace(pruned, module=baked(trained)).having(change)
        data = file_of(plain, books, self.settings, book)
        files.write_bytes(self.folder / name / FILE, data)
        (self.folder / name / CHECKPOINT).unlink(missing_ok=True)
        value = self._val(plain.module)
        return {
            "round": index, "bytes": len(data), "metric": value, "untrained": untrained, "good": self._good(value),
            "seconds": done.seconds,
        }  # fmt: skip

    def _shared(self, pruned: Candidate, more: int) -> dict[str, Sharing]:
        return share(pruned.module, bits_for(pruned, self.settings, more), self.settings.start, self.settings.seed)

    def _finished(self, name: str, found: Mapping[str, Any]) -> Compressed:
        """Open the file again, score what it gives back, and write what was found."""
        path = self.folder / FILE
        files.write_bytes(path, files.read_bytes(self.folder / name / FILE))
        back, sizes = open_packed(path), codec.open_container(path).shared_sizes()
        given = self.record
        if "after" not in given:
            self._note(after=self._val(back.module), test_after=self._test(back.module))
            self._note(curve=[vars(p) for p in self._curve(found)])
        pruned = self._pruned(found["round"])
        before = {n: p.detach().numpy() for n, p in pruned.module.named_parameters()}
        books = {n: np.unique(p.detach().numpy()) for n, p in back.module.named_parameters() if n in before}
        layers = layer_reports(sizes, before, {n: b[b != 0] for n, b in books.items()})
        floats = sum(4 * t.numel() for t in self.given.module.state_dict().values() if t.is_floating_point())
        rounds, bytes_ = given["rounds"], path.stat().st_size
        metrics = {"given": given["before"], "pruned": rounds[found["round"]]["metric"], "shared": given["after"]}
        made = Compressed(
            back.spec.name if back.spec else "", self.data.name, self.settings.to_json(), self.headline,
            len(self.data.val), stages_of(layers, floats, bytes_, metrics), layers,
            tuple(CurvePoint(**p) for p in given["curve"]), given["before"], given["after"], given["test_before"],
            given["test_after"], bytes_, floats,
            sum(e["seconds"] for e in (*rounds, *given["sharings"].values())), tuple(self._refused()),
        )  # fmt: skip
        self._note(result=made.to_json())
        return made

    def _refused(self) -> Iterator[str]:
        for each in self.record["rounds"]:
            if not each["good"]:
                yield f"pruned to {100 * each['density']:.1f} % of the weights: {100 * each['metric']:.2f} %"
        for name, each in self.record["sharings"].items():
            if not each["good"]:
                yield f"{name}, {each['bytes']:,} bytes: {100 * each['metric']:.2f} %"

    def _curve(self, found: Mapping[str, Any]) -> Iterator[CurvePoint]:
        """Yield the chosen file; and its network, pruned but not trained after, shared in more and in fewer bits."""
        yield CurvePoint("the file", found["bytes"], self.record["after"], True)
        pruned = self._pruned(found["round"])
        for conv, fc in CURVE_BITS:
            settings = replace(self.settings, conv_bits=conv, fc_bits=fc, max_bytes=None)
            books = share(pruned.module, bits_for(pruned, settings), settings.start, settings.seed)
            module = baked(shared(copy.deepcopy(pruned.module), {n: (s.codes, s.book) for n, s in books.items()}))
            data = file_of(replace(pruned, module=module), books, settings)
            yield CurvePoint(f"{conv} and {fc} bits", len(data), self._val(module), False)


def _digest(module: nn.Module) -> str:
    """Return what tells the given weights from others."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
