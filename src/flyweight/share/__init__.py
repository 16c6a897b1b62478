"""Weight sharing: a layer's weights take few values, which train on by the sum of their weights' gradients."""

from flyweight.share._budget import LayerBits, bits_within
from flyweight.share._gather import Gather, baked, centroids, shared, shared_weights
from flyweight.share._kmeans import STARTS, Start, kmeans
from flyweight.share._network import CONV_BITS, FC_BITS, Sharing, default_bits, share, to_codec

__all__ = [
    "CONV_BITS", "FC_BITS", "STARTS", "Gather", "LayerBits", "Sharing", "Start", "baked", "bits_within", "centroids",
    "default_bits", "kmeans", "share", "shared", "shared_weights", "to_codec",
]  # fmt: skip
