"""The graph is complete, names everything, and leaves nothing behind."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.errors import GraphError
from flyweight.graph import Graph, Node
from flyweight.trace import trace

IMAGE = torch.zeros(1, 3, 8, 8)


class Calls(nn.Module):
    """A module without weights that calls a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def only(graph: Graph, op: str) -> Node:
    (node,) = (node for node in graph.nodes if node.op == op)
    return node


def test_a_module_and_the_function_behind_it_give_the_same_operator() -> None:
    conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
    weight = conv.weight.detach()
    direct = Calls(lambda x: F.conv2d(x, weight, stride=2, padding=1))
    by_module, by_function = only(trace(conv, IMAGE), "conv"), only(trace(direct, IMAGE), "conv")
    assert by_module.attrs == by_function.attrs
    assert by_module.attr("stride") == (2, 2)
    assert by_module.attr("kernel_size") == (3, 3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (F.relu, "relu"),
        (F.relu6, "relu6"),
        (lambda x: x.clamp(0, 6), "relu6"),
        (lambda x: x.clamp(0, 5), "clamp"),
        (F.hardswish, "hardswish"),
        (F.hardsigmoid, "hardsigmoid"),
        (F.silu, "silu"),
        (torch.sigmoid, "sigmoid"),
        (lambda x: x + x, "add"),
        (lambda x: 1 - x, "sub"),
        (lambda x: torch.cat((x, x)), "concat"),
        (lambda x: x.mean((2, 3)), "mean"),
        (lambda x: F.adaptive_avg_pool2d(x, 1), "adaptive_avg_pool"),
        (lambda x: F.max_pool2d(x, 2), "max_pool"),
        (lambda x: F.avg_pool2d(x, 2), "avg_pool"),
        (lambda x: F.pad(x, (0, 1, 0, 1)), "pad"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "pad"),
        (lambda x: F.interpolate(x, scale_factor=2), "upsample_nearest"),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), "upsample_bilinear"),
        (lambda x: F.pixel_shuffle(x.repeat(1, 4, 1, 1), 2), "pixel_shuffle"),
        (lambda x: x.flatten(1), "flatten"),
        (lambda x: x.chunk(3, 1)[0], "chunk"),
        (lambda x: x.split(1, 1)[2], "split"),
        (lambda x: x[:, 1:], "slice"),
        (lambda x: x.permute(0, 2, 3, 1).contiguous(), "copy"),
        (lambda x: x.softmax(1), "softmax"),
        (lambda x: F.scaled_dot_product_attention(x, x, x), "sdpa"),
        (lambda x: x @ x, "matmul"),
        (lambda x: torch.einsum("bchw,bdhw->bcd", x, x), "matmul"),
        (lambda x: F.linear(x, torch.zeros(5, 8)), "linear"),
        (lambda x: F.conv_transpose2d(x, torch.zeros(3, 2, 2, 2), stride=2), "conv_transpose"),
        (lambda x: F.layer_norm(x, (8,)), "layer_norm"),
        (lambda x: F.group_norm(x, 3), "group_norm"),
    ],
)
def test_operators_get_their_standard_names(function: Callable[..., Any], expected: str) -> None:
    assert expected in ops(trace(Calls(function), IMAGE))


def test_every_operator_of_a_chain_is_a_node_in_order() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    graph = trace(net, IMAGE)
    assert ops(graph) == ["conv", "batch_norm", "relu", "flatten", "linear"]
    assert [node.module for node in graph.nodes] == ["0", "1", "2", "3", "4"]
    assert [p.name for p in graph.nodes[1].params] == ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
    assert [p.kind for p in graph.nodes[1].params] == ["parameter", "parameter", "buffer", "buffer"]
    assert graph.tensors[graph.outputs[0]].shape == (1, 2)


def test_meta_shapes_equal_the_shapes_of_a_real_run() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1, dilation=2),
        nn.ConvTranspose2d(6, 8, 3, stride=2, output_padding=1, groups=2),
        nn.AvgPool2d(2, ceil_mode=True),
        nn.Upsample(scale_factor=1.5, mode="bilinear"),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.Flatten(2),
        nn.Linear(6, 5),
        nn.LayerNorm(5),
    ).eval()
    graph = trace(net, (torch.zeros(2, 3, 17, 13),))
    x = torch.zeros(2, 3, 17, 13)
    for layer, node in zip(net, graph.nodes, strict=True):
        x = layer(x)
        assert graph.tensors[node.outputs[0]].shape == tuple(x.shape), node.op


def test_a_shared_module_gets_the_path_it_was_called_by() -> None:
    class Parent(nn.Module):
        def __init__(self, conv: nn.Module) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.conv(x)
            return out

    conv = nn.Conv2d(3, 3, 1)
    graph = trace(nn.ModuleDict({"a": Parent(conv), "b": Parent(conv)}).values().__iter__().__next__(), IMAGE)
    assert [node.module for node in graph.nodes] == ["conv"]
    graph = trace(nn.Sequential(Parent(conv), Parent(conv)), IMAGE)
    assert [node.module for node in graph.nodes] == ["0.conv", "1.conv"]
    assert [p.name for node in graph.nodes for p in node.params] == ["0.conv.weight", "0.conv.bias"] * 2


def test_one_activation_used_at_two_places_of_a_chain_takes_both_names_in_turn() -> None:
    act = nn.ReLU()
    graph = trace(nn.Sequential(nn.Conv2d(3, 3, 1), act, nn.Conv2d(3, 3, 1), act), IMAGE)
    assert [node.module for node in graph.nodes] == ["0", "1", "2", "3"]


def test_views_name_the_tensor_whose_storage_they_share_and_copies_do_not() -> None:
    graph = trace(Calls(lambda x: x.permute(0, 2, 3, 1).reshape(-1).relu()), IMAGE)
    permute, reshape, relu = graph.nodes
    assert permute.aliases == {permute.outputs[0]: "input"}
    assert reshape.aliases == {}  # it had to copy
    assert relu.aliases == {}


def test_an_in_place_operator_makes_a_new_version_and_says_so() -> None:
    graph = trace(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(inplace=True), nn.Conv2d(3, 3, 1)), IMAGE)
    conv, relu, last = graph.nodes
    assert relu.attr("inplace") is True
    assert relu.aliases == {relu.outputs[0]: conv.outputs[0]}
    assert last.inputs == relu.outputs


def test_writing_into_a_view_changes_the_tensor_it_is_a_view_of() -> None:
    def half(x: Tensor) -> Tensor:
        y = x * 2
        y[:, :1] += 1
        return y.relu()

    graph = trace(Calls(half), IMAGE)
    added = only(graph, "add")
    assert len(added.outputs) == 2  # the view and its base
    producer = graph.producers[only(graph, "relu").inputs[0]]
    assert producer.attr("inplace") is True


def test_an_older_view_of_a_written_tensor_depends_on_the_write() -> None:
    def late(x: Tensor) -> Tensor:
        y = x * 2
        old_view = y[:, 1:]
        y += x
        return old_view.relu()

    graph = trace(Calls(late), IMAGE)
    refreshed = graph.producers[only(graph, "relu").inputs[0]]
    assert refreshed.op == "alias"
    assert graph.producers[refreshed.inputs[0]].op == "add"


def test_dropout_leaves_no_trace_in_eval_mode() -> None:
    net = nn.Sequential(nn.Dropout(), nn.ReLU(), nn.Identity())
    net.train()
    assert ops(trace(net, IMAGE)) == ["relu"]


def test_weight_norm_is_a_node_that_depends_on_no_input() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    graph = trace(net, IMAGE)
    conv = only(graph, "conv")
    computed = graph.producers[conv.inputs[1]]
    assert computed.attr("weight") is True
    assert conv.attr("weight") is None
    assert {p.name for p in graph.params.values() if p.kind == "parameter"} == {
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1",
    }  # fmt: skip


def test_the_old_weight_norm_by_hooks_works_too() -> None:
    with pytest.warns(FutureWarning, match="weight_norm"):
        net = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    assert "conv" in ops(trace(net, IMAGE))


def test_control_flow_on_shapes_runs_as_written() -> None:
    def until_small(x: Tensor) -> Tensor:
        while x.shape[-1] > 2:
            x = F.max_pool2d(x, 2)
        return x

    assert ops(trace(Calls(until_small), IMAGE)) == ["max_pool", "max_pool"]  # 8 -> 4 -> 2


def test_a_loop_over_a_number_kept_in_a_buffer_runs() -> None:
    class Repeats(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("times", torch.tensor(3))

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(int(self.times)):
                x = x.relu()
            return x

    assert ops(trace(Repeats(), IMAGE)) == ["relu"] * 3


def test_tensors_made_inside_forward_are_nodes() -> None:
    graph = trace(Calls(lambda x: x + torch.arange(8.0) * torch.tensor(2.0)), IMAGE)
    assert ops(graph) == ["constant", "mul", "add"]
    assert [bool(node.attr("weight")) for node in graph.nodes] == [True, True, False]


def test_deciding_by_the_values_of_the_input_is_refused_with_the_layer_and_a_way_out() -> None:
    def decide(x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x

    with pytest.raises(GraphError, match=r"layer '1' decides by the values of a tensor .*Decide by shapes"):
        trace(nn.Sequential(nn.ReLU(), Calls(decide)), IMAGE)


def test_values_written_into_a_real_tensor_are_not_taken_for_known() -> None:
    def decide(x: Tensor) -> Tensor:
        held = torch.zeros(1)
        held[0] = x.sum()
        return x if bool(held[0] > 0) else -x

    with pytest.raises(GraphError, match="decides by the values"):
        trace(Calls(decide), IMAGE)


def test_dicts_tuples_and_two_inputs_are_named() -> None:
    class Two(nn.Module):
        def forward(self, image: Tensor, *, extra: dict[str, Tensor]) -> dict[str, Any]:
            return {"sum": image + extra["a"], "pair": (image.relu(), extra["b"])}

    graph = trace(Two(), {"image": IMAGE, "extra": {"a": IMAGE.clone(), "b": IMAGE.clone()}})
    assert graph.inputs == ("input.image", "input.extra.a", "input.extra.b")
    assert graph.outputs == (graph.nodes[0].outputs[0], graph.nodes[1].outputs[0], "input.extra.b")


def test_a_custom_autograd_function_is_seen_through() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * x

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad

    assert ops(trace(Calls(lambda x: Square.apply(x)), IMAGE)) == ["mul"]


def test_a_network_without_parameters_and_one_that_does_nothing() -> None:
    assert trace(nn.ReLU(), IMAGE).params == {}
    graph = trace(nn.Identity(), IMAGE)
    assert (graph.nodes, graph.outputs) == ((), ("input",))


def test_attention_layers_are_seen_as_products_not_as_one_fused_operator() -> None:
    graph = trace(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.zeros(1, 5, 8))
    assert ops(graph).count("linear") == 4
    assert ops(graph).count("sdpa") == 1


def test_unused_parameters_are_listed_apart() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    net.register_parameter("spare", nn.Parameter(torch.zeros(7)))
    assert [info.name for info in trace(net, IMAGE).unused] == ["spare"]


def test_returning_a_parameter_gives_a_graph() -> None:
    net = nn.Conv2d(3, 4, 1)
    net.forward = lambda x: (x, net.weight)  # type: ignore[method-assign,assignment,return-value]
    graph = trace(net, IMAGE)
    assert [node.op for node in graph.nodes] == ["constant"]
    assert len(graph.outputs) == 2


class Busy(nn.Module):
    """Writes everywhere while it runs, and fails on a wrong input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout()
        self.register_buffer("seen", torch.zeros(1))
        self.calls = 0
        self.cache: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 1
        self.cache.append(x)
        noise = torch.rand(4, 1, 1) * random.random() * float(np.random.rand())
        out: Tensor = self.drop(self.norm(self.conv(x))) + noise
        return out


def snapshot(net: Busy) -> tuple[Any, ...]:
    tensors = {name: value.clone() for name, value in net.state_dict().items()}
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in net.modules()]
    state = (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[union-attr]
    flags = (torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled())
    return tensors, [m.training for m in net.modules()], hooks, net.calls, len(net.cache), state, flags


def test_tracing_leaves_nothing_behind_even_when_it_fails_and_the_hundredth_call_equals_the_first() -> None:
    net = Busy()
    net.norm.eval()  # a mixture of modes stays a mixture
    before, first = snapshot(net), trace(net, IMAGE)
    for attempt in range(99):
        if attempt % 9 == 0:
            with pytest.raises(GraphError, match="layer 'conv' failed"):
                trace(net, torch.zeros(1, 5, 8, 8))
        else:
            assert trace(net, IMAGE) == first
    after = snapshot(net)
    assert before[1:] == after[1:]
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])


def test_parameters_stay_the_same_objects_with_their_gradients() -> None:
    net = nn.Conv2d(3, 4, 1)
    net(IMAGE).sum().backward()
    weight, grad = net.weight, copy.deepcopy(net.weight.grad)
    trace(net, IMAGE)
    assert net.weight is weight
    assert grad is not None and torch.equal(weight.grad, grad)  # type: ignore[arg-type]


def test_closures_over_the_original_module_name_its_parameters() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1))
    net.forward = lambda x: F.conv2d(x, net[0].weight)  # type: ignore[method-assign]
    assert [p.name for p in only(trace(net, IMAGE), "conv").params] == ["0.weight"]


@pytest.mark.parametrize(
    ("module", "example", "message"),
    [
        (nn.LazyConv2d(4, 3), IMAGE, "has no shape yet"),
        (nn.Conv2d(4, 4, 1), IMAGE, r"failed on an example input of shape \(1, 3, 8, 8\)"),
        (nn.ReLU(), 3, "Pass a tensor, a tuple"),
        (nn.ReLU(), (), "of shape no tensor"),
        (lambda x: x, IMAGE, "expected a torch.nn.Module, found function"),
        (Calls(lambda x: x[x > 0]), IMAGE, "decides by the values"),
        (Calls(lambda x: x.to_sparse()), IMAGE, "sparse|layout"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")  # torch says so of every lazy layer
def test_what_cannot_be_traced_is_refused_with_a_sentence(module: Any, example: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        trace(module, example)


def test_a_module_that_cannot_be_copied_is_refused_with_the_reason() -> None:
    net = nn.ReLU()
    net.stream = (n for n in range(3))  # type: ignore[assignment]
    with pytest.raises(GraphError, match=r"ReLU can't be copied.*generator"):
        trace(net, IMAGE)


def test_half_precision_and_training_mode_batch_statistics_are_traced() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).half()
    graph = trace(net, IMAGE.half())
    assert {info.dtype for info in graph.tensor_list} == {"float16"}
    assert ops(graph) == ["conv", "batch_norm"]
