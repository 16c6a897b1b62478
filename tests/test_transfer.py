"""Networks with weights, trained on other data: what is kept, what stands still, and a run that goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from flyweight import files
from flyweight.cli import main
from flyweight.contracts import Candidate, DataSet, Preprocessing
from flyweight.data import load_dataset
from flyweight.errors import TrainingError, UsageError
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec
from flyweight.train import Recipe, train
from flyweight.transfer import RECORD, WEIGHTS, train_into, transfer, untrained

SPEC = ArchSpec(
    name="tiny", task="classify", input=InputSpec(16, 16), classes=5,
    stages=(StageSpec("stem", "conv", 8, 2), StageSpec("block", "separable", 12, 2)), head=HeadSpec("pool_classifier"),
)  # fmt: skip
RECIPE = Recipe(steps=8, batch=4, warmup_steps=2, flips="none", checkpoint_steps=3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Red and blue pictures, a folder a class."""
    rng = np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 80, (16, 16, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.fixture
def data(photos: Path) -> DataSet:
    return load_dataset(photos)


def pretrained() -> Candidate:
    return fresh_candidate(SPEC, Preprocessing(16, 16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), tuple("abcde")), seed=3)


def test_all_but_what_depends_on_the_classes_is_kept(data: DataSet) -> None:
    candidate = pretrained()
    start = transfer(candidate, data)
    old, new = candidate.module.state_dict(), start.candidate.module.state_dict()
    assert set(start.new) == {"head.classify.weight", "head.classify.bias"}
    assert all(torch.equal(old[name], new[name]) for name in start.kept)
    assert set(start.kept) | set(start.new) == set(new)
    assert start.candidate.spec == SPEC.replace(classes=2)


def test_preprocessing_of_the_weights_is_kept_and_the_class_names_are_the_datas(data: DataSet) -> None:
    found = transfer(pretrained(), data, resolution=24).candidate.preprocessing
    assert found == replace(pretrained().preprocessing, height=24, width=24, class_names=("blue", "red"))


def test_as_many_classes_are_new_too(data: DataSet) -> None:
    two = fresh_candidate(SPEC.replace(classes=2), Preprocessing(16, 16), seed=3)
    assert "head.classify.weight" in transfer(two, data).new


def test_network_of_another_task_is_refused(data: DataSet) -> None:
    with pytest.raises(UsageError, match=r"'tiny' is of task 'classify', but the data set .* is for 'segment'"):
        transfer(pretrained(), replace(data, task="segment"))


def test_module_without_a_spec_is_refused(data: DataSet) -> None:
    with pytest.raises(UsageError, match="this module has no spec"):
        transfer(replace(pretrained(), spec=None), data)


def test_backbone_stands_still_with_its_statistics_while_the_head_learns(data: DataSet) -> None:
    start = transfer(pretrained(), data).candidate
    before, after = start.module.state_dict(), frozen(start, data, 8)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.classify.weight", "head.classify.bias"}


def test_backbone_trains_after_its_frozen_steps(data: DataSet) -> None:
    start = transfer(pretrained(), data).candidate
    before, after = start.module.state_dict(), frozen(start, data, 4)
    assert not torch.equal(before["encoder.stem.conv.weight"], after["encoder.stem.conv.weight"])
    assert all(p.requires_grad for p in start.module.parameters())


def frozen(start: Candidate, data: DataSet, steps: int) -> dict[str, torch.Tensor]:
    module = train(start, data, replace(RECIPE, freeze_steps=steps)).candidate.module
    assert all(parameter.requires_grad for parameter in module.parameters())
    return dict(module.state_dict())


def test_slower_backbone_moves_less(data: DataSet) -> None:
    start = transfer(pretrained(), data).candidate
    first = start.module.state_dict()["encoder.stem.conv.weight"]

    def moved(rate: float) -> float:
        module = train(start, data, replace(RECIPE, backbone_rate=rate)).candidate.module
        return float((module.state_dict()["encoder.stem.conv.weight"] - first).abs().mean())

    assert moved(0.1) < 0.5 * moved(1.0)


@pytest.mark.parametrize("recipe", [replace(RECIPE, freeze_steps=2), replace(RECIPE, backbone_rate=0.5)])
def test_module_without_a_known_head_can_not_stand_still(recipe: Recipe, data: DataSet) -> None:
    with pytest.raises(TrainingError, match="what the head of this module is"):
        train(replace(transfer(pretrained(), data).candidate, spec=None), data, recipe)


@pytest.mark.parametrize("recipe", [replace(RECIPE, freeze_steps=9), replace(RECIPE, backbone_rate=0.0)])
def test_recipe_that_makes_no_sense_is_refused(recipe: Recipe, data: DataSet) -> None:
    with pytest.raises(TrainingError, match="allowed are 0 to all steps, and a rate above 0 up to 1"):
        train(transfer(pretrained(), data).candidate, data, recipe)


def test_broken_run_goes_on_to_what_an_unbroken_one_gives(data: DataSet, tmp_path: Path) -> None:
    start = transfer(pretrained(), data)
    recipe = replace(RECIPE, freeze_steps=4)
    whole = train_into(tmp_path / "whole", start, data, recipe)
    with pytest.raises(KeyboardInterrupt):
        train_into(tmp_path / "broken", start, data, recipe, progress=StopsAt(7))
    assert not (tmp_path / "broken" / WEIGHTS).exists()
    assert same(train_into(tmp_path / "broken", start, data, recipe).candidate, whole.candidate)


class StopsAt:
    """A progress that is interrupted at a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def start(self, label: str, total: int) -> None: ...

    def finish(self) -> None: ...

    def say(self, text: str) -> None: ...

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def same(first: Candidate, second: Candidate) -> bool:
    a, b = first.module.state_dict(), second.module.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


def test_finished_run_is_read_not_done_again(data: DataSet, tmp_path: Path) -> None:
    start = untrained(SPEC, data)
    first = train_into(tmp_path, start, data, RECIPE)
    assert train_into(tmp_path, start, data, RECIPE, progress=StopsAt(1)).test == first.test


def test_folder_of_another_run_is_left_alone(data: DataSet, tmp_path: Path) -> None:
    train_into(tmp_path, untrained(SPEC, data), data, RECIPE)
    before = (tmp_path / RECORD).read_bytes()
    with pytest.raises(UsageError, match=r"holds a run with another seed\. Choose another --out"):
        train_into(tmp_path, untrained(SPEC, data), data, RECIPE, seed=1)
    assert (tmp_path / RECORD).read_bytes() == before


def test_command_trains_saved_weights_into_a_file_that_other_commands_take(photos: Path, tmp_path: Path) -> None:
    save_candidate(tmp_path / "w.safetensors", pretrained())
    out = tmp_path / "run"
    done = run("train", tmp_path / "w.safetensors", "--data", photos, "--steps", 24, "--out", out, "-q")
    assert done.exit_code == 0, done.output
    assert "tensors kept, new: head.classify.weight, head.classify.bias" in done.stdout
    assert "24 steps of 16 images, the head alone in the first 6" in done.stdout
    candidate, extra = load_candidate(out / WEIGHTS)
    assert candidate.preprocessing.class_names == ("blue", "red")
    assert extra["recipe"]["freeze_steps"] == 6
    assert files.read_json(out / RECORD)["test"]["top1"] >= 0.5
    assert run("profile", out / WEIGHTS, "--no-time").exit_code == 0
    assert run("export", out / WEIGHTS, "--to", "onnx", "--out", tmp_path / "files").exit_code == 0


def test_dry_run_of_the_command_writes_nothing(photos: Path, tmp_path: Path) -> None:
    done = run("train", "mobilenet_v3_small_1.0", "--data", photos, "--out", tmp_path / "run", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "weights: all new" in done.stdout
    assert not (tmp_path / "run").exists()


def run(*args: object):
    return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="flyweight")
