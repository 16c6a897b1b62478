"""Pruned networks are saved with their spec and come back as they were; what no pruning accounts for is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from flyweight.build import build
from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import UsageError
from flyweight.narrow import check_built_by, narrow, shapes_of
from flyweight.packing import open_packed, pack
from flyweight.saved import fresh_candidate, load_candidate, save_candidate
from flyweight.transforms.prune_channels import PruneChannels
from flyweight.zoo import ZOO

SPEC = ZOO.get("mobilenet_v2_0.35_96").spec.replace(classes=4)


@pytest.fixture(scope="module")
def pruned() -> Candidate:
    return PruneChannels(0.5).apply(fresh_candidate(SPEC, Preprocessing(96, 96), 1), Env())


def outputs(module: nn.Module) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        found: torch.Tensor = module(torch.randn(1, 3, 96, 96))
    return found


def test_a_pruned_network_that_was_saved_computes_the_same(pruned: Candidate, tmp_path: Path) -> None:
    save_candidate(tmp_path / "p.safetensors", pruned)
    again, _ = load_candidate(tmp_path / "p.safetensors")
    assert torch.equal(outputs(again.module), outputs(pruned.module))
    assert again.history == pruned.history


def test_a_pruned_network_that_was_packed_has_its_narrow_layers(pruned: Candidate, tmp_path: Path) -> None:
    (tmp_path / "p.fly").write_bytes(pack(pruned, snr_db=40).data)
    again = open_packed(tmp_path / "p.fly")
    assert shapes_of(again.module) == shapes_of(pruned.module)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((40, 3, 3, 3), r"is \(40, 3, 3, 3\), but \(16, 3, 3, 3\)"),
        ((0, 3, 3, 3), r"is \(0, 3, 3, 3\), but"),
        ((16, 3, 1, 3), r"is \(16, 3, 1, 3\), but"),
        ((16, 3, 3), r"is \(16, 3, 3\), but"),
        ((15, 3, 3, 3), r"the network does not run"),
    ],
    ids=["wider", "empty", "another kernel", "another rank", "does not run"],
)
def test_a_shape_that_no_pruning_accounts_for_is_refused(shape: tuple[int, ...], message: str) -> None:
    module = build(SPEC)
    name = next(n for n, s in shapes_of(module).items() if len(s) == 4)
    assert shapes_of(module)[name] == (16, 3, 3, 3)
    with pytest.raises(UsageError, match=message):
        narrow(module, SPEC, {name: shape})


def test_a_tensor_that_the_spec_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'other.weight' is \(3,\), but missing"):
        narrow(build(SPEC), SPEC, {"other.weight": (3,)})


def test_a_network_as_its_spec_builds_it_is_left_as_it_is() -> None:
    module = build(SPEC)
    before = dict(module.named_parameters())
    assert not narrow(module, SPEC, shapes_of(module))
    assert all(p is before[n] for n, p in module.named_parameters())
    check_built_by(module, SPEC)
