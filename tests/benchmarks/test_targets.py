"""What `benchmarks.targets` writes for a compiler, and how it counts; the compiler itself is not needed here."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

pytest.importorskip("flatbuffers")

from benchmarks._limits import Call, cases, drawn
from benchmarks._tflite import left_over
from benchmarks._tflite_graph import NoFormError, Writer
from benchmarks.targets import Row, told
from flyweight.graph import Graph
from flyweight.trace import trace


def graph_of(network: nn.Module) -> Graph:
    return trace(network.eval(), torch.zeros(1, 8, 16, 16))


def operators(network: nn.Module) -> list[str]:
    writer = Writer(graph_of(network))
    writer.file()
    return [operator.code for operator in writer.operators]


def test_file_that_is_read_again_names_what_every_operator_makes() -> None:
    writer = Writer(graph_of(nn.Sequential(nn.Conv2d(8, 4, 3, 2, 1), nn.ReLU())))
    content = writer.file()
    assert content[4:8] == b"TFL3"
    assert left_over(content) == ({name for names in writer.made.values() for name in names}, 0)


@pytest.mark.parametrize(
    ("network", "written"),
    [
        (nn.Conv2d(8, 4, 3, 1, 1), ["CONV_2D"]),  # 1 on either side is TensorFlow's SAME
        (nn.Conv2d(8, 4, 3, 2, 1), ["PAD", "CONV_2D"]),  # of 16 pixels SAME would take 0 and 1
        (nn.Conv2d(8, 16, 3, groups=8), ["DEPTHWISE_CONV_2D"]),
        (nn.Sequential(nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4)), ["CONV_2D"]),  # folded
        (nn.BatchNorm2d(8), ["MUL", "ADD"]),
        (nn.SiLU(), ["LOGISTIC", "MUL"]),
        (nn.ConvTranspose2d(8, 4, 4, 2, 1), ["TRANSPOSE_CONV"]),  # 16 to 32: SAME
        (nn.ConvTranspose2d(8, 4, 3, 2, 1), ["TRANSPOSE_CONV", "SLICE"]),  # 33 whole, 31 wanted
        (nn.AvgPool2d(3, 1, 1), ["PAD", "AVERAGE_POOL_2D"]),  # zeros counted
        (nn.AdaptiveAvgPool2d(1), ["MEAN"]),
        (nn.Flatten(), ["TRANSPOSE", "RESHAPE"]),  # torch's order of elements
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_layer_is_written_as_a_converter_does(network: nn.Module, written: list[str]) -> None:
    assert operators(network) == written


def test_what_the_format_has_no_form_for_is_an_error() -> None:
    with pytest.raises(NoFormError, match="erf"):
        operators(Call(torch.erf))


def test_every_single_operator_around_the_limits_can_be_written() -> None:
    texts = [case.text for case in cases()]
    assert len(texts) == len(set(texts)) > 200


def test_draws_of_a_seed_are_the_same_again() -> None:
    once, again, other = ([case.text for case in drawn(20, seed)] for seed in (1, 1, 2))
    assert once == again != other


def test_unknown_and_unwritten_operators_are_counted_apart() -> None:
    rows = [
        Row("a", "conv", "native", "native"), Row("b", "conv", "native", "fallback", "", "stride"),
        Row("c", "erf", "unknown", "fallback"), Row("d", "erf", "native", "no form"),
    ]  # fmt: skip
    part = told("made up", rows)
    assert (part["compared"], part["agree"]) == (2, 1)
    assert [row["case"] for row in part["disagreements"]] == ["b"]
    assert [len(part[name]) for name in ("unknown", "left_out")] == [1, 1]


def shuffled(x: Tensor) -> Tensor:
    return F.channel_shuffle(x, 2)


def test_channel_shuffle_is_a_transposition_between_reshapes() -> None:
    assert operators(Call(shuffled)) == ["RESHAPE", "TRANSPOSE", "RESHAPE"]
