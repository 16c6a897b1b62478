from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import FileError, FlyweightError, UsageError
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.transforms.resize_input import ResizeInput
from flyweight.zoo import ZOO

SPEC = ZOO.get("mobilenet_v1_0.25_128").spec.replace(classes=4)


def test_a_saved_network_comes_back_equal_with_all_that_travels(tmp_path: Path) -> None:
    pre = Preprocessing(128, 128, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), ("a", "b", "c", "d"))
    candidate = ResizeInput(64, 64).apply(fresh_candidate(SPEC, pre, seed=5), Env())
    save_candidate(tmp_path / "w.safetensors", candidate, {"steps": 3})
    again, extra = load_candidate(tmp_path / "w.safetensors")
    assert (again.spec, again.preprocessing, again.history, extra) == (
        candidate.spec, candidate.preprocessing, candidate.history, {"steps": 3},
    )  # fmt: skip
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(again.module(x), candidate.module(x))


def test_a_module_without_spec_cannot_be_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"only a network built from a spec"):
        save_candidate(tmp_path / "w.safetensors", Candidate(torch.nn.Linear(1, 1), Preprocessing(8, 8)))


def test_a_network_that_its_spec_no_longer_builds_is_not_saved(tmp_path: Path) -> None:
    folded = FoldBatchNorm().apply(fresh_candidate(SPEC, Preprocessing(128, 128), seed=0), Env())
    with pytest.raises(UsageError, match=r"'encoder.conv1.norm.weight' is missing, but \(8,\) in the network"):
        save_candidate(tmp_path / "w.safetensors", folded)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 400_000), flip=st.integers(0, 4000), data=st.binary(max_size=64))
def test_a_damaged_file_is_a_clear_error_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: int, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("saved")
    path = folder / "w.safetensors"
    save_candidate(path, fresh_candidate(SPEC, Preprocessing(128, 128), seed=0))
    whole = path.read_bytes()
    broken = (whole[:flip] + data + whole[flip + len(data) :])[: max(cut, 1)]
    if broken == whole:
        return
    path.write_bytes(broken)
    try:
        load_candidate(path)  # a flipped weight can't be told from another weight
    except FlyweightError as error:
        assert str(error)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nothing\.safetensors: can't read"):
        load_candidate(tmp_path / "nothing.safetensors")
