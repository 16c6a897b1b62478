"""Xception.

Source: Chollet 2016 (arXiv 1610.02357), figure 5; Keras' applications/xception.py, of which Cadene's
pretrained-models.pytorch has a port: two stem convolutions without padding, then padding SAME; batch norm with epsilon
1e-3 and momentum 0.99; no bias but the classifier's.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry


def xception() -> ArchSpec:
    """Return the network at 299 pixels: entry flow, eight middle blocks, exit flow."""
    stem = settings(kernel=3, padding=0, activation="relu")
    entry = (
        StageSpec("conv1", "conv", 32, 2, stem),
        StageSpec("conv2", "conv", 64, 1, stem),
        StageSpec("block1", "xception_block", 128, 2, settings(first_activation=False)),
        StageSpec("block2", "xception_block", 256, 2),
        StageSpec("block3", "xception_block", 728, 2),
    )
    middle = tuple(StageSpec(f"block{index}", "xception_block", 728, 1, settings(layers=3)) for index in range(4, 12))
    exit_flow = (
        StageSpec("block12", "xception_block", 1024, 2, settings(widen_last=True)),
        StageSpec("conv3", "xception_separable", 1536),
        StageSpec("conv4", "xception_separable", 2048),
    )
    return ArchSpec(
        name="xception",
        task="classify",
        input=InputSpec(299, 299),
        classes=1000,
        stages=(*entry, *middle, *exit_flow),
        head=HeadSpec("pool_classifier"),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.01,
    )


MEMBERS = {
    "xception": ZooEntry(
        xception(),
        "arXiv 1610.02357; Keras applications/xception.py; Cadene pretrained-models.pytorch models/xception.py",
        params=22_855_952,
        params_basis="trainable; Keras' 22,910,480 has the 54,528 moving means and variances too",
        macs=8_357_403_496,
        top1=79.0,
        top1_source="keras.io applications table",
    )
}
