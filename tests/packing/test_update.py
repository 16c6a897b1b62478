"""Updates: what changed since a file that the device has, and the network that both give."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from flyweight import codec
from flyweight.cli import main
from flyweight.contracts import Candidate
from flyweight.errors import FileError, UsageError
from flyweight.packing import Packer, open_packed, read_base
from flyweight.packing._sensitivity import flat
from flyweight.saved import save_candidate
from flyweight.testing import _networks as networks


def inputs(seed: int, count: int = 16) -> np.ndarray:
    return np.asarray(networks.inputs(networks.inverted(), count, seed=seed).numpy())


def nudged(candidate: Candidate, share: float, seed: int = 3, only: str = "") -> Candidate:
    """Return the network with weights moved by a share of their spread."""
    module, random = copy.deepcopy(candidate.module), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.dim() > 1 and only in name:
                p.add_(torch.randn(p.shape, generator=random) * p.std() * share)
    return replace(candidate, module=module)


def outputs(candidate: Candidate) -> torch.Tensor:
    with torch.no_grad():
        return flat(candidate.module(torch.from_numpy(inputs(9, 4)))).double()


def apart_db(candidate: Candidate, other: Candidate) -> float:
    wanted, got = outputs(candidate), outputs(other)
    return float(10 * torch.log10(wanted.square().sum() / (wanted - got).square().sum()))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("old") / "old.fly"
    path.write_bytes(Packer(networks.inverted(), inputs(1), judged=inputs(2, 8)).at_snr(30).data)
    return path


@pytest.fixture(scope="module")
def update(old: Path) -> Path:
    return written(nudged(networks.inverted(), 0.02), old.with_name("update.fly"), old)


def written(candidate: Candidate, path: Path, *base: Path) -> Path:
    packer = Packer(candidate, inputs(1), judged=inputs(2, 8), base=read_base(base) if base else None)
    path.write_bytes(packer.at_snr(30).data)
    return path


def test_update_and_its_base_give_the_new_network(old: Path, update: Path) -> None:
    new = nudged(networks.inverted(), 0.02)
    back = open_packed(update, (old,))
    assert apart_db(new, back) > 27
    assert apart_db(new, back) > apart_db(new, open_packed(old)) + 3


def test_update_is_smaller_than_the_whole_at_the_same_fidelity(old: Path, update: Path, tmp_path: Path) -> None:
    whole = written(nudged(networks.inverted(), 0.02), tmp_path / "whole.fly")

    def weights(path: Path) -> int:
        return sum(record.bytes for record in codec.open_container(path).records)

    assert weights(update) < 0.6 * weights(whole)


def test_what_did_not_change_takes_next_to_nothing(old: Path, tmp_path: Path) -> None:
    base = open_packed(old)  # exactly what the device has, but for one layer
    path = written(nudged(base, 0.5, only="head"), tmp_path / "head.fly", old)
    sizes = {record.name: record.bytes for record in codec.open_container(path).records}
    before = {record.name: record.bytes for record in codec.open_container(old).records}
    head = next(name for name in sizes if name.startswith("head") and name.endswith("weight"))
    assert all(sizes[n] < 0.35 * before[n] for n in sizes if n != head and before[n] > 300), sizes
    assert sizes[head] > 0.35 * before[head]


def test_updates_follow_one_another(old: Path, update: Path, tmp_path: Path) -> None:
    newest = nudged(networks.inverted(), 0.04, seed=4)
    third = written(newest, tmp_path / "third.fly", old, update)
    assert apart_db(newest, open_packed(third, (old, update))) > 27
    with pytest.raises(FileError, match=r"third\.fly: is an update of another file than .*old\.fly"):
        open_packed(third, (old,))


def test_decoded_sum_is_the_same_with_and_without_the_compiled_decoder(old: Path, update: Path) -> None:
    compiled = read_base((old, update)).tensors
    base, own = (dict(codec.open_container(path, native=False).tensors()) for path in (old, update))
    added = codec.open_container(update).description["base"]["added"]
    assert added
    for name in added:
        np.testing.assert_array_equal(compiled[name], own[name] + base[name])


def test_update_alone_says_what_it_lacks(update: Path) -> None:
    with pytest.raises(FileError, match=r"update\.fly: holds only what changed since another file\. Name that one"):
        open_packed(update)


def test_base_of_a_whole_file_is_refused(old: Path) -> None:
    with pytest.raises(FileError, match=r"is a whole network, no update of"):
        open_packed(old, (old,))


def test_base_of_another_network_is_refused(tmp_path: Path) -> None:
    other = networks.branched()
    path = tmp_path / "other.fly"
    path.write_bytes(Packer(other).at_snr(20).data)
    with pytest.raises(UsageError, match=r"in MODEL, but .* in .*other\.fly\. An update is for the same network"):
        Packer(networks.inverted(), base=read_base((path,)))


@pytest.mark.parametrize("spoilt", ["text", {"sha256": 1, "added": "x"}, {"added": ["no such tensor"]}])
def test_damaged_word_of_a_base_is_an_error(spoilt: object, old: Path, update: Path, tmp_path: Path) -> None:
    container = codec.open_container(update)
    tensors = dict(container.tensors())
    told = spoilt if isinstance(spoilt, str) else {**container.description["base"], **spoilt}  # type: ignore[dict-item]
    path = tmp_path / "spoilt.fly"
    path.write_bytes(codec.encode(codec.quantize(tensors, {}), {**container.description, "base": told}))
    with pytest.raises(FileError, match=r"spoilt\.fly"):
        open_packed(path, (old,))


def test_commands_make_and_read_an_update(old: Path, tmp_path: Path) -> None:
    save_candidate(tmp_path / "new.safetensors", nudged(networks.inverted(), 0.02))
    made = CliRunner().invoke(
        main, ["pack", f"{tmp_path}/new.safetensors", "--base", str(old), "-o", f"{tmp_path}/u.fly", "-q"]
    )
    assert made.exit_code == 0, made.output
    assert json.loads(json.dumps(codec.open_container(tmp_path / "u.fly").description["base"]))["added"]
    out = ["--to", "safetensors", "--out", str(tmp_path)]
    alone = CliRunner().invoke(main, ["unpack", f"{tmp_path}/u.fly", *out])
    assert alone.exit_code == 2 and "--base OLD.fly" in alone.output
    both = CliRunner().invoke(main, ["unpack", f"{tmp_path}/u.fly", "--base", str(old), *out])
    assert both.exit_code == 0, both.output
    assert (tmp_path / "u.safetensors").exists()
