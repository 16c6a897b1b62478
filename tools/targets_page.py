"""Write docs/targets.md: the devices that Flyweight knows, their rules and the sources of each.

python tools/targets_page.py            # write
python tools/targets_page.py --check    # exit 1 where docs/targets.md is not what the files say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from flyweight.cli._targets import device_facts, mark, ops_text, rule_text
from flyweight.device import TIERS, Device, device_names, get_device, get_tier

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "targets.md"
RESULTS = tuple(f"{ROOT}/benchmarks/results/targets{of}.json" for of in ("", "_ncnn", "_onnxruntime"))
HEAD = """# Will it run there

<!-- written by tools/targets_page.py -->

```console
$ flyweight targets mobilenet_v3_small_1.0
$ flyweight targets mobilenet_v3_small_1.0 --target edge_tpu
$ flyweight list architectures --target stm32n6 --max-macs 100M
```

Each device below is a file of rules, `src/flyweight/devices/NAME.toml`; every rule has its source. A network's layers
are judged one by one, before training, without the vendor's tools:

- **native**: the device runs the layer itself;
- **fallback**: the layer goes to the processor beside it, and the network is cut there: the maps at the border travel
  to the other side and back. How many parts that makes, and where, is shown;
- **rejected**: the network is refused;
- **unknown**: no rule speaks of it. It is never taken for native.

The rules are the published ones: *eligible is not yet placed*. The vendor's compiler has the last word, and says more
(memory, schedules, numbers). Where the word is a community's or a measurement, not the vendor's, that is said.

What is judged is the network as an exporter leaves it: norms are folded into the convolutions before them, and an
operator that a format has no name for is taken apart (a swish is a sigmoid and a product).

From Python:

```python
from flyweight.device import get_device
from flyweight.placement import place
from flyweight.profile import profile_spec
from flyweight.zoo import ZOO

placed = place(profile_spec(ZOO.get("mobilenet_v3_small_1.0").spec).graph, get_device("edge_tpu"))
layer = placed.having("fallback")[0]
print(layer.node.module, layer.reason, layer.fix)
```

## A device of your own

A file like those, anywhere: `flyweight targets MODEL --target my_npu.toml`. What isn't understood in it is an error
that names the entry. Limits speak of traits of an operator (`src/flyweight/traits.py`): kernel, stride, dilation,
groups, channels, padding, scale of a resize, number of inputs, dimensions.

```toml
title = "My NPU"
kind = "accelerator"
precisions = ["int8"]
fallback = "the Cortex-A53"
channel_multiple = 8
channel_source = "sheet"

[sources.sheet]
text = "My NPU, data sheet 1.2, table 4"
by = "vendor"

[[rule]]
ops = ["conv/dense", "conv/depthwise"]
limits = { kernel = { max = 7 }, stride = { max = 2 } }
source = "sheet"

[[rule]]
ops = ["relu", "relu6", "add", "max_pool", "adaptive_avg_pool/global", "flatten", "linear"]
source = "sheet"
```
"""
AGREEMENT_HEAD = """## Held against the compilers

`python -m benchmarks.targets` gives the real compiler, or converter and runtime, the same networks and compares.
*Networks*: every operator of two small members of each family of the zoo. *Limits*: single operators around the
published limits, by which some rules were mended. *Drawn*: single operators with settings by chance, after the rules
were written. Measured {date}; what has no rule (*unknown*), and what the format has no form for, is
not compared. Some disagreements have been mended since: the tables of the devices say what holds now.

| target | asked | of what | compared | run there in truth | agree |
|---|---|---|--:|--:|--:|"""
ASKED = MappingProxyType(
    {
        "ethos_u": "the compiler, ethos-u-vela {vela}: on the device or on the CPU",
        "ncnn": "pnnx, ncnn {ncnn}: converts, loads, computes what PyTorch does",
        "onnxruntime": "torch's exporter, ONNX Runtime {onnxruntime}: exports, loads, computes what PyTorch does",
    }
)
OUTCOMES = MappingProxyType({"native": "runs", "fallback": "is left to the CPU", "rejected": "fails"})
TIERS_HEAD = """## Tiers

What networks for hardware of each size should use, from a microcontroller to a small GPU, as rules of the same kind:
`flyweight list architectures --tier 2`. Recommendations of practice, not limits of a chip.
"""


def main(arguments: Sequence[str]) -> int:
    """Write or check."""
    wanted = page()
    if "--check" in arguments:
        fresh = PAGE.exists() and PAGE.read_text(encoding="utf-8") == wanted
        if not fresh:
            print("stale: docs/targets.md. Run: python tools/targets_page.py")
        return 0 if fresh else 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


def page() -> str:
    """Return the whole page."""
    devices = [get_device(name) for name in device_names()]
    return "\n".join([HEAD, overview(devices), *agreement(), *map(section, devices), TIERS_HEAD, *map(tier, TIERS)])


def overview(devices: Sequence[Device]) -> str:
    """Return the table of all devices."""
    lines = ["## Devices", "", "| target | | computes in | channels at a time | tier | an operator without a rule |"]
    lines.append("|---|---|---|--:|--:|---|")
    for device in devices:
        at_once = str(device.channel_multiple) if device.channel_multiple > 1 else "–"
        cells = [f"`{device.name}`", device.title, ", ".join(device.precisions), at_once, str(device.tier or "–")]
        lines.append(f"| {' | '.join([*cells, device.unlisted])} |")
    return "\n".join([*lines, ""])


def agreement() -> list[str]:
    """Return how often the verdicts are those of the real compilers, and every case where they aren't."""
    results = [json.loads(Path(file).read_text(encoding="utf-8")) for file in RESULTS if Path(file).exists()]
    rows: list[str] = []
    wrong: list[str] = []
    for result in results:
        versions = {"vela": result["vela"], **result["environment"]["packages"]}
        for name, part in result["parts"].items():
            target, _, what = name.partition(", ")
            asked = ASKED[target].format_map(versions)
            share = f"{part['agree']} ({100 * part['agree'] / part['compared']:.2f} %)"
            run = sum(count for pair, count in part["verdicts"].items() if pair.endswith(", and native"))
            rows.append(f"| `{target}` | {asked} | {what} | {part['compared']} | {run} | {share} |")
            wrong += [disagreement(target, row) for row in part["disagreements"]]
    if not rows:
        return []
    head = AGREEMENT_HEAD.format(date=results[0]["date"][:10])
    said = ["", "Where they disagreed:", "", *dict.fromkeys(wrong)] if wrong else []
    return ["\n".join([head, *rows, *said, ""])]


def disagreement(target: str, row: Mapping[str, str]) -> str:
    """Return one case in which a verdict was not what happened."""
    why = row["why_theirs"].partition(";")[0].replace("|", "/").replace("`", "'")
    told = f": {why[:160]}" if why else ""
    where = row["operator"].rpartition("/")[2]
    ours, theirs = OUTCOMES[row["ours"]], OUTCOMES[row["theirs"]]
    return f"- `{target}`, {row['case']} ({where}): by the rules it {ours}, in truth it {theirs}{told}"


def section(device: Device) -> str:
    """Return what is known of one device."""
    facts = [line.removeprefix("caveat: ").rstrip(".") for line in device_facts(device)]
    told = ". ".join(f"{line[0].upper()}{line[1:]}" for line in facts)
    memory = f" Memory: {device.memory.source.text} [{mark(device, device.memory.source)}]." if device.memory else ""
    sources = [
        f"- {key} ({source.by}): {source.text}" + (f", <{source.url}>" if source.url else "")
        for key, source in device.sources.items()
    ]
    about = f"{device.title}. {told}.{memory}"
    return "\n".join([f"### {device.name}", "", about, "", *table(device), "", *sources, ""])


def table(device: Device) -> list[str]:
    """Return a device's rules as a table."""
    rows = [
        f"| {ops_text(rule.ops, rule.forms)} | {rule_text(rule)} | {mark(device, rule.source)} |"
        for rule in device.rules
    ]
    return ["| operators | rule | source |", "|---|---|---|", *rows]


def tier(number: int) -> str:
    """Return the rules of one tier."""
    rules = get_tier(number)
    caveat = f" {rules.caveat}" if rules.caveat else ""
    return "\n".join(
        [f"### Tier {number}", "", f"{rules.title[0].upper()}{rules.title[1:]}.{caveat}", "", *table(rules), ""]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
