"""Imported weights fill everything, exactly once, or the error names the tensor, what is wanted and what is near."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flyweight.contracts import Candidate, Preprocessing
from flyweight.errors import FileError, FlyweightError, UsageError
from flyweight.pretrained import PRETRAINED, _read, export_weights, import_weights
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.zoo import ZOO
from tests.pretrained import references as ref

WIDE = ZOO.get("mobilenet_v2_0.35").spec
SPEC = WIDE.replace(input=replace(WIDE.input, height=32, width=32))


@pytest.fixture(scope="module")
def origin() -> dict[str, Tensor]:
    return dict(ref.seasoned(ref.torchvision_mobilenet_v2(0.35)).state_dict())


def refused(tensors: dict[str, Tensor], source: str = "torchvision") -> str:
    with pytest.raises(FileError) as caught:
        import_weights(SPEC, tensors, source)
    return str(caught.value)


def test_report_has_a_row_for_each_layer_with_its_origin_and_shape(origin: dict[str, Tensor]) -> None:
    rows = import_weights(SPEC, origin, "torchvision").layers
    assert len(rows) == 105  # 52 convolutions with a norm each, and the classifier
    assert sum(row.tensors for row in rows) == len(origin) == 314  # 52 · (1 + 5) + 2
    assert (rows[0].layer, rows[0].source, rows[0].shape) == ("encoder.stem.conv", "features.0.0", (16, 3, 3, 3))
    assert (rows[-1].layer, rows[-1].source, rows[-1].shape) == ("head.classify", "classifier.1", (1000, 1280))
    assert {row.note for row in rows} == {""}


def test_a_missing_tensor_is_named_with_its_place_its_shape_and_the_nearest(origin: dict[str, Tensor]) -> None:
    name = "features.3.conv.1.0.weight"
    message = refused({key: tensor for key, tensor in origin.items() if key != name})
    assert f"no tensor '{name}', which fills encoder.block2_2.depthwise.conv.weight 48x1x3x3" in message
    assert "Nearest: features.13.conv.1.0.weight" in message


def test_a_tensor_without_a_place_is_named_with_the_nearest(origin: dict[str, Tensor]) -> None:
    message = refused({**origin, "classifier.2.weight": torch.zeros(3), "extra": torch.zeros(())})
    assert "'classifier.2.weight' 3 and 1 more has no place in this network. Nearest: classifier.1.weight" in message


def test_another_shape_is_named_with_both(origin: dict[str, Tensor]) -> None:
    message = refused({**origin, "features.0.0.weight": torch.zeros(32, 3, 3, 3)})
    assert "'features.0.0.weight' is 32x3x3x3, but encoder.stem.conv.weight is 16x3x3x3. Are they of another" in message


def test_another_number_of_classes_says_what_to_do(origin: dict[str, Tensor]) -> None:
    message = refused({**origin, "classifier.1.weight": torch.zeros(10, 1280)})
    assert "'classifier.1.weight' is 10x1280, but head.classify.weight is 1000x1280" in message
    assert "--classes" in message


def test_a_shape_is_never_bent_into_another_of_the_same_size(origin: dict[str, Tensor]) -> None:
    turned = origin["features.18.0.weight"].flatten(1)[:, :, None, None].transpose(0, 1)
    assert "'features.18.0.weight' is 112x1280x1x1" in refused({**origin, "features.18.0.weight": turned})
    flat = origin["features.18.0.weight"].flatten(1)
    assert "'features.18.0.weight' is 1280x112" in refused({**origin, "features.18.0.weight": flat})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.full((16,), float("nan")), "holds values that are not finite"),
        (torch.zeros(16, dtype=torch.int64), "holds torch.int64"),
        (torch.zeros(16).to_sparse(), "holds torch.float32 (torch.sparse_coo)"),
    ],
)
def test_what_is_no_plain_finite_number_is_refused(origin: dict[str, Tensor], value: Tensor, said: str) -> None:
    assert f"'features.0.1.running_mean' {said}" in refused({**origin, "features.0.1.running_mean": value})


def test_names_of_another_source_are_recognized(origin: dict[str, Tensor]) -> None:
    assert "which fills encoder.stem.conv.weight" in (message := refused(origin, "timm"))
    assert message.endswith("The names are those of torchvision.")


def test_half_precision_is_widened_and_noted(origin: dict[str, Tensor]) -> None:
    halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in origin.items()}
    imported = import_weights(SPEC, halves, "torchvision")
    assert {row.note for row in imported.layers} == {"from float16"}
    assert {p.dtype for p in imported.candidate.module.parameters()} == {torch.float32}


def test_counters_of_batches_may_be_missing(origin: dict[str, Tensor]) -> None:
    without = {name: tensor for name, tensor in origin.items() if not name.endswith("num_batches_tracked")}
    assert len(without) == 314 - 52
    import_weights(SPEC, without, "torchvision")


def test_the_weights_that_were_given_stay_untouched_and_unshared(origin: dict[str, Tensor]) -> None:
    module = import_weights(SPEC, origin, "torchvision").candidate.module
    before = origin["classifier.1.bias"].clone()
    with torch.no_grad():
        module.head.classify.bias.add_(1)
    assert torch.equal(origin["classifier.1.bias"], before)


def test_an_unknown_source_lists_those_that_there_are() -> None:
    with pytest.raises(UsageError, match=r"no source of weights is named 'torchvison'. Did you mean torchvision"):
        import_weights(SPEC, {}, "torchvison")


def test_a_network_without_names_in_a_source_lists_those_with(origin: dict[str, Tensor]) -> None:
    with pytest.raises(UsageError, match=r"'efficientnet_pytorch' does not name the layers of 'mobilenet_v2_0.35'.*"):
        import_weights(SPEC, origin, "efficientnet_pytorch")


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_an_edited_network_is_an_error_not_a_guess(source: str) -> None:
    v3 = ZOO.get("mobilenet_v3_small_1.0").spec
    edited = v3.replace(stages=tuple(stage for stage in v3.stages if stage.name not in ("block5", "last")))
    with pytest.raises(FlyweightError, match=r"was the spec edited|no tensor"):
        import_weights(edited, {}, source)


def test_class_names_go_with_the_candidate_or_are_refused(origin: dict[str, Tensor]) -> None:
    names = tuple(f"class {index}" for index in range(1000))
    assert import_weights(SPEC, origin, "torchvision", class_names=names).candidate.preprocessing.class_names == names
    with pytest.raises(UsageError, match=r"2 class names for 1000 classes"):
        import_weights(SPEC, origin, "torchvision", class_names=("a", "b"))


def test_mean_and_deviation_may_be_others_than_the_sources(origin: dict[str, Tensor]) -> None:
    half = (0.5, 0.5, 0.5)
    preprocessing = import_weights(SPEC, origin, "torchvision", mean=half, std=half).candidate.preprocessing
    assert (preprocessing.mean, preprocessing.std) == (half, half)


def test_an_imported_candidate_is_saved_and_read_back_whole(origin: dict[str, Tensor], tmp_path: Path) -> None:
    names = tuple(f"class {index}" for index in range(1000))
    torch.save(origin, tmp_path / "tv.pth")
    candidate = import_weights(SPEC, tmp_path / "tv.pth", "torchvision", class_names=names).candidate
    save_candidate(tmp_path / "w.safetensors", candidate)
    again = load_candidate(tmp_path / "w.safetensors")[0]
    assert (again.spec, again.preprocessing, again.history) == (
        candidate.spec,
        candidate.preprocessing,
        candidate.history,
    )
    assert again.history[0].settings["file"] == "tv.pth"
    assert len(again.history[0].settings["sha256"]) == 64
    back = export_weights(again, "torchvision")
    assert all(torch.equal(back[name], origin[name]) for name in origin)


def test_a_module_without_spec_has_no_names_elsewhere() -> None:
    with pytest.raises(UsageError, match=r"only a network built from a spec"):
        export_weights(Candidate(torch.nn.Linear(1, 1), Preprocessing(8, 8)), "torchvision")


# ---- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".pth", ".pt", ".bin"])
def test_files_of_torch_save_are_read(ending: str, origin: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(origin, tmp_path / f"w{ending}")
    assert _read.read_tensors(tmp_path / f"w{ending}").keys() == origin.keys()


def test_safetensors_are_read(origin: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(origin, tmp_path / "w.safetensors")
    assert len(import_weights(SPEC, tmp_path / "w.safetensors", "torchvision").layers) == 105


def test_the_state_dict_in_a_checkpoint_is_found(origin: dict[str, Tensor], tmp_path: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in origin.items()}
    torch.save({"epoch": 3, "state_dict": wrapped, "best": 71.2}, tmp_path / "checkpoint.pth")
    assert _read.read_tensors(tmp_path / "checkpoint.pth").keys() == origin.keys()


def test_several_state_dicts_in_a_checkpoint_are_not_chosen_from(origin: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": origin, "state_dict_ema": origin}, tmp_path / "checkpoint.pth")
    with pytest.raises(FileError, match=r"checkpoint\.pth: several state dicts: state_dict, state_dict_ema\. Save"):
        _read.read_tensors(tmp_path / "checkpoint.pth")


class Command:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of the file was run')",)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    torch.save({"w": Command()}, tmp_path / "evil.pth")
    with pytest.raises(FileError, match=r"evil\.pth: .*more than plain tensors, which could run code"):
        _read.read_tensors(tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Command()))
    with pytest.raises(FileError, match=r"plain\.pth"):
        _read.read_tensors(tmp_path / "plain.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not weights", pickle.dumps([1, 2]), pickle.dumps({"a": 1})])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_what_holds_no_weights_is_a_clear_error(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FlyweightError, match=name):
        _read.read_tensors(tmp_path / name)


def test_a_truncated_file_is_a_clear_error(origin: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(origin, tmp_path / "w.pth")
    whole = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "w.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"w\.pth: damaged"):
        _read.read_tensors(tmp_path / "w.pth")


def test_a_missing_file_and_an_unknown_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.pth: can't read: it does not exist"):
        _read.read_tensors(tmp_path / "none.pth")
    (tmp_path / "w.h5").write_bytes(b"")
    with pytest.raises(FileError, match=r"w\.h5: ends in '\.h5'; allowed are \.safetensors, \.pth"):
        _read.read_tensors(tmp_path / "w.h5")


def test_size_is_checked_before_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.pth").write_bytes(bytes(101))
    monkeypatch.setattr(_read, "MAX_BYTES", 100)
    with pytest.raises(FileError, match=r"w\.pth: 101 bytes, but at most 100 are read"):
        _read.read_tensors(tmp_path / "w.pth")


def test_own_saved_weights_are_no_foreign_ones(tmp_path: Path) -> None:
    save_candidate(tmp_path / "own.safetensors", fresh_candidate(SPEC, Preprocessing(32, 32), seed=0))
    with pytest.raises(FileError, match=r"own\.safetensors: no tensor 'features\.0\.0\.weight'"):
        import_weights(SPEC, tmp_path / "own.safetensors", "torchvision")


def test_every_source_says_what_it_is() -> None:
    for name in PRETRAINED.names():
        assert PRETRAINED.get(name).name == name
        assert PRETRAINED.get(name).about
