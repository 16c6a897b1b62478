"""Write docs/zoo.md: every architecture of the zoo with its counted and its published figures.

python tools/zoo_page.py            # write
python tools/zoo_page.py --check    # exit 1 where docs/zoo.md is not what the specs say
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from flyweight.device import device_names, get_device
from flyweight.field import Field, receptive_fields
from flyweight.placement import place
from flyweight.profile import Profile, profile_spec
from flyweight.zoo import ZOO, ZooEntry

PAGE = Path(__file__).resolve().parent.parent / "docs" / "zoo.md"
MISSING = "–"
COLUMNS = ("architecture", "input", "params", "MACs", "peak MB", "field px", "top-1 %", "runs natively on", "source")
SHORT = MappingProxyType(  # device -> its name in the narrow column; one that is missing here has its own
    {
        "amd_dpu": "DPU", "coreml_ane": "ANE", "edge_tpu": "TPU", "ethos_u": "Ethos", "hexagon_htp": "HTP",
        "onnxruntime": "ORT", "rknn": "RKNN", "stm32n6": "N6", "tflite": "TFLite", "tflite_micro": "TFLM",
    }
)  # fmt: skip
HEAD = """# The zoo

<!-- written by tools/zoo_page.py -->

{count} architectures, a file a family, each a spec that `flyweight show NAME` prints and that can be edited:
`flyweight new my_net.toml --from NAME`. They come without weights; how to bring some: [weights.md](weights.md).
How to add an architecture: [add-an-architecture.md](add-an-architecture.md).

Counted by Flyweight at the input given, batch 1: parameters, MACs (multiply-accumulates of convolutions and
fully connected layers), the peak of live activations in MB (10⁶ bytes, float32), and the receptive field of the
last stage in pixels (*all*: the whole image, as behind squeeze-and-excitation). Where an exact count was
published (*p*), the tests hold the count equal to it. Top-1 accuracy on ImageNet is what the source says of its
own weights; it was not measured here.

*Runs natively on*: the devices that run every layer themselves by their published rules, of
{devices}. Rules, sources and how far to trust them: [targets.md](targets.md).
"""


def main(arguments: Sequence[str]) -> int:
    """Write or check."""
    wanted = page()
    if "--check" in arguments:
        fresh = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        if not fresh:
            print("stale: docs/zoo.md. Run: python tools/zoo_page.py")
        return 0 if fresh else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def page() -> str:
    """Return the whole page."""
    return "\n".join([head(), *map(section, zoo_files())])


def zoo_files() -> tuple[str, ...]:
    """Return the modules of Flyweight's own zoo."""
    return tuple(file for file in ZOO.files if file.startswith(f"{ZOO.package}."))


def head() -> str:
    """Return what stands before the first family."""
    devices = ", ".join(f"{short(name)} (`{name}`)" if name in SHORT else f"`{name}`" for name in device_names())
    return HEAD.format(count=sum(len(members_of(file)) for file in zoo_files()), devices=devices)


def members_of(file: str) -> dict[str, ZooEntry]:
    """Return the members of one file, in its order."""
    return {name: ZOO.members[name] for name, origin in ZOO.origins.items() if origin == file}


def section(file: str) -> str:
    """Return the section of one family: heading, the file's first line, table, sources, notes."""
    members = members_of(file)
    about = (importlib.import_module(file).__doc__ or "").strip().splitlines()[0]
    sources = list(dict.fromkeys(source for entry in members.values() for source in sources_of(entry)))
    marks = {source: chr(ord("a") + index) for index, source in enumerate(sources)}
    return "\n".join(
        [
            heading(file), "", about, "",
            f"| {' | '.join(COLUMNS)} |",
            "|---|---|" + "--:|" * 5 + "---|---|",
            *(row(name, entry, marks) for name, entry in members.items()),
            "",
            *(f"- {mark}: {source}" for source, mark in marks.items()),
            *notes(members.items()),
            "",
        ]
    )  # fmt: skip


def heading(file: str) -> str:
    """Return the heading of one family."""
    return f"## {file.rpartition('.')[2]}"


def row(name: str, entry: ZooEntry, marks: dict[str, str]) -> str:
    """Return one line of the table; ``marks``: from source to its letter."""
    size, found = entry.spec.input, figures(entry)
    cells = [
        f"`{name}`",
        f"{size.height}x{size.width}",
        f"{found.params:,}" + (" p" if entry.params is not None else ""),
        f"{found.macs:,}" + (" p" if entry.macs is not None else ""),
        f"{found.peak_bytes / 1e6:,.2f}",
        field_text(found.field),
        MISSING if entry.top1 is None else f"{entry.top1:.1f}",
        targets_text(found.targets),
        ", ".join(marks[source] for source in sources_of(entry)),
    ]
    return f"| {' | '.join(cells)} |"


def sources_of(entry: ZooEntry) -> list[str]:
    """Return where definition and figures come from, then, if it is another place, the accuracy."""
    return [entry.source, *([f"{entry.top1_source} (top-1)"] if entry.top1_source else [])]


def notes(members: Iterable[tuple[str, ZooEntry]]) -> list[str]:
    """Return a line for every note, and for what a published count rests on; of several members with the same, one."""
    of: dict[str, list[str]] = {}
    for name, entry in members:
        basis = f"parameters {entry.params_basis}" if entry.params_basis else ""
        for text in filter(None, (entry.note, basis)):
            of.setdefault(text.rstrip("."), []).append(f"`{name}`")
    return [f"- {', '.join(names)}: {text}." for text, names in of.items()]


@dataclass(frozen=True)
class Figures:
    """What is counted of an architecture."""

    params: int
    macs: int
    peak_bytes: int
    field: Field | None
    targets: tuple[str, ...]


def figures(entry: ZooEntry) -> Figures:
    """Count one architecture; no weights are made.

    Raises:
        UnknownOperatorError: an operator has no formula, so that the sums would be too small.
    """
    found = profile_spec(entry.spec, strict=True)
    last = last_field(found, entry.spec.stages[-1].name)
    targets = tuple(name for name in device_names() if place(found.graph, get_device(name)).wholly_native)
    return Figures(found.params, found.macs, found.peak_activation_bytes, last, targets)


def last_field(found: Profile, stage: str) -> Field | None:
    """Return what the last stage's output sees of the input."""
    inside = f"encoder.{stage}"
    last = [node for node in found.graph.nodes if node.module == inside or node.module.startswith(f"{inside}.")][-1]
    return receptive_fields(found.graph)[last.outputs[0]]


def targets_text(targets: Sequence[str]) -> str:
    """Return the devices that run it, or, where those are most, the ones that don't."""
    missing = [name for name in device_names() if name not in targets]
    if not missing:
        return "all"
    few = len(missing) >= len(targets)
    return f"{'' if few else 'all but '}{', '.join(map(short, targets if few else missing))}" or MISSING


def short(device: str) -> str:
    """Return a device's name as the column has it."""
    return SHORT.get(device, device)


def field_text(field: Field | None) -> str:
    """Return the size of a field in pixels, 'all' where it is the whole image."""
    if field is None:
        return MISSING
    if all(field.whole):
        return "all"
    return str(field.size_px[0]) if len(set(field.size_px)) == 1 else "x".join(map(str, field.size_px))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
