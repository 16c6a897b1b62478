"""Energy counters of the processor's packages (RAPL), as Linux shows them; none where they can't be read.

Source: Linux kernel documentation, power/powercap/powercap.rst: ``energy_uj`` counts up and starts anew after
``max_energy_range_uj``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ZONES = Path("/sys/class/powercap")


def counters(zones: Path = ZONES) -> dict[str, tuple[int, int]]:
    """Return each package's counter and its range in µJ, by the zone's name; parts of a package are left out."""
    found = {}
    for zone in sorted(zones.glob("intel-rapl:*")):
        if zone.name.count(":") != 1:  # intel-rapl:0:1 is a part of intel-rapl:0
            continue
        try:
            texts = [(zone / name).read_text() for name in ("energy_uj", "max_energy_range_uj")]
            found[zone.name] = (int(texts[0]), int(texts[1]))
        except (OSError, ValueError):  # since 2020 only root may read it
            continue
    return found


def used_uj(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> int | None:
    """Return the energy between two readings in µJ, over all packages; None where there is no counter."""
    both = [(before[name][0], *after[name]) for name in before if name in after]
    return sum((end - start) % (largest + 1) for start, end, largest in both) if both else None
