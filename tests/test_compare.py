"""flyweight.compare: layers of two networks find each other, whatever was done to one of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.compare import Comparison, Layer, align, compare
from flyweight.profile import Profile, profile_module, profile_spec
from flyweight.spec import ArchSpec
from flyweight.zoo import ZOO

SPEC = ZOO.get("mobilenet_v2_0.35").spec


def zeros() -> Tensor:
    return torch.zeros(1, 3, 32, 32)


def chain(widths: tuple[int, ...], act: str = "ReLU") -> nn.Sequential:
    """Return blocks known by their numbers; where the width grows, the map shrinks."""
    blocks, before = [], 3
    for width in widths:
        stride = 2 if width > before > 3 else 1
        conv = nn.Conv2d(before, width, 3, stride, 1)
        blocks.append(nn.Sequential(conv, nn.BatchNorm2d(width), getattr(nn, act)()))
        before = width
    return nn.Sequential(*blocks).eval()


def compared(a: ArchSpec, b: ArchSpec) -> Comparison:
    return compare(profile_spec(a), profile_spec(b))


def paths(found: Comparison) -> list[tuple[str, str]]:
    return [(pair.a.module if pair.a else "", pair.b.module if pair.b else "") for pair in found.pairs]


def test_a_network_is_alike_to_itself() -> None:
    found = compared(SPEC, SPEC)
    assert all(pair.same for pair in found.pairs)
    assert (found.only_a, found.only_b, found.different) == ((), (), ())


@pytest.mark.parametrize("other", ["mobilenet_v2_1.0", "mobilenet_v2_0.35_96"])
def test_another_width_or_input_size_is_paired_path_by_path(other: str) -> None:
    found = compared(SPEC, ZOO.get(other).spec)
    assert all(a == b for a, b in paths(found))
    assert found.different


def test_a_dropped_stage_stands_in_one_network_only() -> None:
    shorter = SPEC.replace(stages=tuple(stage for stage in SPEC.stages if stage.name != "block4_3"))
    found = compared(SPEC, shorter)
    assert found.only_b == ()
    assert {layer.module.split(".")[1] for layer in found.only_a} == {"block4_3"}


def test_a_block_dropped_from_a_numbered_sequence_moves_the_numbers_behind_it() -> None:
    widths = (8, 8, 8, 16, 16, 32)
    a, b = (profile_module(chain(w), zeros()) for w in (widths, (8, 8, 16, 16, 32)))
    found = compare(a, b)
    assert found.only_b == ()
    assert len({layer.module.split(".")[0] for layer in found.only_a}) == 1
    shapes = [(p.a.output_shape, p.b.output_shape) for p in found.pairs if p.a and p.b]
    assert all(x == y for x, y in shapes)


def test_a_swapped_activation_is_a_pair_that_says_both() -> None:
    a, b = (profile_module(chain((8, 8), act), zeros()) for act in ("ReLU", "Hardswish"))
    pairs = compare(a, b).pairs
    assert {(p.a.ops, p.b.ops) for p in pairs if p.a and p.b and not p.same} == {(("relu",), ("hardswish",))}


def test_totals_are_those_of_the_profiles_and_json_has_every_layer() -> None:
    profiles: list[Profile] = [profile_spec(SPEC), profile_spec(ZOO.get("mobilenet_v2_1.0").spec)]
    found = compare(profiles[0], profiles[1], ("a", "b"))
    assert [t.macs for t in (found.total_a, found.total_b)] == [p.macs for p in profiles]
    data = found.to_json()
    assert sum(layer["b"]["macs"] for layer in data["layers"] if layer["b"]) == profiles[1].macs
    assert len(data["layers"]) == len(found.pairs)


LAYERS = st.lists(
    st.builds(
        Layer,
        module=st.sampled_from(["a.0", "a.1", "a.2", "b.conv", "c"]),
        ops=st.sampled_from([("conv",), ("relu",), ("add",)]),
        output_shape=st.sampled_from([(1, 8, 4, 4), (1, 8, 2, 2), (1, 10)]),
        macs=st.integers(0, 5),
        params=st.integers(0, 5),
        param_bytes=st.just(0),
        bytes_moved=st.just(0),
    ),
    max_size=8,
)


@given(LAYERS, LAYERS)
def test_every_layer_stands_once_and_in_order(a: list[Layer], b: list[Layer]) -> None:
    pairs = align(a, b)
    assert [pair.a for pair in pairs if pair.a is not None] == a
    assert [pair.b for pair in pairs if pair.b is not None] == b
