"""Counts, with the arithmetic in sight: first what popular counters get wrong, then the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from flyweight.count import FORMULAS, bias_adds, bytes_moved, count, elementwise, macs
from flyweight.errors import UnknownOperatorError
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.operators import ELEMENTWISE_OPS, FREE_OPS, OPERATORS, REDUCTION_OPS
from flyweight.trace import trace


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def total_macs(module: nn.Module | Callable[..., Any], *example: Tensor) -> int:
    graph = trace(module if isinstance(module, nn.Module) else Calls(module), example)
    return sum(macs(node, graph, strict=True) or 0 for node in graph.nodes)


def dispatched_macs(module: nn.Module, x: Tensor) -> int:
    """Return what torch's own counter sees; it counts two operations per multiply-accumulate."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(x)
    return int(counter.get_total_flops()) // 2


def image(channels: int = 3, size: int = 8) -> Tensor:
    return torch.zeros(1, channels, size, size)


def test_a_convolution_counts_outputs_times_inputs_per_group_times_kernel() -> None:
    assert total_macs(nn.Conv2d(8, 16, 3, stride=2, padding=1), image(8)) == 4 * 4 * 16 * 8 * 3 * 3


def test_depthwise_convolution_counts_one_input_channel_per_filter() -> None:
    assert total_macs(nn.Conv2d(16, 16, 3, padding=1, groups=16), image(16)) == 8 * 8 * 16 * 1 * 3 * 3


def test_transposed_convolution_counts_inputs_times_filters_times_kernel() -> None:
    assert total_macs(nn.ConvTranspose2d(8, 4, 4, stride=2, padding=1), image(8)) == 8 * 8 * 8 * 4 * 4 * 4


def test_grouped_transposed_convolution_counts_filters_per_group() -> None:
    assert total_macs(nn.ConvTranspose2d(8, 4, 2, stride=2, groups=4), image(8)) == 8 * 8 * 8 * (4 // 4) * 2 * 2


def test_padding_given_as_a_word_counts_like_padding_given_as_a_number() -> None:
    assert total_macs(nn.Conv2d(3, 4, 3, padding="same"), image()) == 8 * 8 * 4 * 3 * 3 * 3
    assert total_macs(nn.Conv2d(3, 4, 4, padding="same"), image()) == 8 * 8 * 4 * 3 * 4 * 4  # pads unevenly
    assert total_macs(nn.Conv2d(3, 4, 3, padding="valid"), image()) == 6 * 6 * 4 * 3 * 3 * 3


def test_functions_called_directly_count_like_modules() -> None:
    assert total_macs(lambda x: F.conv2d(x, torch.zeros(4, 3, 3, 3)), image()) == 6 * 6 * 4 * 3 * 3 * 3
    assert total_macs(lambda x: F.linear(x, torch.zeros(5, 8)), image()) == 3 * 8 * 5 * 8


def test_a_matrix_product_written_as_an_operator_counts() -> None:
    assert total_macs(lambda x, y: x @ y, torch.zeros(2, 3, 4), torch.zeros(4, 5)) == 2 * 3 * 5 * 4
    assert total_macs(lambda x, y: x @ y, torch.zeros(4), torch.zeros(4)) == 4
    assert total_macs(lambda x, y: x @ y, torch.zeros(3, 4), torch.zeros(4)) == 3 * 4
    assert total_macs(lambda x, y: x @ y, torch.zeros(4), torch.zeros(2, 4, 5)) == 2 * 5 * 4
    assert total_macs(lambda x, y: x @ y, torch.zeros(7, 1, 3, 4), torch.zeros(2, 4, 5)) == 7 * 2 * 3 * 5 * 4


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.mm, [(3, 4), (4, 5)], 3 * 5 * 4),
        (torch.bmm, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 5 * 4),
        (torch.mv, [(3, 4), (4,)], 3 * 4),
        (torch.addmm, [(5,), (3, 4), (4, 5)], 3 * 5 * 4),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 5 * 4),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 3 * 5 * 4),
    ],
)
def test_every_form_of_a_matrix_product_counts(
    function: Callable[..., Any], shapes: list[tuple[int, ...]], expected: int
) -> None:
    assert total_macs(function, *(torch.zeros(shape) for shape in shapes)) == expected


def test_einsum_counts_its_contractions() -> None:
    x, y = torch.zeros(2, 3, 4), torch.zeros(2, 5, 4)
    assert total_macs(lambda x, y: torch.einsum("bik,bjk->bij", x, y), x, y) == 2 * 3 * 5 * 4


def test_attention_counts_scores_and_weighted_sum() -> None:
    query, key, value = torch.zeros(2, 4, 7, 16), torch.zeros(2, 4, 9, 16), torch.zeros(2, 4, 9, 12)
    counted = total_macs(lambda q, k, v: F.scaled_dot_product_attention(q, k, v), query, key, value)
    assert counted == 2 * 4 * 7 * 9 * 16 + 2 * 4 * 7 * 9 * 12


def test_the_cpu_kernel_of_attention_counts_under_its_own_name() -> None:
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    q = torch.zeros(2, 4, 7, 16)
    assert total_macs(lambda x: kernel(x, x, x)[0], q) == 2 * (2 * 4 * 7 * 7 * 16)


def test_multi_head_attention_counts_projections_and_products_alike_with_and_without_weights() -> None:
    projections = 5 * 8 * (3 * 8) + 5 * 8 * 8  # in and out, 5 tokens of 8 features
    products = 2 * (2 * 5 * 5 * 4)  # scores and weighted sum: 2 heads of 4 features
    for need_weights in (True, False):
        net = nn.MultiheadAttention(8, 2, batch_first=True)
        x = torch.zeros(1, 5, 8)

        class Wrapped(nn.Module):
            def __init__(self, inner: nn.MultiheadAttention, need_weights: bool) -> None:
                super().__init__()
                self.inner, self.need_weights = inner, need_weights

            def forward(self, x: Tensor) -> Tensor:
                out: Tensor = self.inner(x, x, x, need_weights=self.need_weights)[0]
                return out

        assert total_macs(Wrapped(net, need_weights), x) == projections + products


def test_linear_on_a_three_dimensional_input_counts_every_row() -> None:
    assert total_macs(nn.Linear(8, 5), torch.zeros(1, 49, 8)) == 49 * 8 * 5


def test_a_shared_module_counts_every_time_it_runs_but_its_weights_once() -> None:
    shared = nn.Conv2d(3, 3, 1)
    graph = trace(nn.Sequential(shared, nn.ReLU(), shared), image())
    assert sum(macs(node, graph) or 0 for node in graph.nodes) == 2 * (8 * 8 * 3 * 3)
    assert sum(info.elements for info in graph.params.values()) == 3 * 3 + 3


def test_lstm_applies_every_weight_matrix_once_per_step() -> None:
    lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True)
    per_step = 2 * (4 * 5 * 6 + 4 * 5 * 5) + 2 * (4 * 5 * 10 + 4 * 5 * 5)  # layer 0 reads 6, layer 1 reads 2 · 5
    assert total_macs(lstm, torch.zeros(7, 3, 6)) == 7 * 3 * per_step


def test_gru_plain_and_projected_recurrence_count_alike() -> None:
    assert total_macs(nn.GRU(6, 5), torch.zeros(7, 3, 6)) == 7 * 3 * (3 * 5 * 6 + 3 * 5 * 5)
    assert total_macs(nn.RNN(6, 5), torch.zeros(7, 3, 6)) == 7 * 3 * (5 * 6 + 5 * 5)
    projected = 4 * 5 * 6 + 4 * 5 * 2 + 2 * 5
    assert total_macs(nn.LSTM(6, 5, proj_size=2), torch.zeros(7, 3, 6)) == 7 * 3 * projected


def test_recurrent_bias_and_gates_have_columns_of_their_own() -> None:
    graph = trace(nn.LSTM(6, 5), torch.zeros(7, 3, 6))
    (node,) = (node for node in graph.nodes if node.op == "lstm")
    assert bias_adds(node, graph) == 7 * 3 * (4 * 5 + 4 * 5)  # PyTorch keeps two biases
    assert elementwise(node, graph) == 7 * 3 * 5 * 9


def test_an_lstm_cell_counts_like_one_step() -> None:
    assert total_macs(nn.LSTMCell(6, 5), torch.zeros(3, 6)) == 3 * (4 * 5 * 6 + 4 * 5 * 5)


def test_a_network_without_parameters_counts_zero_macs() -> None:
    assert total_macs(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), image()) == 0


def test_bias_normalization_activation_and_pooling_are_no_macs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1))
    graph = trace(net, image())
    rows = [count(node, graph, strict=True) for node in graph.nodes]
    assert [row.macs for row in rows if row] == [8 * 8 * 4 * 3, 0, 0, 0, 0]
    assert [row.bias_adds for row in rows if row] == [8 * 8 * 4, 0, 0, 0, 0]
    assert [row.elementwise for row in rows if row] == [0, 2 * 256, 256, 4 * 4 * 4 * (2 * 2), 4 * 4 * 4]


def test_weight_norm_does_not_change_the_macs() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    graph = trace(net, image())
    assert sum(macs(node, graph) or 0 for node in graph.nodes) == 6 * 6 * 4 * 3 * 3 * 3


def test_a_parameter_convolved_by_an_activation_counts_by_position() -> None:
    kernel = nn.Parameter(torch.zeros(1, 3, 8, 8))
    assert total_macs(lambda w: F.conv2d(kernel, w), torch.zeros(4, 3, 3, 3)) == 6 * 6 * 4 * 3 * 3 * 3


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_convolutions_of_any_dimension_count(dims: int) -> None:
    conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](2, 4, 3)
    assert total_macs(conv, torch.zeros(1, 2, *([6] * dims))) == 4**dims * 4 * 2 * 3**dims


@given(
    channels=st.integers(1, 3),
    filters=st.integers(1, 3),
    groups=st.integers(1, 2),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    transposed=st.booleans(),
)
def test_convolutions_equal_the_count_at_dispatch(
    channels: int, filters: int, groups: int, kernel: int, stride: int, padding: int, dilation: int, transposed: bool
) -> None:
    layer = nn.ConvTranspose2d if transposed else nn.Conv2d
    conv = layer(
        channels * groups, filters * groups, kernel, stride, padding, groups=groups, dilation=dilation, bias=False
    )
    x = torch.zeros(2, channels * groups, 11, 9)
    assert total_macs(conv, x) == dispatched_macs(conv, x)


def test_a_residual_network_with_linear_and_upsampling_equals_the_count_at_dispatch() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, 2, 1)
            self.depthwise = nn.Conv2d(8, 8, 5, padding="same", groups=8)
            self.up = nn.ConvTranspose2d(16, 6, 4, 2, 1, groups=2)
            self.fc = nn.Linear(6, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            y = torch.cat((y, y + self.depthwise(y)), 1)
            y = F.interpolate(self.up(y), scale_factor=2)
            out: Tensor = self.fc(y.mean((2, 3))) @ torch.zeros(10, 2)
            return out

    assert total_macs(Net(), image(size=16)) == dispatched_macs(Net(), image(size=16))


def node_of(op: str) -> tuple[Node, Graph]:
    shape = TensorInfo("x", (2, 3)), TensorInfo("y", (2, 3))
    node = Node("n", op, ("x",), ("y",), "head.attn")
    return node, Graph(("x",), ("y",), (node,), shape)


def test_unknown_operator_is_none_and_under_strict_an_error_that_names_the_layer() -> None:
    node, graph = node_of("aten.fft_rfft2")
    assert count(node, graph) is None
    assert (macs(node, graph), bias_adds(node, graph), elementwise(node, graph)) == (None, None, None)
    assert bytes_moved(node, graph) == 2 * 3 * 4 + 2 * 3 * 4
    with pytest.raises(UnknownOperatorError, match=r"layer 'head.attn': no formula for operator 'aten.fft_rfft2'"):
        count(node, graph, strict=True)


def test_a_real_unknown_operator_stays_visible() -> None:
    graph = trace(Calls(lambda x: torch.cdist(x, x)), torch.zeros(4, 3))
    assert None in [macs(node, graph) for node in graph.nodes]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.clone().fill_(1),
        lambda x: x.clone().zero_(),
        lambda x: torch.empty_like(x).uniform_() + x,
        lambda x: torch.empty_like(x).normal_() + x,
        lambda x: x.type(torch.float64).type_as(x).expand_as(x),
        lambda x: F.grid_sample(x, torch.zeros(1, 4, 4, 2), align_corners=False),
        lambda x: x.sinh().fmod(2).logit().erfc(),
        lambda x: torch.meshgrid(x[0, 0, 0], x[0, 0, 1], indexing="ij")[0] // 2,
        lambda x: F.unfold(x, 3),
        lambda x: F.local_response_norm(x, 3),
        lambda x: F.softsign(x) + F.tanhshrink(x) + F.hardshrink(x) + F.softshrink(x),
        lambda x: F.normalize(x) + F.cosine_similarity(x, x).unsqueeze(1),
        lambda x: F.fold(x.reshape(1, 12, 16), (8, 8), 2, stride=2),
        lambda x: F.dropout(x, training=True) + F.rrelu(x),
        lambda x: (x > 0) & (x < 1) | ~(x == 2),
        lambda x: F.lp_pool2d(x, 2, 2) + F.adaptive_max_pool2d(x, 4),
        lambda x: x.tril().roll(1, 2).flip(3).repeat(1, 2, 1, 1).tile(2, 1, 1, 1),
    ],
)
def test_common_functions_have_no_unknown_operator(function: Callable[..., Any]) -> None:
    graph = trace(Calls(function), image())
    assert [node.op for node in graph.nodes if count(node, graph) is None] == []


def test_every_operator_that_tracing_names_has_a_formula() -> None:
    assert sorted(set(OPERATORS.values()) - set(FORMULAS)) == []


def test_no_operator_is_in_two_classes() -> None:
    assert not FREE_OPS & set(ELEMENTWISE_OPS)
    assert not FREE_OPS & set(REDUCTION_OPS)
    assert not set(ELEMENTWISE_OPS) & set(REDUCTION_OPS)


def moved(function: nn.Module | Callable[..., Any], *example: Tensor) -> list[int]:
    graph = trace(function if isinstance(function, nn.Module) else Calls(function), example)
    return [bytes_moved(node, graph) for node in graph.nodes]


def test_a_convolution_moves_input_weights_and_output_once() -> None:
    assert moved(nn.Conv2d(3, 4, 3), image()) == [4 * (3 * 8 * 8 + 4 * 3 * 3 * 3 + 4 + 4 * 6 * 6)]


def test_views_move_nothing_and_copies_read_and_write() -> None:
    assert moved(lambda x: x.permute(0, 2, 3, 1).reshape(-1), image()) == [0, 4 * 2 * 192]


def test_an_in_place_activation_reads_and_writes() -> None:
    assert moved(lambda x: F.relu_(x), image()) == [4 * 2 * 192]


def test_an_in_place_write_into_a_view_moves_the_view_only() -> None:
    def half(x: Tensor) -> Tensor:
        x[:, :1] += 1
        return x

    # the addition, then the assignment that Python makes of it
    assert sum(moved(half, image())) == 4 * 2 * 64 + 4 * 2 * 64


def test_an_embedding_moves_the_rows_it_fetches() -> None:
    tokens = torch.zeros(5, dtype=torch.int64)
    assert moved(nn.Embedding(1000, 8), tokens) == [2 * 5 * 8 * 4 + 5 * 8]


def test_a_tensor_read_twice_by_one_operator_is_moved_once() -> None:
    assert moved(lambda x: x + x, image()) == [4 * 2 * 192]
