"""ProxylessNAS, the network found for a phone's processor.

Source: Cai et al. 2018 (arXiv 1812.00332), figure 4; definition from mit-han-lab/tinyml mcunet/assets/configs/
proxyless_mobile.json: symmetric padding, ReLU6, batch norm with epsilon 1e-3 and momentum 0.1.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import coded, conv

_SOURCE = "arXiv 1812.00332; mit-han-lab/tinyml mcunet/assets/configs/proxyless_mobile.json"
_BLOCKS = (
    "k3s1e1:16 k5s2e3:32 k3s1e3:32 k7s2e3:40 k3s1e3:40 k5s1e3:40 k5s1e3:40 k7s2e6:80 k5s1e3:80 k5s1e3:80 k5s1e3:80 "
    "k5s1e6:96 k5s1e3:96 k5s1e3:96 k5s1e3:96 k7s2e6:192 k7s1e6:192 k7s1e3:192 k7s1e3:192 k7s1e6:320"
)


def proxylessnas_mobile() -> ArchSpec:
    """Return the classification network at 224 pixels."""
    return ArchSpec(
        name="proxylessnas_mobile",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=(conv("stem", 32, 2), *coded(_BLOCKS), conv("last", 1280, kernel=1)),
        head=HeadSpec("pool_classifier"),
        norm_eps=1e-3,
    )


MEMBERS = {
    "proxylessnas_mobile": ZooEntry(
        proxylessnas_mobile(), _SOURCE, 4_080_512, 320_427_584, 74.6, top1_source="mit-han-lab/proxylessnas README.md"
    )
}
