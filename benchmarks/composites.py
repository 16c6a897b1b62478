"""Photographs cut out of their background, laid over seven kinds of background: images whose class and mask are known.

The cut-outs are those of the Debian package ``tuxpaint-stamps-default`` (GPL-2: fetch it, don't commit it)::

    apt-get download tuxpaint-stamps-default && dpkg -x tuxpaint-stamps-default*.deb DIR
    # the stamps: DIR/usr/share/tuxpaint/stamps

They are few and of their own kind: figures on them compare networks with one another, and are no estimate of
ImageNet's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture: TypeAlias = NDArray[np.uint8]
Ground: TypeAlias = Callable[
    [np.random.Generator, int], NDArray[np.float32]
]  # (rng, pixels) -> (pixels, pixels, 3), to 255


def _plain(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    return np.broadcast_to(rng.uniform(0, 255, 3).astype(np.float32), (pixels, pixels, 3))


def _white(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    return np.full((pixels, pixels, 3), 255, np.float32)


def _grey(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    return np.full((pixels, pixels, 3), 124, np.float32)


def _gradient(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    first, second = rng.uniform(0, 255, (2, 3))
    share = np.linspace(0, 1, pixels)[:, None, None]
    return np.broadcast_to((first * (1 - share) + second * share).astype(np.float32), (pixels, pixels, 3))


def _noise(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    return rng.uniform(0, 255, (pixels, pixels, 3)).astype(np.float32)


def _clouds(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    """Smooth noise of three sizes."""
    total = np.zeros((pixels, pixels, 3), np.float32)
    for cells, weight in ((3, 0.6), (8, 0.3), (24, 0.1)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += weight * np.asarray(coarse.resize((pixels, pixels), Image.Resampling.BICUBIC), np.float32)
    return total


def _horizon(rng: np.random.Generator, pixels: int) -> NDArray[np.float32]:
    """A bright sky over dull ground."""
    ground = np.empty((pixels, pixels, 3), np.float32)
    line = int(pixels * rng.uniform(0.4, 0.7))
    ground[:line] = rng.uniform((120, 160, 200), (200, 220, 255))
    ground[line:] = rng.uniform((60, 60, 20), (140, 140, 80)) + rng.normal(0, 12, (pixels - line, pixels, 3))
    return ground.clip(0, 255)


GROUNDS: Mapping[str, Ground] = {
    "white": _white, "grey": _grey, "plain": _plain, "gradient": _gradient, "noise": _noise, "clouds": _clouds,
    "horizon": _horizon,
}  # fmt: skip


def composite(stamp: Path, ground: str, pixels: int, seed: int = 0) -> tuple[Picture, Picture]:
    """Return an image ``(pixels, pixels, 3)`` with the stamp on a ground, and its mask: 1 where it covers half or more.

    Size (65 to 90 % of the longer side) and place are drawn by the stamp's name, the ground and the seed.
    """
    rng = np.random.default_rng((seed, zlib.crc32(f"{stamp.name} {ground}".encode())))
    with Image.open(stamp) as opened:
        cut = opened.convert("RGBA")
    if (box := cut.getchannel("A").getbbox()) is not None:
        cut = cut.crop(box)
    longest = pixels * rng.uniform(0.65, 0.9)
    width, height = (max(1, round(side * longest / max(cut.size))) for side in cut.size)
    colours, alpha = _shrunk(cut, width, height)
    left, top = (int(rng.integers(0, pixels - side + 1)) for side in (width, height))
    image, mask = GROUNDS[ground](rng, pixels).copy(), np.zeros((pixels, pixels), np.uint8)
    place = (slice(top, top + height), slice(left, left + width))
    image[place] = colours + image[place] * (1 - alpha)
    mask[place] = alpha[..., 0] >= 0.5
    return image.round().clip(0, 255).astype(np.uint8), mask


def _shrunk(cut: Image.Image, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return colours times opacity, and opacity from 0 to 1: what is transparent has no colour that could bleed in."""
    values = np.asarray(cut, np.float32)
    alpha = values[..., 3:] / 255
    layers = [*np.moveaxis(values[..., :3] * alpha, 2, 0), alpha[..., 0]]
    images = (Image.fromarray(layer).resize((width, height), Image.Resampling.BILINEAR) for layer in layers)
    resized = [np.asarray(image, np.float32) for image in images]
    return np.stack(resized[:3], axis=2), resized[3][..., None]
