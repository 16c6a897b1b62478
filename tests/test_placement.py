"""Placement: the headline rules of the devices on single operators; cuts, fixes and sums on networks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from flyweight.device import Device, Rule, get_device
from flyweight.errors import UsageError
from flyweight.graph import Graph
from flyweight.placement import Placement, place
from flyweight.profile import profile_spec
from flyweight.trace import trace
from flyweight.transforms import TRANSFORMS
from flyweight.zoo import ZOO


class Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def graph_of(network: nn.Module | Callable[[Tensor], Tensor], channels: int = 32, size: int = 16) -> Graph:
    module = network if isinstance(network, nn.Module) else Call(network)
    return trace(module.eval(), torch.zeros(1, channels, size, size))


def verdicts(network: nn.Module | Callable[[Tensor], Tensor], target: str, precision: str | None = None) -> list[str]:
    placed = place(graph_of(network), get_device(target), precision)
    return [layer.verdict for layer in placed.layers if not layer.silent]


def zoo(name: str) -> Graph:
    return profile_spec(ZOO.get(name).spec).graph


def conv(kernel: int = 3, stride: int = 1, groups: int = 1, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(32, 64, kernel, stride, kernel // 2, groups=groups, **settings)


def shuffled(x: Tensor, channels: int) -> Tensor:
    return F.channel_shuffle(x.repeat(1, 6, 2, 2)[:, :channels, :28, :28], 2)


HEADLINES: list[tuple[str, str, nn.Module | Callable[[Tensor], Tensor], str]] = [
    ("ethos_u", "depthwise stride 3", conv(3, 3, 32), "native"),
    ("ethos_u", "depthwise stride 4", conv(3, 4, 32), "fallback"),
    ("ethos_u", "hard swish", F.hardswish, "native"),
    ("ethos_u", "softplus, not in Vela's list", F.softplus, "fallback"),
    ("ethos_u", "average pool SAME 3", nn.AvgPool2d(3, 1, 1, count_include_pad=False), "native"),
    ("ethos_u", "average pool SAME 9", nn.AvgPool2d(9, 1, 4, count_include_pad=False), "fallback"),
    ("ethos_u", "average pool 9 behind a padding", nn.AvgPool2d(9, 1, 4), "native"),
    ("ethos_u", "nearest by 4", nn.Upsample(scale_factor=4), "native"),
    ("ethos_u", "nearest by 3", nn.Upsample(scale_factor=3), "fallback"),
    ("ethos_u", "bilinear by 4, half-pixel centres", nn.Upsample(scale_factor=4, mode="bilinear"), "fallback"),
    ("ethos_u", "nearest by 2 and 4", nn.Upsample(scale_factor=(2, 4)), "fallback"),
    ("ethos_u", "flipped rows", lambda x: x.flip(2), "fallback"),
    ("ethos_u", "every second row", lambda x: x[:, :, ::2], "native"),
    ("ethos_u", "every second channel", lambda x: x[:, ::2], "fallback"),
    ("ethos_u", "mean over channels of a map", lambda x: x.mean(1), "fallback"),
    ("ethos_u", "mean over channels of a pixel", lambda x: F.adaptive_avg_pool2d(x, 1).mean(1), "native"),
    ("ethos_u", "stride 6 behind a padding that the compiler draws in", nn.Conv2d(32, 8, 3, 6, 1), "rejected"),
    ("ethos_u", "stride 5 behind a padding as wide as the kernel", nn.Conv2d(32, 8, 1, 5, 1), "native"),
    ("ethos_u", "the same in groups", nn.Conv2d(32, 8, 1, 5, 1, groups=2), "rejected"),
    ("ethos_u", "stride 5 without padding", nn.Conv2d(32, 8, 3, 5), "native"),
    ("ethos_u", "transposed, stride 1x2", nn.ConvTranspose2d(32, 8, (1, 2), (1, 2)), "fallback"),
    ("ethos_u", "shuffle, 20 x 28 x 28: 15680", lambda x: shuffled(x, 40), "native"),
    ("ethos_u", "shuffle, 88 x 28 x 28: 68992", lambda x: shuffled(x, 176), "fallback"),
    ("edge_tpu", "hard swish", F.hardswish, "fallback"),
    ("edge_tpu", "ReLU6", F.relu6, "native"),
    ("edge_tpu", "grouped convolution: not said", conv(groups=4), "unknown"),
    ("tflite", "a sum of two", lambda x: x + x.flip(2), "unknown"),  # flip has no rule
    ("tflite", "concat of four", lambda x: torch.cat([x, x, x, x], 1), "native"),
    ("tflite", "concat of five", lambda x: torch.cat([x, x, x, x, x], 1), "fallback"),
    ("tflite", "output padding", nn.ConvTranspose2d(32, 8, 3, 2, 1, output_padding=1), "rejected"),
    ("tflite_micro", "leaky ReLU", F.leaky_relu, "native"),
    ("tflite_micro", "GELU", F.gelu, "rejected"),
    ("tflite_micro", "swish as a sigmoid and a product", F.silu, "native"),
    ("hexagon_htp", "hard sigmoid", F.hardsigmoid, "native"),
    ("hexagon_htp", "cumulative sum", lambda x: x.cumsum(1), "fallback"),
    ("amd_dpu", "kernel 15", conv(15), "native"),
    ("amd_dpu", "kernel 17", conv(17), "fallback"),
    ("amd_dpu", "stride 8", conv(3, 8), "native"),
    ("amd_dpu", "stride 9", conv(3, 9), "fallback"),
    ("amd_dpu", "four groups", conv(groups=4), "fallback"),
    ("amd_dpu", "depthwise", conv(groups=32), "native"),
    ("amd_dpu", "a sigmoid", torch.sigmoid, "fallback"),
    ("coreml_ane", "upsample by 2", nn.Upsample(scale_factor=2), "native"),
    ("coreml_ane", "upsample by 4", nn.Upsample(scale_factor=4), "fallback"),
    ("coreml_ane", "pool of 13", nn.MaxPool2d(13, 1), "native"),
    ("coreml_ane", "pool of 14", nn.MaxPool2d(14, 1), "fallback"),
    ("coreml_ane", "pool stride 3", nn.MaxPool2d(3, 3), "fallback"),
    ("rknn", "negation", torch.neg, "rejected"),
    ("rknn", "group norm", nn.GroupNorm(4, 32), "rejected"),
    ("rknn", "resize by nearest", nn.Upsample(scale_factor=2), "native"),
    ("rknn", "resize by bicubic", nn.Upsample(scale_factor=2, mode="bicubic"), "rejected"),
    ("stm32n6", "softmax", nn.Softmax(1), "fallback"),
    ("stm32n6", "bilinear resize", nn.Upsample(scale_factor=2, mode="bilinear"), "fallback"),
    ("stm32n6", "hard swish", F.hardswish, "native"),
    ("ncnn", "hard swish", F.hardswish, "native"),
    ("ncnn", "cumulative sum: nobody tried", lambda x: x.cumsum(1), "unknown"),
    ("onnxruntime", "cumulative sum", lambda x: x.cumsum(1), "native"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "network", "verdict"),
    [pytest.param(target, network, verdict, id=f"{target}: {text}") for target, text, network, verdict in HEADLINES],
)
def test_headline_rule(target: str, network: nn.Module | Callable[[Tensor], Tensor], verdict: str) -> None:
    found = verdicts(network, target)
    assert max(found, key=("native", "unknown", "fallback", "rejected").index) == verdict


def test_verdict_depends_on_the_precision_where_the_vendor_says_so() -> None:
    assert verdicts(F.hardswish, "tflite", "fp32") == ["native"]
    assert verdicts(F.hardswish, "tflite", "int8") == ["fallback"]
    with pytest.raises(UsageError, match="ethos_u computes in int8, not in fp32"):
        place(graph_of(F.relu), get_device("ethos_u"), "fp32")


def test_first_operator_that_an_edge_tpu_lacks_sends_everything_behind_it_to_the_cpu() -> None:
    placed = place(graph_of(nn.Sequential(nn.ReLU(), nn.Hardswish(), nn.ReLU(), nn.ReLU())), get_device("edge_tpu"))
    assert [layer.verdict for layer in placed.layers] == ["native", "fallback", "fallback", "fallback"]
    assert placed.layers[2].reason.startswith("behind the first cut")
    assert [(segment.native, len(segment.layers)) for segment in placed.segments] == [(True, 1), (False, 3)]


def test_network_is_cut_where_it_changes_sides_and_branches_share_a_part() -> None:
    class Branches(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            left, right = F.relu(x), F.relu6(x)
            return F.relu(F.softplus(left) + F.softplus(right))

    placed = place(graph_of(Branches()), get_device("ethos_u"))
    # both ReLUs; both softplus; add and the last ReLU
    assert [(s.native, [layer.node.op for layer in s.layers]) for s in placed.segments] == [
        (True, ["relu", "relu6"]), (False, ["softplus", "softplus"]), (True, ["add", "relu"]),
    ]  # fmt: skip


def test_folded_norm_leaves_no_layer_and_one_that_stands_alone_is_judged() -> None:
    folded = place(graph_of(nn.Sequential(conv(), nn.BatchNorm2d(64))), get_device("stm32n6"))
    assert [(layer.verdict, layer.silent) for layer in folded.layers] == [("native", False), ("native", True)]
    alone = place(graph_of(nn.Sequential(nn.ReLU(), nn.BatchNorm2d(32))), get_device("stm32n6"))
    assert alone.layers[1].verdict == "fallback"


def test_channels_are_rounded_up_to_what_the_device_computes_at_once() -> None:
    module = nn.Sequential(nn.Conv2d(3, 24, 1), nn.Conv2d(24, 48, 1), nn.Conv2d(48, 10, 1))
    placed = place(graph_of(module, channels=3, size=4), get_device("hexagon_htp"))
    assert placed.macs == 16 * (3 * 24 + 24 * 48 + 48 * 10)
    assert placed.padded_macs == 16 * (3 * 32 + 32 * 64 + 64 * 10)  # the input's 3 and the output's 10 are given
    assert placed.unaligned == ("0", "1", "2")


def test_squeeze_excite_is_cut_out_of_a_network_on_the_dpu_and_the_fix_says_how() -> None:
    placed = place(zoo("mobilenet_v3_small_1.0"), get_device("amd_dpu"))
    products = [layer for layer in placed.having("fallback") if layer.node.op == "mul"]
    assert len(products) == 9
    assert {layer.fix for layer in products} == {"`set_squeeze_excite` ratio=0"}


def test_fix_of_an_activation_mends_it() -> None:
    entry, device = ZOO.get("mobilenet_v3_small_1.0"), get_device("edge_tpu")
    before = place(profile_spec(entry.spec).graph, device)
    fixes = {layer.fix for layer in before.layers if layer.node.op == "hardswish" and layer.fix}
    assert fixes == {"`swap_activation` old=hard_swish new=relu6"}
    swap: Any = TRANSFORMS.get("swap_activation")
    after = place(profile_spec(swap(old="hard_swish", new="relu6").edit(entry.spec)).graph, device)
    assert (before.wholly_native, after.wholly_native) == (False, True)


def test_fixes_name_transforms_that_there_are() -> None:
    named = set()
    for network in ("mobilenet_v3_small_1.0", "shufflenet_v1_g3_1.0"):
        graph = zoo(network)
        for target in ("edge_tpu", "amd_dpu", "coreml_ane", "stm32n6", "tflite_micro"):
            placed = place(graph, get_device(target))
            texts = [*placed.notes, *(layer.fix for layer in placed.layers)]
            named |= {name for text in texts for name in re.findall(r"`(\w+)`", text)}
    assert named >= {"quantize_int8", "swap_activation", "set_squeeze_excite"}
    assert named <= set(TRANSFORMS.names())


def test_memory_on_the_chip_is_compared_with_what_is_counted() -> None:
    note = next(note for note in place(zoo("mobilenet_v2_1.0"), get_device("edge_tpu")).notes if "weights" in note)
    assert note.startswith("counted: weights 3.50 MB, fit into 8.0 MB")  # 3,504,872 parameters at a byte each


@pytest.mark.parametrize("target", ["onnxruntime", "ncnn", "tflite", "tflite_micro", "ethos_u", "edge_tpu", "rknn"])
def test_mobilenet_v2_runs_wholly_on_every_target(target: str) -> None:
    placed = place(zoo("mobilenet_v2_1.0"), get_device(target))
    assert placed.wholly_native
    assert placed.native_macs == placed.macs == 300_774_272
    assert len(placed.segments) == 1


OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "neg": torch.neg,
    "exp": torch.exp,
}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(sorted(OPERATORS)), min_size=1, max_size=8), st.sampled_from(sorted(OPERATORS)))
def test_another_rule_never_betters_a_verdict_and_every_layer_is_in_one_part(names: list[str], extra: str) -> None:
    def network(x: Tensor) -> Tensor:
        for name in names:
            x = OPERATORS[name](x)
        return x

    graph, device = graph_of(network, 1, 2), get_device("ethos_u")
    stricter: Device = replace(
        device, rules=(*device.rules, Rule(frozenset({extra}), frozenset(), device.rules[0].source, verdict="rejected"))
    )
    before, after = place(graph, device), place(graph, stricter)
    order = ("native", "unknown", "fallback", "rejected").index
    for old, new in zip(before.layers, after.layers, strict=True):
        assert order(new.verdict) >= order(old.verdict)
        assert (new.verdict == "rejected") == (new.node.op == extra)
    assert after.refused == (extra in names)
    for placed in (before, after):
        assert sorted(_names(placed)) == sorted(node.name for node in graph.nodes)


def _names(placed: Placement) -> list[str]:
    return [layer.node.name for segment in placed.segments for layer in segment.layers]
