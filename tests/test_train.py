import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from flyweight.contracts import DataSet, Preprocessing
from flyweight.data._arrays import ArraySplit
from flyweight.errors import FileError, TrainingError, UsageError
from flyweight.evaluate import evaluate, torch_predict
from flyweight.saved import fresh_candidate
from flyweight.spec import HeadSpec, InputSpec, settings
from flyweight.train import CHECKPOINT, Recipe, _Batches, _shrink_scales, learning_rate, train
from flyweight.zoo import ZOO

DECONV = ZOO.get("mobilenet_v1_deconv").spec
SPEC = DECONV.replace(
    input=InputSpec(16, 16), classes=2, stages=tuple(s.replace(out_channels=8) for s in DECONV.stages[:4]),
    head=HeadSpec("deconv_decoder", (8, 4)),
)  # fmt: skip


class Squares:
    """Dark images with a bright square; the mask is the square."""

    def __init__(self, count: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.images = rng.integers(0, 60, (count, 16, 16, 3), dtype=np.uint8)
        self.masks = np.zeros((count, 16, 16), np.uint8)
        for image, mask in zip(self.images, self.masks, strict=True):
            y, x = rng.integers(0, 8, 2)
            image[y : y + 8, x : x + 8] += 150
            mask[y : y + 8, x : x + 8] = 1

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.images[index], self.masks[index]


DATA = DataSet(
    "squares", ("dark", "bright"), Squares(32, 0), Squares(8, 1), Squares(8, 2), (0.2,) * 3, (0.2,) * 3, (0.75, 0.25),
    size=(16, 16),
)  # fmt: skip
RECIPE = Recipe(steps=12, batch=8, warmup_steps=2, checkpoint_steps=5)


def start(seed: int = 0):
    return fresh_candidate(SPEC, Preprocessing(16, 16, DATA.mean, DATA.std), seed)


def weights(result) -> bytes:
    return b"".join(t.numpy().tobytes() for t in result.candidate.module.state_dict().values())


def test_training_lowers_the_loss_and_leaves_the_candidate_alone() -> None:
    candidate = start()
    before = {k: v.clone() for k, v in candidate.module.state_dict().items()}
    result = train(candidate, DATA, dataclasses.replace(RECIPE, steps=60))
    assert np.mean(result.losses[-10:]) < 0.6 * np.mean(result.losses[:5])
    assert all(torch.equal(v, before[k]) for k, v in candidate.module.state_dict().items())


def test_the_same_seed_trains_the_same_weights() -> None:
    assert weights(train(start(), DATA, RECIPE, seed=4)) == weights(train(start(), DATA, RECIPE, seed=4))


def test_another_seed_sees_other_batches() -> None:
    assert weights(train(start(), DATA, RECIPE, seed=4)) != weights(train(start(), DATA, RECIPE, seed=5))


class Killed(Exception):
    """Stands for kill -9: nothing that train() does on the way out may matter."""


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train(start(), DATA, RECIPE, seed=1)

    class Killer:
        steps = 0

        def start(self, what: str, total: int) -> None: ...
        def finish(self) -> None: ...
        def say(self, line: str) -> None: ...

        def advance(self, n: int = 1, note: str = "") -> None:
            self.steps += n
            if self.steps == 8:
                raise Killed

    with pytest.raises(Killed):
        train(start(), DATA, RECIPE, seed=1, folder=tmp_path, progress=Killer())
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["losses"] == list(whole.losses[:5])
    again = train(start(), DATA, RECIPE, seed=1, folder=tmp_path)
    assert again.losses == whole.losses
    assert weights(again) == weights(whole)


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(tmp_path: Path) -> None:
    train(start(), DATA, RECIPE, folder=tmp_path)
    other = dataclasses.replace(RECIPE, learning_rate=1e-4)
    assert weights(train(start(), DATA, other, folder=tmp_path)) == weights(train(start(), DATA, other))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(FileError, match=r"training\.pt: a damaged checkpoint.*Delete it"):
        train(start(), DATA, RECIPE, folder=tmp_path)


def test_a_loss_that_is_not_finite_stops_with_the_step() -> None:
    candidate = start()
    with torch.no_grad():
        candidate.module.head.classify.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"loss is nan at step 0. Lower the learning rate"):
        train(candidate, DATA, RECIPE)


def test_learning_rate_warms_up_and_decays_to_nearly_zero() -> None:
    recipe = Recipe(steps=100, warmup_steps=10, learning_rate=1.0)
    assert learning_rate(0, recipe) == 0.1
    assert learning_rate(9, recipe) == 1.0
    assert learning_rate(55, recipe) == pytest.approx(0.5)  # halfway down the cosine
    assert learning_rate(99, recipe) < 0.001


class Shades:
    """Dark and bright images of two sizes; the label says which."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        size = (16, 16) if index % 3 else (20, 12)
        return np.full((*size, 3), 40 + 150 * (index % 2), np.uint8), np.array(index % 2)


def test_a_classifier_learns_labels_of_images_of_any_size() -> None:
    split = Shades(24)
    data = DataSet(
        "shades", ("dark", "bright"), split, split, split, (0.4,) * 3, (0.3,) * 3, (0.5, 0.5), task="classify"
    )
    spec = SPEC.replace(task="classify", head=HeadSpec("pool_classifier"))
    candidate = fresh_candidate(spec, Preprocessing(16, 16, data.mean, data.std), 0)
    trained = train(candidate, data, dataclasses.replace(RECIPE, steps=60)).candidate
    metrics = evaluate(torch_predict(trained.module), data.test, data, trained.preprocessing)
    assert metrics.top1 == 1.0


def test_masks_of_images_of_different_sizes_are_an_error() -> None:
    class Mixed(Shades):
        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            image = super().__getitem__(index)[0]
            return image, np.zeros(image.shape[:2], np.uint8)

    split = Mixed(4)
    data = dataclasses.replace(DATA, train=split)
    with pytest.raises(TrainingError, match=r"training needs images of one size, but there are \(20, 12\)"):
        train(start(), data, RECIPE)


@pytest.mark.parametrize(
    ("flips", "corners"),
    [("none", {(0, 0)}), ("horizontal", {(0, 0), (0, 15)}), ("both", {(0, 0), (0, 15), (15, 0), (15, 15)})],
)
def test_images_are_flipped_only_as_the_recipe_says(flips: str, corners: set[tuple[int, int]]) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[0, 0] = 255  # marks the top left corner
    split = ArraySplit(np.stack([image] * 8), np.zeros(8, np.int64))
    data = dataclasses.replace(DATA, train=split, task="classify")
    batches = _Batches(data, start(), dataclasses.replace(RECIPE, flips=flips), seed=0)
    marks = [divmod(int(one[0].argmax()), 16) for step in range(20) for one in batches[step][0]]
    assert set(marks) == corners


def test_a_mask_is_flipped_with_its_image() -> None:
    batches = _Batches(DATA, start(), RECIPE, seed=0)
    for step in range(5):
        images, masks = batches[step]
        bright = images.mean(dim=1) > 0.9  # normalized: the square is 150 of 255 above the dark
        assert torch.equal(bright.long(), masks)


class Framed(Squares):
    """Dark images with a bright square, some cut smaller; the box is the square's, and some images have none."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows, columns = np.nonzero(self.masks[index])
        if index % 4 == 0:
            return self.images[index, :5, :9] // 4, np.zeros((0, 6), np.float32)
        corners = (columns.min() / 16, rows.min() / 16, (columns.max() + 1) / 16, (rows.max() + 1) / 16)
        return self.images[index], np.array([[0, *corners, 0]], np.float32)


BOXED = DataSet(
    "framed", ("square",), Framed(32, 0), Framed(8, 1), Framed(16, 2), (0.2,) * 3, (0.2,) * 3, (1.0,), task="detect"
)  # fmt: skip


@pytest.mark.parametrize(
    "head",
    [
        HeadSpec("ssdlite", settings=settings(scales=(0.5, 0.5))),
        HeadSpec("tiny_yolo", (8, 8, 8), settings=settings(anchors=((8, 8), (4, 4)))),
    ],
    ids=lambda head: head.kind,
)
def test_a_detector_learns_boxes_of_images_of_any_size(head: HeadSpec) -> None:
    stages = tuple(stage.replace(stride=1) if index > 1 else stage for index, stage in enumerate(SPEC.stages))
    spec = SPEC.replace(task="detect", classes=1, head=head, stages=stages)
    candidate = fresh_candidate(spec, Preprocessing(16, 16, BOXED.mean, BOXED.std), 0)
    before = evaluate(torch_predict(candidate.module), BOXED.test, BOXED, candidate.preprocessing, spec=spec)
    result = train(candidate, BOXED, dataclasses.replace(RECIPE, steps=80))
    trained = result.candidate
    after = evaluate(torch_predict(trained.module), BOXED.test, BOXED, trained.preprocessing, spec=spec)
    assert np.mean(result.losses[-10:]) < 0.6 * np.mean(result.losses[:5])
    assert after.map50 > max(0.7, before.map50 + 0.3)


def test_boxes_need_a_network_that_gives_some() -> None:
    with pytest.raises(UsageError, match="the data set holds boxes, but the network gives none"):
        train(start(), BOXED, RECIPE)


def test_dropout_is_the_same_in_every_run_and_leaves_the_callers_generator_alone() -> None:
    candidate = dataclasses.replace(start(), module=Dropped(start().module))
    torch.manual_seed(1)
    whole = train(candidate, DATA, RECIPE)
    drawn = torch.rand(1)
    torch.manual_seed(2)
    assert train(candidate, DATA, RECIPE).losses == whole.losses
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)


class Dropped(torch.nn.Module):
    """A network whose input loses half of its values in training."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.drop = inner, torch.nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.drop(x))


def scales(module: torch.nn.Module) -> torch.Tensor:
    norms = [m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    return torch.cat([norm.weight.detach().abs() for norm in norms])


def test_pull_on_the_norms_brings_scales_to_exactly_zero_and_nothing_else() -> None:
    plain, pulled = (
        train(start(), DATA, dataclasses.replace(RECIPE, steps=30, norm_l1=pull)).candidate.module for pull in (0, 6.0)
    )
    assert (scales(plain) == 0).sum() == 0
    zeros = int((scales(pulled) == 0).sum())
    assert zeros >= 8
    assert scales(pulled).mean() < 0.5 * scales(plain).mean()
    wide = [p for p in pulled.parameters() if p.dim() > 1]
    assert all((p != 0).any() for p in wide)


def test_one_step_of_the_pull_takes_rate_times_norm_l1_off_every_scale() -> None:
    recipe = dataclasses.replace(RECIPE, steps=4, warmup_steps=0)
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([1.0, -0.5, 0.004]))
    _shrink_scales(module, dataclasses.replace(recipe, norm_l1=0.5), 0)  # 0.01 · 0.5 = 0.005
    torch.testing.assert_close(module[0].weight.detach(), torch.tensor([0.995, -0.495, 0.0]))


@pytest.mark.parametrize("pull", [-0.1, float("nan"), float("inf")])
def test_pull_out_of_range_is_refused(pull: float) -> None:
    with pytest.raises(TrainingError, match=r"norm_l1 is .*; allowed is 0 or more"):
        train(start(), DATA, dataclasses.replace(RECIPE, norm_l1=pull))
