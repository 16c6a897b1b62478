"""Segmentation heads that read encoder maps: fcn, raspp, lraspp, unpool_decoder."""

import pytest
import torch
import torch.nn.functional as F

from flyweight.build import build
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings

STAGES = (StageSpec("a", "conv", 8, 2), StageSpec("b", "conv", 16, 2), StageSpec("c", "separable", 24, 2))


def spec(kind: str, *widths: int, **chosen: bool | int | float | str | tuple[str, ...]) -> ArchSpec:
    return ArchSpec("x", "segment", InputSpec(33, 48), 5, STAGES, HeadSpec(kind, widths, settings=settings(**chosen)))


def head_parameters(of: ArchSpec) -> int:
    return sum(p.numel() for p in build(of).head.parameters())


def test_fcn_adds_resized_coarse_scores_to_fine_ones() -> None:
    network = build(spec("fcn", sources=("c", "b")))
    coarse, fine = torch.randn(2, 24, 5, 6), torch.randn(2, 16, 9, 12)
    out = network.head({"c": coarse, "b": fine})
    scores = network.head.scores
    assert torch.allclose(out, F.interpolate(scores[0](coarse), (9, 12), mode="bilinear") + scores[1](fine))


def test_fcn_counts_scores_and_hidden_layer() -> None:
    assert head_parameters(spec("fcn")) == 24 * 5 + 5
    assert head_parameters(spec("fcn", hidden=12)) == 24 * 12 * 9 + 2 * 12 + 12 * 5 + 5


def test_raspp_counts_both_branches_and_their_union() -> None:
    #                                            two branches         , union          , classes
    assert head_parameters(spec("raspp", width=10)) == 2 * (24 * 10 + 20) + (20 * 10 + 20) + 10 * 5 + 5


def test_lraspp_counts_branch_gate_and_two_scores() -> None:
    assert head_parameters(spec("lraspp", width=10, low="b")) == (24 * 10 + 20) + 24 * 10 + (10 * 5 + 5) + (16 * 5 + 5)


def test_lraspp_of_the_paper_has_the_published_head() -> None:
    stages = (StageSpec("low", "conv", 40, 8), StageSpec("high", "conv", 960, 2))
    wide = spec("lraspp", low="low").replace(stages=stages, classes=21)
    assert head_parameters(wide) == 249_586  # 3,221,538 of the whole network less 2,971,952 of its backbone


def test_lraspp_gates_the_coarse_branch() -> None:
    head = build(spec("lraspp", width=10, low="b")).head
    with torch.no_grad():
        head.gate.weight.fill_(-100.0)
    high, low = torch.rand(1, 24, 5, 6) + 1, torch.randn(1, 16, 9, 12)
    assert torch.allclose(head({"c": high, "b": low}), head.low_scores(low) + head.high_scores.bias.view(1, -1, 1, 1))


@pytest.mark.parametrize(
    ("of", "size"),
    [
        (spec("fcn"), (5, 6)),
        (spec("fcn", sources=("c", "b", "a")), (17, 24)),
        (spec("raspp", width=8), (5, 6)),
        (spec("lraspp", width=8, low="a"), (17, 24)),
    ],
)
def test_logits_have_the_finest_sources_size(of: ArchSpec, size: tuple[int, int]) -> None:
    assert build(of)(torch.zeros(2, 3, 33, 48)).shape == (2, 5, *size)


def test_unpooling_puts_values_back_where_the_largest_lay() -> None:
    of = spec("unpool_decoder", 4, sources=("a",)).replace(
        input=InputSpec(32, 32), stages=(STAGES[0], StageSpec("b", "conv", 16, 2))
    )
    head = build(of).head
    source, x = torch.randn(1, 8, 16, 16), torch.randn(1, 16, 8, 8)
    put_back = []
    head.smooth[0].register_forward_pre_hook(lambda _, given: put_back.append(given[0]))
    assert head({"a": source, "b": x}).shape == (1, 5, 16, 16)
    largest = source == F.max_pool2d(source, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(put_back[0] != 0, largest & (put_back[0] != 0))
    assert torch.allclose(F.avg_pool2d(put_back[0], 2) * 4, head.narrow[0](x), atol=1e-6)  # one value a window


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (spec("fcn", sources=("d",)), "head fcn has source 'd', but the stages are: a, b, c"),
        (spec("fcn", sources=("b", "c")), "Name them from coarse to fine"),
        (spec("lraspp", low="zz"), "has low 'zz'"),
        (spec("unpool_decoder", 4, 2, sources=("b",)), "1 sources and 2 widths"),
        (spec("unpool_decoder", 4, sources=("a",)), "puts 5x6 pixels back into 'a', which has 17x24"),
    ],
)
def test_a_head_that_does_not_fit_is_an_error_that_says_so(of: ArchSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(of)
