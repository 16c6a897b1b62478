"""What every architecture of the zoo must keep."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from flyweight.boxes import EXTRA_COLUMNS
from flyweight.build import box_code, build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec
from flyweight.testing._networks import PIXELS, weights_digest
from flyweight.zoo import ZooEntry


class ZooContract:
    """Parametrize ``entry`` with zoo entries."""

    @pytest.fixture
    def pixels(self, entry: ZooEntry) -> int:
        """Side of the input that the network is run at: small, to be fast, but large enough for all its windows."""
        return _enough_pixels(entry.spec)

    def test_spec_is_read_back_equal_from_json(self, entry: ZooEntry) -> None:
        """JSON is the spec's written form."""
        assert ArchSpec.loads(entry.spec.dumps()) == entry.spec

    def test_source_is_stated(self, entry: ZooEntry) -> None:
        """The definition comes from a paper or a repository that is named."""
        assert entry.source.strip()

    def test_parameters_are_the_published_ones(self, entry: ZooEntry) -> None:
        """The network as built has as many trainable parameters as its source says."""
        with torch.device("meta"):
            network = build(entry.spec)
        count = sum(parameter.numel() for parameter in network.parameters())
        assert count > 0
        assert entry.params is None or count == entry.params

    def test_macs_are_the_published_ones(self, entry: ZooEntry) -> None:
        """The counted MACs at the spec's input are those that its source says."""
        from flyweight.profile import profile_module

        size = entry.spec.input
        with torch.device("meta"):  # no weights are needed, and some networks have many
            example = torch.zeros(1, size.channels, size.height, size.width)
            macs = profile_module(build(entry.spec), example).macs
        assert macs > 0
        assert entry.macs is None or macs == entry.macs

    def test_forward_gives_finite_outputs_per_class(self, entry: ZooEntry, pixels: int) -> None:
        """A batch of two gives ``(2, classes)``, to segment ``(2, classes, h, w)``, to detect a row per anchor."""
        spec = _sized(entry.spec, pixels)
        with torch.no_grad():
            out = build(spec)(_images(spec, pixels))
        if spec.task == "detect":
            assert out.shape == (2, len(box_code(spec)), EXTRA_COLUMNS + spec.classes)
        else:
            assert out.shape[:2] == (2, spec.classes)
            assert out.dim() == (4 if spec.task == "segment" else 2)
        assert torch.isfinite(out).all()

    def test_every_parameter_gets_a_gradient(self, entry: ZooEntry, pixels: int) -> None:
        """Nothing in the network is cut off from its output."""
        network = build(_sized(entry.spec, pixels)).train()
        network(_images(entry.spec, pixels)).square().mean().backward()
        without = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
        assert without == []

    def test_same_seed_gives_the_same_weights(self, entry: ZooEntry, pixels: int) -> None:
        """``build`` depends on nothing but spec and seed."""
        spec = _sized(entry.spec, pixels)
        first = weights_digest(build(spec, seed=5))
        torch.rand(3)
        assert weights_digest(build(spec, seed=5)) == first
        assert weights_digest(build(spec, seed=6)) != first


def _enough_pixels(spec: ArchSpec) -> int:
    """Return the smallest of 64, 96, 128 … pixels at which every stage has an output; at most the spec's own."""
    for pixels in range(PIXELS, min(spec.input.height, spec.input.width), PIXELS // 2):
        with suppress(SpecError):
            feature_maps(_sized(spec, pixels))
            return pixels
    return min(spec.input.height, spec.input.width)


def _sized(spec: ArchSpec, pixels: int) -> ArchSpec:
    """Return the spec at an input of ``pixels`` squared; a classifier's hidden layers have at most 512 channels.

    VGG's have more than a hundred million weights: two gigabytes and half a minute for nothing that 512 don't show.
    """
    widths = tuple(min(width, 512) if spec.task == "classify" else width for width in spec.head.widths)
    size = replace(spec.input, height=pixels, width=pixels)
    return spec.replace(input=size, head=spec.head.replace(widths=widths))


def _images(spec: ArchSpec, pixels: int) -> torch.Tensor:
    return torch.randn(2, spec.input.channels, pixels, pixels, generator=torch.Generator().manual_seed(0))
