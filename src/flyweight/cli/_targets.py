"""What ``flyweight targets`` prints: devices, one network on all of them, and its layers on one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flyweight.cli._tables import print_table, say

if TYPE_CHECKING:
    from flyweight.device import Device, Source
    from flyweight.placement import Layer, Placement, Segment

MOST_MODULES = 3  # of a group of layers, named
ORDER = ("rejected", "fallback", "unknown")


def placements(
    model: str,
    resolution: int | None,
    classes: int | None,
    names: Sequence[str] | None,
    precision: str | None,
) -> list[Placement]:
    """Return a network on the devices named, or on all; with a precision, on those that compute in it.

    Raises:
        UsageError: no such device, or it doesn't compute in that precision.
    """
    from flyweight import flow
    from flyweight.device import device_names, get_device
    from flyweight.placement import place

    devices = [get_device(name) for name in names or device_names()]
    if names is None and precision is not None:
        devices = [device for device in devices if precision in device.precisions]
    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    graph = flow.profile_model(candidate, model, timed=False).graph
    return [place(graph, device, precision) for device in devices]


# ---- devices -------------------------------------------------------------------------------------------------------


def print_devices(names: Sequence[str] | None) -> None:
    """Print the devices, or with a name all that is known of one."""
    from flyweight.device import device_names, get_device

    devices = [get_device(name) for name in names or device_names()]
    if names:
        _print_device(devices[0])
        return
    rows = [(d.name, d.title, "/".join(d.precisions), str(len(d.rules)), str(d.tier or "–")) for d in devices]
    print_table(("target", "", "computes in", "rules", "tier"), rows, left=3)
    say()
    say("What runs where: flyweight targets MODEL. Rules and their sources: flyweight targets --target NAME.")


def _print_device(device: Device) -> None:
    say(f"{device.name}: {device.title}, {device.kind}, computes in {' or '.join(device.precisions)}")
    for line in device_facts(device):
        say(line)
    say()
    rows = [(ops_text(rule.ops, rule.forms), rule_text(rule), mark(device, rule.source)) for rule in device.rules]
    print_table(("operators", "rule", "source"), rows, left=3)
    say()
    for source in device.sources.values():
        say(f"[{mark(device, source)}] {source.text} ({source.by}){': ' + source.url if source.url else ''}")


def device_facts(device: Device) -> Iterator[str]:
    """Yield what holds for a device as a whole, a line each."""
    yield f"an operator without a rule: {device.unlisted}"
    yield f"what it doesn't run goes to: {device.fallback}" if device.fallback else "what it doesn't run is refused"
    if device.partitions:
        yield f"takes {device.partitions} part of a network; what is behind a cut goes beside"
    if device.channel_multiple > 1:
        yield f"computes {device.channel_multiple} channels at a time"
    if device.caveat:
        yield f"caveat: {device.caveat}"


def rule_text(rule: Any) -> str:
    """Return a rule in words."""
    when = "; ".join(f"{_word(limit.trait)} {limit}" for limit in rule.when)
    limits = "; ".join(f"{_word(limit.trait)} {limit}" for limit in rule.limits)
    at = f"at {'/'.join(rule.precisions)}: " if rule.precisions else ""
    verdict = f"{rule.verdict} if {limits}, else {rule.otherwise}" if limits else rule.verdict
    return f"{at}{f'where {when}: ' if when else ''}{verdict}{f' ({rule.note})' if rule.note else ''}"


def _word(trait: str) -> str:
    return trait.replace("_", " ")


def ops_text(ops: frozenset[str], forms: frozenset[tuple[str, str]]) -> str:
    """Return the operators of a rule in words."""
    from flyweight.device import KNOWN_OPS

    if ops == KNOWN_OPS:
        return "every operator"
    return ", ".join(sorted([*ops, *("/".join(pair) for pair in forms)]))


def mark(device: Device, source: Source | None) -> str:
    """Return the key by which a device's file cites a source."""
    return next((key for key, value in device.sources.items() if value == source), "")


# ---- one network on all devices ------------------------------------------------------------------------------------


def print_all(model: str, found: Sequence[Placement]) -> None:
    """Print one line per device."""
    say(f"{model}: where its layers run, by published rules; eligible is not yet placed")
    say()
    rows = [
        (p.device.name, p.precision, answer(p), str(len(p.segments)), _share(p.native_macs, p.macs), _against(p))
        for p in found
    ]
    print_table(("target", "as", "natively", "parts", "MACs %", "in the way"), rows, left=3, last_is_text=True)
    say()
    say("Layers, reasons and what mends them: add --target NAME.")


def answer(placement: Placement) -> str:
    """Return in a word or two whether a network runs."""
    if placement.wholly_native:
        return "yes"
    if placement.refused:
        return "refused"
    layers = [layer for layer in placement.layers if not layer.silent]
    return f"{len(placement.having('native'))} of {len(layers)} layers"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "–"


def _against(placement: Placement) -> str:
    groups = _groups([layer for layer in placement.layers if not _is_behind(layer)])
    told = [f"{len(own)} {own[0].node.op}: {own[0].verdict}" for own in groups[:2]]
    return ", ".join(told) + (f" and {len(groups) - 2} more" if len(groups) > 2 else "")


# ---- one network on one device -------------------------------------------------------------------------------------


def print_one(model: str, placement: Placement, every: bool) -> None:
    """Print the verdict, the parts, and what doesn't run, with reasons and fixes."""
    device = placement.device
    say(f"{model} on {device.name} ({device.title}), {placement.precision}")
    say(_verdict(placement))
    for note in placement.notes:
        say(note)
    if placement.unaligned:
        say(_alignment(placement))
    if len(placement.segments) > 1 and not placement.refused:
        say()
        _print_segments(placement)
    groups = [[layer] for layer in _shown(placement.layers)] if every else _groups(placement.layers)
    if groups:
        say()
        rows = [_row(placement, own) for own in groups]
        print_table(("layers", "operator", "verdict", "why", "what mends it"), rows, left=5)
    cited = dict.fromkeys(own[0].source for own in groups if own[0].source)
    if cited:
        say()
    for source in cited:
        say(f"[{mark(device, source)}] {source.text} ({source.by}){': ' + source.url if source.url else ''}")
    if device.caveat:
        say(f"caveat: {device.caveat}")


def _verdict(placement: Placement) -> str:
    counts = {verdict: len(placement.having(verdict)) for verdict in ("native", *ORDER)}  # type: ignore[arg-type]
    if placement.wholly_native:
        return f"runs natively: all {counts['native']} layers, in one part"
    if placement.refused:
        return f"refused: {counts['rejected']} of {sum(counts.values())} layers are rejected"
    words = {"fallback": f"fall back to {placement.device.fallback}", "unknown": "are unknown"}
    told = " and ".join(f"{counts[verdict]} {text}" for verdict, text in words.items() if counts[verdict])
    share = _share(placement.native_macs, placement.macs)
    return f"{told}, of {sum(counts.values())} layers; {share} % of the MACs run natively"


def _alignment(placement: Placement) -> str:
    multiple = placement.device.channel_multiple
    source = placement.device.channel_source
    times = placement.padded_macs / max(placement.macs, 1)
    return (
        f"counted: {len(placement.unaligned)} layers have channels that are no multiple of {multiple}: "
        f"{times:.2f} × the MACs after padding ({source.text if source else ''}); "
        f"`scale_width` factor=1 divisor={multiple} aligns them"
    )


def _print_segments(placement: Placement) -> None:
    own = f"{len(placement.segments)} parts"
    if placement.having("unknown"):
        own = f"up to {own}, unknown layers taken for cuts"
    say(f"{own}; at each border the maps between go to the other side")
    rows = [_segment_row(index, part, placement) for index, part in enumerate(placement.segments, 1)]
    shown = rows if len(rows) <= 12 else [*rows[:8], ("…", "", "", "", ""), *rows[-3:]]
    print_table(("part", "runs on", "first", "last", "layers"), shown, left=4)


def _segment_row(index: int, part: Segment, placement: Placement) -> tuple[str, ...]:
    first, last = (module or "(root)" for module in part.modules)
    where = placement.device.name if part.native else "beside it"
    return str(index), where, first, last, str(len(part.layers))


def _shown(layers: Sequence[Layer]) -> list[Layer]:
    return [layer for layer in layers if layer.verdict != "native" and not layer.silent]


def _groups(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Return the layers that aren't native by verdict, operator, reason and fix; the worst verdict first."""
    found: dict[tuple[str, ...], list[Layer]] = {}
    for layer in _shown(layers):
        op = "" if _is_behind(layer) else layer.node.op
        key = (layer.verdict, op, _kind_of(layer.reason), layer.fix)
        found.setdefault(key, []).append(layer)
    return sorted(found.values(), key=lambda own: (ORDER.index(own[0].verdict), _is_behind(own[0]), -len(own)))


def _is_behind(layer: Layer) -> bool:
    return layer.reason.startswith("behind the first cut")


def _kind_of(reason: str) -> str:
    """The reason without the value, so that layers which differ in it alone stand together."""
    head, there, rest = reason.partition("; there: ")
    return head.rsplit(" is ", 1)[0] + rest if there else reason


def _why(own: Sequence[Layer]) -> str:
    """The reason of a group: values that differ one after the other."""
    heads = list(dict.fromkeys(layer.reason.partition("; there: ")[0] for layer in own))
    _, there, rest = own[0].reason.partition("; there: ")
    values = [heads[0], *(head.rsplit(" is ", 1)[-1] for head in heads[1:4])]
    return ", ".join(values) + (" …" if len(heads) > 4 else "") + there + rest


def _row(placement: Placement, own: Sequence[Layer]) -> tuple[str, ...]:
    layer = own[0]
    modules = list(dict.fromkeys(one.node.module or "(root)" for one in own))
    names = ", ".join(modules[:MOST_MODULES]) + (f" … {len(own)} in all" if len(modules) > MOST_MODULES else "")
    ops = list(dict.fromkeys(one.node.op for one in own))
    operator = ops[0] if len(ops) == 1 else f"{len(ops)} operators"
    cited = mark(placement.device, layer.source)
    why = f"{_why(own)} [{cited}]" if cited else _why(own)
    return names, operator, layer.verdict, why, layer.fix or "–"


# ---- JSON and exit code --------------------------------------------------------------------------------------------


def as_json(placement: Placement) -> dict[str, Any]:
    """Return a placement as plain data: the verdict on every layer, and the parts."""
    return {
        "target": placement.device.name,
        "precision": placement.precision,
        "wholly_native": placement.wholly_native,
        "macs": placement.macs,
        "native_macs": placement.native_macs,
        "padded_macs": placement.padded_macs,
        "notes": list(placement.notes),
        "parts": [
            {"native": part.native, "layers": [layer.node.name for layer in part.layers]}
            for part in placement.segments
        ],
        "layers": [
            {
                "name": layer.node.name, "module": layer.node.module, "op": layer.node.op, "verdict": layer.verdict,
                "reason": layer.reason, "fix": layer.fix, "source": layer.source.text if layer.source else "",
            }
            for layer in placement.layers if not layer.silent
        ],
    }  # fmt: skip


def enforce(found: Sequence[Placement]) -> None:
    """Refuse what doesn't run natively.

    Raises:
        OverBudgetError: names the devices.
    """
    from flyweight.errors import OverBudgetError

    if short := [placement.device.name for placement in found if not placement.wholly_native]:
        raise OverBudgetError(f"not every layer runs natively on {', '.join(short)}.")
