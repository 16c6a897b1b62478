"""The zoo's contract refuses what breaks it."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from torch import nn

from flyweight.blocks import BLOCKS
from flyweight.blocks._layers import FeatureMap, StageBuilder
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec
from flyweight.testing import ZooContract
from flyweight.testing._zoo_runs import counted, small_run
from flyweight.zoo import ZooEntry

# conv1 at 48x48: 24*24*8 * 3*3*3 MACs; separable at 24x24: 24*24*8 * 9 + 24*24*16 * 8; fully connected 16 * 5
MACS = 24 * 24 * 8 * 27 + 24 * 24 * 8 * 9 + 24 * 24 * 16 * 8 + 16 * 5
# weights and norms of the same, and five biases
PARAMS = (8 * 27 + 16) + (8 * 9 + 16) + (8 * 16 + 32) + 16 * 5 + 5
SPEC = ArchSpec(
    "own", "classify", InputSpec(48, 48), 5, (StageSpec("conv1", "conv", 8, 2), StageSpec("conv2", "separable", 16)),
    HeadSpec("pool_classifier"),
)  # fmt: skip
GOOD = ZooEntry(SPEC, "arXiv 1704.04861", PARAMS, MACS, 55.5)


class Leaky(nn.Module):
    """A module with a parameter that its output does not depend on."""

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs.channels, stage.out_channels, 1)
        self.spare = nn.Conv2d(inputs.channels, stage.out_channels, 1)

    def forward(self, x):  # type: ignore[no-untyped-def]
        return self.conv(x)


def lying(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    return inputs.strided(stage.out_channels, 2)


@pytest.fixture(autouse=True)
def forgotten() -> None:
    """What was built of a spec must not outlive the block that it was built with."""
    counted.cache_clear()
    small_run.cache_clear()


@pytest.fixture
def using(monkeypatch: pytest.MonkeyPatch) -> Callable[[StageBuilder], ZooEntry]:
    """Return the entry whose second stage is of a block made for this test."""

    def of(builder: StageBuilder) -> ZooEntry:
        monkeypatch.setitem(BLOCKS.__dict__, "members", {**BLOCKS.members, "made_up": builder})
        stages = (SPEC.stages[0], StageSpec("conv2", "made_up", 16))
        return ZooEntry(SPEC.replace(stages=stages), "arXiv 1704.04861")

    return of


@pytest.mark.parametrize("name", sorted(name for name in dir(ZooContract) if name.startswith("test_")))
def test_contract_accepts_what_keeps_it(name: str) -> None:
    getattr(ZooContract(), name)(GOOD)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("test_parameters_are_the_published_ones", replace(GOOD, params=PARAMS + 1)),
        ("test_macs_are_the_published_ones", replace(GOOD, macs=MACS - 1)),
        ("test_published_facts_have_a_source", replace(GOOD, source="everybody knows")),
        ("test_published_facts_have_a_source", replace(GOOD, top1_source="somebody")),
        ("test_published_facts_have_a_source", replace(GOOD, top1=0.555e3)),
    ],
)
def test_contract_refuses_figures_that_are_wrong_or_from_nowhere(name: str, entry: ZooEntry) -> None:
    with pytest.raises(AssertionError):
        getattr(ZooContract(), name)(entry)


def test_contract_refuses_maps_that_are_not_what_the_block_says(using: Callable[[StageBuilder], ZooEntry]) -> None:
    entry = using(StageBuilder(lambda *arguments: nn.Conv2d(8, 16, 1), shape=lying))
    with pytest.raises(AssertionError):
        ZooContract().test_maps_are_what_the_spec_says(entry)


def test_contract_refuses_parameters_that_nothing_reads(using: Callable[[StageBuilder], ZooEntry]) -> None:
    entry = using(StageBuilder(Leaky))
    for check in (ZooContract().test_every_operator_is_counted, ZooContract().test_every_parameter_gets_a_gradient):
        with pytest.raises(AssertionError):
            check(entry)


def test_contract_refuses_weights_that_are_made_on_another_device(using: Callable[[StageBuilder], ZooEntry]) -> None:
    entry = using(StageBuilder(lambda *arguments: nn.Conv2d(8, 16, 1, device="cpu")))
    with pytest.raises(AssertionError):
        ZooContract().test_building_on_the_meta_device_takes_no_memory_for_weights(entry)
