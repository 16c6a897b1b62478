"""One readable loop: train(candidate, data, recipe) -> TrainResult. Resumable, and repeatable by its seed.

Every step draws its batch, its flips and what dropout takes from (seed, step) alone, so a run that was killed and goes
on sees what an unbroken one would have seen.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError  # only the name of what torch.load raises: weights_only=True unpickles no code
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from flyweight import files
from flyweight.build import box_code
from flyweight.contracts import Candidate, DataSet, Progress, Silent, Split, TaskMember
from flyweight.data._arrays import ArraySplit
from flyweight.errors import FileError, TrainingError
from flyweight.evaluate import preprocess
from flyweight.tasks import TASKS
from flyweight.tasks.segment import class_weights

CHECKPOINT = "training.pt"
HEAD = "head"  # of a network that is built from a spec


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: AdamW, linear warm-up, cosine decay to zero, random flips, weighted cross-entropy.

    Sources: AdamW arXiv 1711.05101; cosine decay arXiv 1608.03983. Norms, biases and depthwise weights are not decayed
    (MobileNets, arXiv 1704.04861, section 3.2). ``norm_l1`` makes channels that are not needed scale to exactly zero,
    for pruning by ``bn_scale`` (Liu et al. 2017, arXiv 1708.06519, section 3): the step of proximal gradient, beside
    AdamW's own as its weight decay is, since AdamW would scale a gradient of constant size away. ``freeze_steps`` and
    ``backbone_rate`` are for networks that come with weights, and need one that is built from a spec, which tells its
    head from its backbone.
    """

    steps: int = 120
    batch: int = 16
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    warmup_steps: int = 20
    flips: Literal["both", "horizontal", "none"] = "both"
    class_weight_power: float = 0.25  # of segment.class_weights; higher finds rare classes sooner, at the coasts' cost
    checkpoint_steps: int = 40
    freeze_steps: int = 0  # first the head alone is trained; the rest stands still, its norms' statistics too
    backbone_rate: float = 1.0  # learning rate of all but the head, as a share of the head's
    norm_l1: float = 0.0  # pull of batch norms' scales to zero, by the learning rate: network slimming

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            **dataclasses.asdict(self),
            "optimizer": "AdamW",
            "schedule": "cosine",
            "loss": "weighted cross-entropy",
        }


@dataclass(frozen=True)
class TrainResult:
    """A trained candidate, the loss of every step, and the seconds that training took (resumed parts included)."""

    candidate: Candidate
    losses: tuple[float, ...]
    seconds: float


def train(
    candidate: Candidate,
    data: DataSet,
    recipe: Recipe,
    *,
    seed: int = 0,
    folder: Path | None = None,
    progress: Progress | None = None,
    label: str = "train",
    after_step: Callable[[nn.Module, int], None] | None = None,
) -> TrainResult:
    """Train a copy of the candidate's module; with ``folder``, go on from the checkpoint that lies there.

    ``after_step`` may change the weights behind every step: called with the module and the step's number, and before
    the first step, of a run that goes on too, with the last number that is done, -1 at the very beginning.

    Raises:
        TrainingError: the loss is not finite (names the step), or the backbone shall stand still in a module of which
            nothing says what its head is.
        FileError: the checkpoint can't be read or written.
    """
    _check_head(candidate, recipe)
    progress = progress or Silent()
    module = copy.deepcopy(candidate.module).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_groups(module, recipe), lr=recipe.learning_rate)
    batches = _Batches(data, candidate, recipe, seed)
    weights = torch.from_numpy(
        np.asarray(class_weights(data.class_shares, recipe.class_weight_power), dtype=np.float32)
    )
    task = _task(candidate, data)
    losses, seconds = _resume(folder, module, optimizer, _key(candidate, recipe, seed, data))
    progress.start(label, recipe.steps)
    progress.advance(len(losses))
    started = time.perf_counter() - seconds
    _set_frozen(module, recipe, len(losses))
    after_step = after_step or (lambda module, step: None)
    after_step(module, len(losses) - 1)
    for step in range(len(losses), recipe.steps):
        if step == recipe.freeze_steps:
            _set_frozen(module, recipe, step)
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(int(np.random.SeedSequence((seed, 2, step)).generate_state(1)[0]))
            losses.append(_step(module, optimizer, batches[step], task, weights, recipe, step))
        _shrink_scales(module, recipe, step)
        after_step(module, step)
        progress.advance(1, f"loss {sum(losses[-20:]) / len(losses[-20:]):.3f}")
        if folder and (step + 1) % recipe.checkpoint_steps == 0 and step + 1 < recipe.steps:
            _save(folder, module, optimizer, losses, time.perf_counter() - started, _key(candidate, recipe, seed, data))
    progress.finish()
    _set_frozen(module, recipe, recipe.freeze_steps)
    module = module.to(memory_format=torch.contiguous_format).eval()
    return TrainResult(replace(candidate, module=module), tuple(losses), time.perf_counter() - started)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: up linearly over the warm-up, then down to zero along a cosine."""
    warmup = min(recipe.warmup_steps, recipe.steps // 2)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(recipe.steps - warmup, 1)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: tuple[Tensor, Tensor],
    task: TaskMember,
    weights: Tensor,
    recipe: Recipe,
    step: int,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, recipe) * group["rate"]
    images, targets = batch
    value = task.loss(module(images), targets, weights)
    if not math.isfinite(value.item()):
        raise TrainingError(
            f"the loss is {value.item()} at step {step}. Lower the learning rate ({recipe.learning_rate})."
        )
    optimizer.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(value.item())


def _shrink_scales(module: nn.Module, recipe: Recipe, step: int) -> None:
    """Bring the scales of batch norms nearer to zero, and no further: soft thresholding by ``rate * norm_l1``."""
    if not recipe.norm_l1 or step < recipe.freeze_steps:
        return
    pull = learning_rate(step, recipe) * recipe.backbone_rate * recipe.norm_l1
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, _BatchNorm) and part.affine:
                part.weight.copy_(nn.functional.softshrink(part.weight, pull))


class _Batches:
    """Batch ``step`` of an endless stream: epoch by epoch, each in its own order, flipped at random."""

    def __init__(self, data: DataSet, candidate: Candidate, recipe: Recipe, seed: int) -> None:
        self.task = TASKS.get(data.task)
        self.images, self.targets = _arrays(data.train, self.task.spatial)
        self.order: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, np.int64))  # of which epoch, and its images
        self.preprocessing, self.recipe, self.seed = candidate.preprocessing, recipe, seed

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        chosen = [self._index(step * self.recipe.batch + i) for i in range(self.recipe.batch)]
        rng = np.random.default_rng((self.seed, 1, step))
        pairs = [self._pair(i, rng) for i in chosen]
        if len({image.shape for image, _ in pairs}) == 1:
            inputs = preprocess(np.stack([image for image, _ in pairs]), self.preprocessing)
        else:
            inputs = np.concatenate([preprocess(image[None], self.preprocessing) for image, _ in pairs])
        images = torch.from_numpy(inputs).to(memory_format=torch.channels_last)
        return images, torch.from_numpy(self.task.batch([target for _, target in pairs]))

    def _pair(self, index: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Return an image and its target, flipped at random."""
        drawn = rng.random(2) < 0.5
        across = self.recipe.flips != "none" and bool(drawn[0])
        down = self.recipe.flips == "both" and bool(drawn[1])
        image = self.images[index][:: -1 if down else 1, :: -1 if across else 1]
        return image, self.task.flipped(self.targets[index], across, down)

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self.images))
        if self.order[0] != epoch:
            self.order = (epoch, np.random.default_rng((self.seed, 0, epoch)).permutation(len(self.images)))
        return int(self.order[1][place])


def _task(candidate: Candidate, data: DataSet) -> TaskMember:
    """Return the data set's task, as the candidate's network needs it."""
    spec = candidate.spec
    return TASKS.get(data.task).fitted(box_code(spec) if spec is not None and spec.task == "detect" else None)


def _arrays(split: Split, spatial: bool) -> tuple[Sequence[NDArray[np.uint8]], Sequence[NDArray[Any]]]:
    """Return all images and targets; where these are masks, images of different sizes are an error."""
    if isinstance(split, ArraySplit):
        return list(split.images), list(split.targets)
    pairs = [split[i] for i in range(len(split))]
    if spatial and (sizes := {image.shape for image, _ in pairs if image.shape != pairs[0][0].shape}):
        raise TrainingError(
            f"training needs images of one size, but there are {pairs[0][0].shape[:2]} and {sorted(sizes)[0][:2]} "
            "(height, width). Bring them to one size first."
        )
    return [image for image, _ in pairs], [target for _, target in pairs]


def _groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the optimizer's groups: decayed or not, the head's or with the share of its rate that the rest has."""
    head = {id(parameter) for parameter in getattr(module, HEAD, nn.Module()).parameters()}
    groups: dict[tuple[bool, float], list[Tensor]] = {}
    for parameter in module.parameters():
        depthwise_or_vector = parameter.dim() < 2 or (parameter.dim() == 4 and parameter.shape[1] == 1)
        rate = 1.0 if id(parameter) in head else recipe.backbone_rate
        groups.setdefault((not depthwise_or_vector, rate), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": recipe.weight_decay if decayed else 0.0, "rate": rate}
        for (decayed, rate), parameters in sorted(groups.items(), key=lambda item: item[0], reverse=True)
    ]


def _set_frozen(module: nn.Module, recipe: Recipe, step: int) -> None:
    """Let all but the head stand still at ``step``, weights and statistics of norms, or train with it again."""
    if not recipe.freeze_steps:
        return  # a user's own module may have parameters that stand still for ever
    frozen = step < recipe.freeze_steps
    for name, part in module.named_children():
        if name != HEAD:
            part.train(not frozen).requires_grad_(not frozen)


def _check_head(candidate: Candidate, recipe: Recipe) -> None:
    if (recipe.freeze_steps or recipe.backbone_rate != 1.0) and candidate.spec is None:
        raise TrainingError(
            "the backbone can stand still, or train slower, only in a network that is built from a spec: nothing says "
            "what the head of this module is. Leave out freeze_steps and backbone_rate."
        )
    if not 0 <= recipe.norm_l1 < math.inf:
        raise TrainingError(f"norm_l1 is {recipe.norm_l1}; allowed is 0 or more, e.g. 0.1.")
    if not 0 <= recipe.freeze_steps <= recipe.steps or not 0 < recipe.backbone_rate <= 1:
        raise TrainingError(
            f"freeze_steps is {recipe.freeze_steps} of {recipe.steps} steps and backbone_rate {recipe.backbone_rate}; "
            "allowed are 0 to all steps, and a rate above 0 up to 1."
        )


def _key(candidate: Candidate, recipe: Recipe, seed: int, data: DataSet) -> str:
    """Return what a checkpoint must agree on to be gone on from."""
    spec = candidate.spec.dumps() if candidate.spec else str(candidate.module)
    return f"{spec}|{recipe}|{seed}|{data.name}|{len(data.train)}"


def _save(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float], seconds: float, key: str
) -> None:
    state = {
        "module": module.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses, "seconds": seconds,
        "key": key,
    }  # fmt: skip
    with files.replacing(folder / CHECKPOINT) as part:
        try:
            torch.save(state, part)
        except RuntimeError as error:  # torch wraps a full disk in a RuntimeError of its own
            raise FileError(
                f"{folder / CHECKPOINT}: can't write the checkpoint ({error}). Is the disk full?"
            ) from error


def _resume(
    folder: Path | None, module: nn.Module, optimizer: torch.optim.Optimizer, key: str
) -> tuple[list[float], float]:
    """Load the checkpoint into module and optimizer; a checkpoint of another run is not touched and not used."""
    path = folder / CHECKPOINT if folder else None
    if path is None or not path.exists():
        return [], 0.0
    try:
        state = torch.load(path, weights_only=True)
        if state["key"] != key:
            return [], 0.0
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        return list(state["losses"]), float(state["seconds"])
    except (UnpicklingError, RuntimeError, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise FileError(
            f"{path}: a damaged checkpoint ({type(error).__name__}). Delete it to train this rung anew."
        ) from error
