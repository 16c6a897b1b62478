import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from flyweight.build import build
from flyweight.contracts import Candidate, Env, Preprocessing
from flyweight.errors import TransformError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec
from flyweight.testing import _networks as networks
from flyweight.transforms.fold_bn import FoldBatchNorm
from flyweight.transforms.reparameterize import Reparameterize, deployed
from flyweight.transforms.scale_width import ScaleWidth
from flyweight.zoo import ZOO

TRAINED = ("repvgg_a0", "mobileone_s0", "mobileone_s4", "repvit_m0.9")


def _merged(candidate: Candidate) -> Candidate:
    return Reparameterize().apply(candidate, Env())


def _small(name: str) -> ArchSpec:
    spec = ScaleWidth((), 0.25).edit(ZOO.get(name).spec)
    return spec.replace(input=replace(spec.input, height=129, width=96))


def _difference(candidate: Candidate, merged: Candidate) -> float:
    """Return the largest difference of the outputs over the largest output."""
    x = networks.inputs(candidate).to(next(candidate.module.parameters()).dtype)
    wanted, found = networks.outputs(candidate, x), networks.outputs(merged, x)
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("name", TRAINED)
def test_merged_network_computes_the_same(name: str) -> None:
    candidate = networks.seasoned(_small(name))  # with the norm statistics of a training
    exact = replace(candidate, module=copy.deepcopy(candidate.module).double())
    assert _difference(exact, _merged(exact)) < 1e-11
    if name != "mobileone_s4":  # with random weights so deep a network rounds by about 1e-4 in float32, merged or not
        assert _difference(candidate, _merged(candidate)) < 1e-4


@pytest.mark.parametrize("name", TRAINED)
def test_merged_network_is_what_its_spec_builds(name: str) -> None:
    merged = _merged(networks.seasoned(_small(name)))
    assert merged.spec is not None
    fresh = build(merged.spec)
    fresh.load_state_dict(merged.module.state_dict())  # every name and shape is the same
    x = networks.inputs(merged)
    assert torch.equal(fresh(x), merged.module(x))


@pytest.mark.parametrize("name", TRAINED)
def test_spec_of_the_merged_network_is_the_zoos_deployed_member(name: str) -> None:
    assert deployed(ZOO.get(name).spec).replace(name=f"{name}_deploy") == ZOO.get(f"{name}_deploy").spec


def test_merging_leaves_nine_weights_per_pair_of_channels_and_a_bias_per_filter() -> None:
    spec = ArchSpec(
        "x", "classify", InputSpec(8, 8, 16), 2, (StageSpec("rep", "reparam_conv", 16),), HeadSpec("pool_classifier")
    )
    merged = _merged(networks.seasoned(spec))
    assert sum(p.numel() for p in merged.module.encoder.parameters()) == 16 * 16 * 9 + 16


def test_a_network_without_a_spec_is_merged_too() -> None:
    given = networks.seasoned(_small("repvgg_a0"))
    merged = _merged(replace(given, spec=None))
    assert merged.spec is None
    x = networks.inputs(given)
    torch.testing.assert_close(networks.outputs(merged, x), networks.outputs(given, x), rtol=1e-3, atol=1e-4)


def test_merging_twice_is_refused() -> None:
    merged = _merged(networks.seasoned(_small("repvgg_a0")))
    with pytest.raises(TransformError, match=r"no layer here is a sum of parallel branches\. Was it merged before\?"):
        Reparameterize().apply(merged, Env())


def test_a_network_of_plain_convolutions_is_refused() -> None:
    plain = Candidate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), Preprocessing(8, 8))
    with pytest.raises(TransformError, match="reparam_conv, reparam_separable, repvit"):
        Reparameterize().requires(plain)


def test_norms_may_be_folded_before() -> None:
    candidate = networks.seasoned(_small("repvgg_a0"))
    assert _difference(candidate, _merged(FoldBatchNorm().apply(candidate, Env()))) < 1e-4
