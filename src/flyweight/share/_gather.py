"""A layer whose weight is gathered from centroids: their gradient is the sum of their weights' gradients.

Source: Han et al. 2016 (arXiv 1510.00149), section 3.3, equation 3. Zeros have no centroid, so they stay zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from flyweight.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PLACE = "parametrizations.weight.0."


class Gather(nn.Module):
    """From centroids ``(k,)`` to the weight: each at its places, zeros elsewhere.

    Args:
        codes: of the weight's shape; 0: zero, c: centroid ``c - 1``.
        book: the centroids at first ``(k,)``.
    """

    places: Tensor
    which: Tensor

    def __init__(self, codes: NDArray[np.uint8], book: NDArray[np.float32]) -> None:
        super().__init__()
        flat = codes.reshape(-1)
        places = np.flatnonzero(flat)
        self.shape = codes.shape
        self.book = book.astype(np.float32)
        self.register_buffer("places", torch.from_numpy(places))
        self.register_buffer("which", torch.from_numpy(flat[places].astype(np.int64) - 1))

    def forward(self, book: Tensor) -> Tensor:
        """Return the weight."""
        flat = book.new_zeros(int(np.prod(self.shape)))
        return flat.index_copy(0, self.places, book.index_select(0, self.which)).reshape(self.shape)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the centroids that are trained in the weight's place."""
        return torch.from_numpy(self.book).to(weight.dtype)

    def codes(self) -> NDArray[np.uint8]:
        """Return the codes again."""
        flat = np.zeros(int(np.prod(self.shape)), np.uint8)
        flat[self.places.numpy()] = self.which.numpy() + 1
        return flat.reshape(self.shape)


def shared(module: nn.Module, books: Mapping[str, tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> nn.Module:
    """Gather weights from centroids from now on, in place; return the module.

    Args:
        books: codes and centroids by the weight's name, as ``flyweight.share.share`` gives them.

    Raises:
        UsageError: there is no such weight, or codes of another shape.
    """
    layers = dict(module.named_modules())
    for name, (codes, book) in books.items():
        path, _, own = name.rpartition(".")
        layer = layers.get(path)
        if own != "weight" or layer is None or tuple(layer.weight.shape) != codes.shape:
            raise UsageError(f"codes of {codes.shape} for '{name}', but the network has no such weight.")
        layer.weight.grad = None  # the centroids take its place, and would take this gradient of another shape
        parametrize.register_parametrization(layer, "weight", Gather(codes, book), unsafe=True)
    return module


def shared_weights(module: nn.Module) -> Iterator[tuple[str, nn.Module, Gather]]:
    """Yield the name of every gathered weight, its layer, and what gathers it."""
    for path, layer in module.named_modules():
        if parametrize.is_parametrized(layer, "weight"):
            gather = layer.parametrizations.weight[0]
            if isinstance(gather, Gather):
                yield f"{path}.weight".lstrip("."), layer, gather


def centroids(module: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return the centroids as they are now, by the weight's name."""
    return {
        name: layer.parametrizations.weight.original.detach().numpy().copy()  # type: ignore[union-attr, operator]
        for name, layer, _ in shared_weights(module)
    }


def baked(module: nn.Module) -> nn.Module:
    """Make gathered weights plain ones, with the values that they have now, in place; return the module."""
    for _, layer, _ in list(shared_weights(module)):
        layer.parametrizations.weight.original.grad = None  # type: ignore[union-attr]
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
    return module
