"""MCUNet: networks found for microcontrollers, whose memory is counted in kilobytes.

Source: Lin et al. 2020 (arXiv 2007.10319); definitions from mit-han-lab/tinyml mcunet/assets/configs/*.json, figures
from mit-han-lab/mcunet README.md: symmetric padding, ReLU6, batch norm with epsilon 1e-5, and the last block pooled and
classified directly. The members ``int4`` were searched for 4-bit weights; their published accuracy is at 4 bits.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import coded, conv

_SOURCE = "arXiv 2007.10319; mit-han-lab/tinyml mcunet/assets/configs; mit-han-lab/mcunet README.md"

# resolution in pixels, width of the stem, blocks
_NETWORKS = {
    "in0": (
        48,
        24,
        "k3s1e1:16 k5s2e4:16 k3s1e3:16 k3s1e4:16 k7s2e5:24 k5s1e4:24 k5s1e5:24 k7s2e5:48 k5s1e4:48 k3s1e5:56 "
        "k5s1e4:56 k3s1e5:56 k3s2e6:112 k5s1e4:112 k3s1e6:192",
    ),
    "in1": (
        96,
        16,
        "k3s1e1:8 k3s2e4:16 k3s1e3:16 k7s2e3:24 k3s1e5:24 k3s2e5:40 k7s1e4:40 k5s1e4:48 k3s1e3:48 k3s1e4:48 "
        "k7s2e5:96 k5s1e4:96 k5s1e4:96 k3s1e6:160",
    ),
    "in2": (
        160,
        16,
        "k3s1e1:8 k5s2e3:16 k7s1e6:16 k3s1e5:16 k5s1e5:16 k3s2e5:24 k7s1e6:24 k5s1e6:24 k7s2e4:40 k5s1e5:40 "
        "k3s1e5:48 k5s1e5:48 k3s1e4:48 k5s2e6:96 k5s1e4:96 k5s1e3:96 k3s1e4:96 k5s1e5:160",
    ),
    "in3": (
        176,
        16,
        "k3s1e1:8 k7s2e3:16 k3s1e5:16 k7s1e5:16 k5s1e4:16 k5s2e5:24 k5s1e5:24 k5s1e5:24 k3s2e5:40 k7s1e6:40 "
        "k5s1e4:40 k5s1e5:48 k7s1e5:48 k3s1e5:48 k3s2e6:96 k7s1e5:96 k3s1e4:96 k7s1e5:160",
    ),
    "in4": (
        160,
        32,
        "k3s1e1:16 k7s2e3:24 k3s1e5:24 k5s1e4:24 k7s2e5:40 k3s1e4:40 k7s1e4:40 k7s2e3:80 k3s1e3:80 k7s1e3:80 "
        "k3s1e4:96 k5s1e3:96 k5s1e3:96 k7s2e4:192 k7s1e3:192 k5s1e3:192 k5s1e4:320",
    ),
    "int4_256kb": (
        160,
        32,
        "k3s1e1:16 k7s2e3:24 k3s1e6:24 k5s1e5:24 k7s1e3:24 k7s2e5:40 k5s1e3:40 k7s1e4:40 k3s2e5:72 k7s1e4:72 "
        "k5s1e6:88 k5s1e4:88 k7s1e3:88 k3s2e5:176 k5s1e4:176 k5s1e4:288",
    ),
    "int4_320kb": (
        176,
        32,
        "k3s1e1:16 k7s2e3:24 k5s1e6:24 k5s1e6:24 k7s2e4:40 k3s1e4:40 k7s1e4:40 k5s1e4:40 k7s2e4:72 k7s1e6:72 "
        "k5s1e4:72 k5s1e3:88 k5s1e3:88 k7s1e4:88 k3s2e5:176 k3s1e3:176 k7s1e4:288",
    ),
    "int4_512kb": (
        192,
        48,
        "k3s1e1:24 k7s2e3:40 k3s1e5:40 k3s1e5:40 k3s1e5:40 k5s2e6:64 k7s1e4:64 k5s1e5:64 k7s2e5:120 k7s1e4:120 "
        "k3s1e4:120 k5s1e4:144 k3s1e4:144 k7s1e3:144 k3s2e5:288 k7s1e3:288 k5s1e4:480",
    ),
}


def mcunet(member: str) -> ArchSpec:
    """Return the classification network called 'in0' to 'in4', or 'int4_256kb', 'int4_320kb', 'int4_512kb'."""
    resolution, stem, blocks = _NETWORKS[member]
    return ArchSpec(
        name=f"mcunet_{member}",
        task="classify",
        input=InputSpec(resolution, resolution),
        classes=1000,
        stages=(conv("stem", stem, 2), *coded(blocks)),
        head=HeadSpec("pool_classifier"),
    )


_INT4 = "Its published accuracy is that of 4-bit weights; none at full precision is published."
_ENTRIES = (
    ZooEntry(mcunet("in0"), _SOURCE, 749_840, 6_364_224, 41.5),
    ZooEntry(mcunet("in1"), _SOURCE, 636_232, 12_790_096, 51.5),
    ZooEntry(mcunet("in2"), _SOURCE, 729_392, 67_287_200, 60.9),
    ZooEntry(mcunet("in3"), _SOURCE, 737_408, 81_785_520, 62.2),
    ZooEntry(mcunet("in4"), _SOURCE, 1_732_640, 125_874_400, 68.4),
    ZooEntry(mcunet("int4_256kb"), _SOURCE, 1_404_688, 134_492_600, note=f"{_INT4} 62.0 % top-1."),
    ZooEntry(mcunet("int4_320kb"), _SOURCE, 1_400_448, 169_952_528, note=f"{_INT4} 63.5 % top-1."),
    ZooEntry(mcunet("int4_512kb"), _SOURCE, 3_262_488, 466_767_552, note=f"{_INT4} 70.7 % top-1."),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
