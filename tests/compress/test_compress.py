"""The chain prune, share, code: what the file gives back, resuming, refusals, the page and the command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from flyweight import codec
from flyweight.cli import main
from flyweight.compress import FILE, RECORD, Compressed, Settings, compress, for_channels
from flyweight.compress import _chain as chain
from flyweight.compress.page import render_page
from flyweight.contracts import Candidate, DataSet, Preprocessing
from flyweight.data import load_dataset
from flyweight.errors import OverBudgetError, UsageError
from flyweight.packing import open_packed
from flyweight.saved import fresh_candidate, save_candidate
from flyweight.sparse import layer_kinds
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.train import Recipe

SHORT = Recipe(steps=24, batch=8, learning_rate=3e-3, warmup_steps=2, flips="none")
WANTED = Settings((0.5, 0.2), prune=SHORT, share=replace(SHORT, steps=6, learning_rate=3e-4))
SPEC = ArchSpec(
    name="small", task="classify", input=InputSpec(16, 16), classes=2,
    stages=(StageSpec("first", "conv", 8, 2, settings()), StageSpec("second", "conv", 16, 2, settings())),
    head=HeadSpec("mlp_classifier", widths=(32,), settings=settings(pool=4)),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return images of two classes: bright left halves, bright right ones."""
    root, random = tmp_path_factory.mktemp("halves"), np.random.default_rng(0)
    for name, half in (("left", slice(0, 8)), ("right", slice(8, 16))):
        (root / name).mkdir()
        for index in range(30):
            image = random.integers(0, 90, (16, 16, 3), np.uint8)
            image[:, half] += 120
            Image.fromarray(image).save(root / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def data(folder: Path) -> DataSet:
    return load_dataset(str(folder))


def fresh(data: DataSet, spec: ArchSpec = SPEC) -> Candidate:
    return fresh_candidate(spec, Preprocessing(16, 16, data.mean, data.std, data.class_names), 0)


@pytest.fixture(scope="module")
def made(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Compressed, Path]:
    out = tmp_path_factory.mktemp("compressed") / "run"
    return compress(fresh(data), data, WANTED, out), out


def test_file_gives_back_a_network_with_the_zeros_and_the_accuracy_that_are_told(
    made: tuple[Compressed, Path], data: DataSet
) -> None:
    told, out = made
    back = open_packed(out / FILE)
    weights = dict(back.module.named_parameters())
    coded = [weights[name] for name in layer_kinds(back.module)]
    assert sum(int((w != 0).sum()) for w in coded) / sum(w.numel() for w in coded) == pytest.approx(0.2, abs=0.01)
    images = np.stack([image for image, _ in data.test])
    truth = np.array([int(target) for _, target in data.test])
    shown = torch.from_numpy((images / 255 - np.array(data.mean)) / np.array(data.std)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        right = (back.module(shown).argmax(1).numpy() == truth).mean()
    assert right == pytest.approx(told.test_after)
    assert told.test_after > 0.9  # bright left or right
    assert back.history[-1].transform == "compress"


def test_layers_have_no_more_values_than_their_bits_can_tell_apart(made: tuple[Compressed, Path]) -> None:
    weights = dict(open_packed(made[1] / FILE).module.named_parameters())
    for name, kind in layer_kinds(open_packed(made[1] / FILE).module).items():
        values = len(np.unique(weights[name].detach().numpy()))
        assert values <= (256 if kind == "conv" else 32), name


def test_stages_count_what_the_paper_counts(made: tuple[Compressed, Path]) -> None:
    told = made[0]
    given, pruned, shared, huffman, file = told.stages
    assert given.bytes == told.float_bytes == 4 * given.total and given.left == given.total
    assert pruned.left == shared.left < 0.3 * given.total
    assert given.bytes > pruned.bytes > shared.bytes > huffman.bytes
    assert file.bytes == told.file_bytes == (made[1] / FILE).stat().st_size > huffman.bytes  # names, spec, checksums
    # a layer: entries (left and padding zeros), each an index and 32 bits; what is not coded stays in float32
    others = given.bytes - sum(4 * layer.values for layer in told.layers)
    assert pruned.bytes == sum(layer.entries * (32 + layer.index_bits) / 8 for layer in told.layers) + others


def test_finished_run_is_read_and_trains_nothing(
    made: tuple[Compressed, Path], data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "train", lambda *_, **__: pytest.fail("trained again"))
    before = (made[1] / FILE).read_bytes()
    again = compress(fresh(data), data, WANTED, made[1])
    assert again == made[0] and (made[1] / FILE).read_bytes() == before


def test_run_killed_between_rounds_goes_on_to_the_same_file(
    made: tuple[Compressed, Path], data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = chain.train, iter((True, False))

    def dying(*given: object, **more: object) -> object:
        if not next(calls):
            raise KeyboardInterrupt
        return real(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(chain, "train", dying)
    with pytest.raises(KeyboardInterrupt):
        compress(fresh(data), data, WANTED, tmp_path / "run")
    assert len(json.loads((tmp_path / "run" / RECORD).read_text())["rounds"]) == 1
    monkeypatch.setattr(chain, "train", real)
    compress(fresh(data), data, WANTED, tmp_path / "run")
    assert (tmp_path / "run" / FILE).read_bytes() == (made[1] / FILE).read_bytes()


def test_folder_of_another_run_is_refused_by_what_differs(made: tuple[Compressed, Path], data: DataSet) -> None:
    with pytest.raises(UsageError, match=r"holds a run with other settings\. Choose another --out"):
        compress(fresh(data), data, replace(WANTED, seed=1), made[1])


def test_drop_out_of_reach_says_what_to_allow(data: DataSet, tmp_path: Path) -> None:
    wanted = replace(WANTED, densities=(0.004,), max_drop=0.0, prune=replace(SHORT, steps=2, learning_rate=1e-7))
    good, _ = _trained(data)
    with pytest.raises(OverBudgetError, match=r"pruned to 0\.4 % of its weights the network loses more than 0 points"):
        compress(good, data, wanted, tmp_path / "run")


def _trained(data: DataSet) -> tuple[Candidate, float]:
    from flyweight.compress import metric
    from flyweight.train import train

    found = train(fresh(data), data, replace(SHORT, steps=40)).candidate
    value = metric(found, found.module, data.val, data)
    assert value > 0.9
    return found, value


def test_limit_of_bytes_is_kept(data: DataSet, tmp_path: Path) -> None:
    limit = 4200
    told = compress(fresh(data), data, replace(WANTED, densities=(0.2,), max_bytes=limit), tmp_path / "run")
    assert told.file_bytes <= limit


@pytest.mark.parametrize("densities", [(), (0.2, 0.5), (0.0,), (1.5,), (0.5, 0.5)])
def test_densities_that_do_not_fall_are_refused(densities: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"densities are .*; wanted: above 0, at most 1"):
        Settings(densities)


def test_grey_networks_read_the_mean_of_the_channels(data: DataSet) -> None:
    image = for_channels(data, 1).train[0][0]
    assert image.shape == (16, 16, 1)
    np.testing.assert_array_equal(image[..., 0], np.rint(data.train[0][0].mean(-1)))
    with pytest.raises(UsageError, match="reads 2 channels"):
        for_channels(data, 2)


def test_page_holds_every_layer_and_stage_and_loads_nothing(made: tuple[Compressed, Path]) -> None:
    page = render_page(made[0])
    for stage in made[0].stages:
        assert f">{stage.name}<" in page
    for layer in made[0].layers:
        assert layer.name.removesuffix(".weight") in page
    assert not re.search(r"(?:src|href)=[\"'](?!#)", page)
    assert "<script>alert" not in render_page(replace(made[0], name="<script>alert(1)</script>"))


def ran(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compress", *map(str, arguments)], prog_name="flyweight")


@pytest.fixture
def weights(data: DataSet, tmp_path: Path) -> Iterator[Path]:
    save_candidate(tmp_path / "small.safetensors", fresh(data))
    yield tmp_path / "small.safetensors"


def test_command_writes_file_record_and_page_and_prints_the_table(weights: Path, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = ran(weights, "--data", folder, "--out", out, "--densities", "0.3", "--steps", "20", "--share-steps", "4",
                 "--max-drop", "60", "--batch", "8", "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Huffman" in result.output and "x smaller than" in result.output
    assert {"model.fly", "report.html", "compress.json"} <= {path.name for path in out.iterdir()}
    assert codec.open_container(out / "model.fly").description["spec"]["name"] == "small"


def test_dry_run_says_what_would_be_done_and_writes_nothing(weights: Path, folder: Path, tmp_path: Path) -> None:
    result = ran(weights, "--data", folder, "--out", tmp_path / "out", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "in 2 convolutions and 2 fully connected" in result.output
    assert not (tmp_path / "out").exists()


def test_densities_that_are_no_numbers_are_wrong_use(weights: Path, folder: Path) -> None:
    result = ran(weights, "--data", folder, "--densities", "half")
    assert result.exit_code == 2
    assert "--densities is 'half'; write shares apart by commas" in result.stderr
