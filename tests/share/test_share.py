"""Weight sharing: k-means on a line, gradients summed by centroid, bits under a budget."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flyweight.codec import write_shared
from flyweight.errors import UsageError
from flyweight.share import STARTS, baked, bits_within, centroids, kmeans, share, shared, to_codec


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


@given(st.integers(0, 999), st.integers(1, 400), st.integers(1, 40), st.sampled_from(STARTS))
@settings(max_examples=80, deadline=None)
def test_every_value_has_its_nearest_centroid_and_each_is_the_mean_of_its_own(
    seed: int, size: int, count: int, start: str
) -> None:
    values = np.random.default_rng(seed).normal(size=size).astype(np.float32)
    book, which = kmeans(values, count, start, seed)  # type: ignore[arg-type]
    assert 1 <= len(book) <= count and (np.diff(book) > 0).all()
    distance = np.abs(values[:, None].astype(np.float64) - book[None].astype(np.float64))
    assert np.allclose(distance[np.arange(size), which], distance.min(1), atol=1e-6)
    if size > count:
        means = [values[which == i].mean(dtype=np.float64) for i in range(len(book)) if (which == i).any()]
        assert np.allclose(means, book, atol=1e-5)  # Lloyd's fixed point


def test_values_no_more_than_centroids_are_kept_exactly() -> None:
    values = np.array([3, -1, 3, 0.5], np.float32)
    book, which = kmeans(values, 7)
    assert book.tolist() == [-1, 0.5, 3] and (book[which] == values).all()


def test_the_three_beginnings_are_the_papers() -> None:
    values = np.sort(np.random.default_rng(0).normal(size=10_000)).astype(np.float32)
    errors = {s: np.square(book[which] - values).sum() for s in STARTS for book, which in [kmeans(values, 15, s)]}
    books = {s: kmeans(values, 15, s)[0] for s in STARTS}
    assert books["linear"][-1] >= books["density"][-1] > 2  # large weights are nearer to a centroid
    assert max(errors.values()) < 1.5 * min(errors.values())


def test_a_centroids_gradient_is_the_sum_of_its_weights_gradients() -> None:
    module = net()
    module[3].weight.data[:, ::3] = 0
    books = share(module, {"0.weight": 3, "3.weight": 2})
    plain = copy.deepcopy(module)
    for name, sharing in books.items():
        values = to_codec(sharing, 5).values()
        dict(plain.named_parameters())[name].data.copy_(torch.from_numpy(values))
    gathered = shared(copy.deepcopy(module), {n: (s.codes, s.book) for n, s in books.items()})
    images = torch.randn(5, 1, 8, 8)
    assert torch.equal(plain(images), gathered(images))
    for each in (plain, gathered):
        each(images).square().sum().backward()
    for index, name in ((0, "0.weight"), (3, "3.weight")):
        codes = books[name].codes.reshape(-1)
        gradient = plain[index].weight.grad.reshape(-1).numpy()
        summed = [gradient[codes == c].sum() for c in range(1, len(books[name].book) + 1)]
        found = gathered[index].parametrizations.weight.original.grad.numpy()
        assert np.allclose(found, summed, rtol=1e-4, atol=1e-5)


def test_a_shared_network_trains_on_with_its_few_values_and_its_zeros() -> None:
    module = net()
    module[3].weight.data[:, ::2] = 0
    books = share(module)
    assert {name: s.bits for name, s in books.items()} == {"0.weight": 8, "3.weight": 5}
    gathered = shared(module, {n: (s.codes, s.book) for n, s in books.items()})
    optimizer = torch.optim.SGD(gathered.parameters(), 0.05, momentum=0.9)
    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(gathered(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    trained = centroids(gathered)
    weight = baked(gathered)[3].weight.detach().numpy()
    assert (weight[:, ::2] == 0).all() and len(np.unique(weight[:, 1::2])) <= 31
    assert (to_codec(books["3.weight"], 5, trained["3.weight"]).values() == weight).all()
    assert not hasattr(gathered[3], "parametrizations") and copy.deepcopy(gathered)(images).shape == (8, 10)


def test_gradients_from_before_sharing_or_from_before_baking_do_not_stand_in_the_way() -> None:
    module = net()
    images = torch.randn(5, 1, 8, 8)
    module(images).square().sum().backward()
    books = share(module)
    shared(module, {n: (s.codes, s.book) for n, s in books.items()})
    module(images).square().sum().backward()
    baked(module)(images).square().sum().backward()
    assert module[3].weight.grad.shape == module[3].weight.shape


def test_bits_keep_to_their_budget_and_more_bytes_never_mean_more_error() -> None:
    module = net()
    errors = []
    for budget in (700, 1000, 1600):
        bits = bits_within(module, budget)
        made = share(module, bits)
        gaps = {"0.weight": 8, "3.weight": 5}
        assert sum(len(write_shared(n, to_codec(s, gaps[n]))) for n, s in made.items()) <= budget
        errors.append(sum(s.error / np.square(dict(module.named_parameters())[n].detach().numpy()).sum()
                          for n, s in made.items()))  # fmt: skip
    assert errors == sorted(errors, reverse=True)
    with pytest.raises(UsageError, match="with one bit"):
        bits_within(module, 20)


@pytest.mark.parametrize("call", [
    lambda: kmeans(np.array([np.nan], np.float32), 3), lambda: kmeans(np.zeros(0, np.float32), 3),
    lambda: kmeans(np.ones(3, np.float32), 3, "best"),  # type: ignore[arg-type]
    lambda: share(net(), {"0.weight": 9}), lambda: share(net(), {"nowhere": 5}),
    lambda: shared(net(), {"0.weight": (np.zeros((1, 1), np.uint8), np.zeros(1, np.float32))}),
])  # fmt: skip
def test_what_can_not_be_shared_is_told(call: object) -> None:
    with pytest.raises(UsageError):
        call()  # type: ignore[operator]
