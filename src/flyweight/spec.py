"""An architecture as frozen, hashable data: no torch.

A network is an input, a chain of named stages (each a block from ``blocks/`` with a width and a stride), and a head.
Specs compare by value; ``replace`` is the only edit, and every knob (resolution, width, depth, decoder width, skips,
CReLU) is such an edit. JSON is the form that programs write; TOML holds the same, and is kinder to write by hand.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from flyweight.errors import SpecError

Value: TypeAlias = "bool | int | float | str | tuple[Value, ...]"
Settings: TypeAlias = tuple[tuple[str, Value], ...]
Task: TypeAlias = Literal["classify", "segment", "detect"]
Padding: TypeAlias = Literal["symmetric", "same"]
SPEC_VERSION = 1
MAX_CHANNELS = 65_536
MAX_PIXELS = 8_192
MAX_STAGES = 4_096
MAX_SETTING_DEPTH = 8
MAX_DOTS = 256  # in a line of TOML: tomllib takes memory by the square of a dotted key's parts
D = TypeVar("D")
V = TypeVar("V", bound="bool | int | float | str | tuple[Any, ...]")


def settings(**values: Value) -> Settings:
    """Return settings in their one canonical order, so that equal specs compare equal."""
    return tuple(sorted((name, _frozen(value)) for name, value in values.items()))


def _frozen(value: Any, depth: int = 0) -> Value:
    if depth > MAX_SETTING_DEPTH:
        raise SpecError(f"a setting's lists are nested deeper than {MAX_SETTING_DEPTH}.")
    if isinstance(value, list | tuple):
        return tuple(_frozen(item, depth + 1) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SpecError(f"setting {value!r} is not a finite number.")
    if isinstance(value, bool | int | float | str):
        return value
    raise SpecError(
        f"setting {value!r} is a {type(value).__name__}; allowed are bool, int, float, str and lists of them."
    )


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The network's input: channels, height and width in pixels."""

    height: int
    width: int
    channels: int = 3

    def __post_init__(self) -> None:
        for name, value, most in (("height", self.height, MAX_PIXELS), ("width", self.width, MAX_PIXELS)):
            _check_range("input", name, value, 1, most)
        _check_range("input", "channels", self.channels, 1, MAX_CHANNELS)


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One step of the chain: ``block`` names a member of ``blocks/``, ``settings`` are that block's own."""

    name: str
    block: str
    out_channels: int
    stride: int = 1
    settings: Settings = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise SpecError(
                f"stage '{self.name}': a stage's name must be letters, digits and underscores, e.g. conv4_1."
            )
        _check_range(f"stage '{self.name}'", "out_channels", self.out_channels, 1, MAX_CHANNELS)
        _check_range(f"stage '{self.name}'", "stride", self.stride, 1, 8)

    def setting(self, name: str, default: V) -> V:
        """Return one setting of the block, or ``default``, whose type it must have.

        Raises:
            SpecError: it has another type; names the stage.
        """
        return _setting(self.settings, name, default, f"stage '{self.name}'")

    def replace(self, **changes: Any) -> StageSpec:
        """Return a copy with ``changes``."""
        return _replace(self, changes)

    def with_settings(self, **values: Value) -> StageSpec:
        """Return a copy with some of the block's settings changed."""
        return self.replace(settings=settings(**{**dict(self.settings), **values}))


@dataclass(frozen=True, slots=True)
class SkipSpec:
    """A skip from the output of an encoder stage to the decoder stage that works at its resolution."""

    source: str  # the encoder stage's name
    target: int  # index of the decoder stage whose output it joins, from 0


@dataclass(frozen=True, slots=True)
class HeadSpec:
    """What stands behind the last stage.

    ``kind`` names a head in ``blocks/``: ``pool_classifier`` (global average pooling, fully connected) or
    ``deconv_decoder``
    (a transposed convolution of stride 2 per width, each with norm and ReLU, then a 1×1 convolution to the classes).
    """

    kind: str
    widths: tuple[int, ...] = ()
    skips: tuple[SkipSpec, ...] = ()
    skip_join: Literal["add", "concat"] = "add"
    settings: Settings = ()

    def __post_init__(self) -> None:
        for index, width in enumerate(self.widths):
            _check_range(f"head '{self.kind}', width {index}", "channels", width, 1, MAX_CHANNELS)
        if self.skip_join not in ("add", "concat"):
            raise SpecError(f"head '{self.kind}': skip_join is '{self.skip_join}'; allowed are add and concat.")
        for skip in self.skips:
            _check_range(f"skip from '{skip.source}'", "target", skip.target, 0, max(len(self.widths) - 1, 0))

    def setting(self, name: str, default: V) -> V:
        """Return one setting of the head, or ``default``, whose type it must have.

        Raises:
            SpecError: it has another type.
        """
        return _setting(self.settings, name, default, f"head '{self.kind}'")

    def with_settings(self, **values: Value) -> HeadSpec:
        """Return a copy with some of the head's settings changed."""
        return self.replace(settings=settings(**{**dict(self.settings), **values}))

    def replace(self, **changes: Any) -> HeadSpec:
        """Return a copy with ``changes``."""
        return _replace(self, changes)


@dataclass(frozen=True)
class ArchSpec:
    """A whole architecture.

    ``padding``: 'same' is TensorFlow's (a stride-2 convolution on an even size pads only bottom and right);
    'symmetric' is
    PyTorch's habit (k // 2 on every side). ``norm_eps`` is the epsilon of every batch norm, ``norm_momentum`` its
    momentum in PyTorch's sense (1 − decay). ``divisor``: channel counts that a width edit or an expansion makes are
    rounded to multiples of it, as the source of the architecture does (1: cut off to a whole number, at least 8).
    """

    name: str
    task: Task
    input: InputSpec
    classes: int
    stages: tuple[StageSpec, ...]
    head: HeadSpec
    padding: Padding = "symmetric"
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    divisor: int = 8

    def __post_init__(self) -> None:
        _check_range(f"spec '{self.name}'", "classes", self.classes, 1, MAX_CHANNELS)
        if self.task not in get_args(Task):
            raise SpecError(f"spec '{self.name}': task is '{self.task}'; allowed are {', '.join(get_args(Task))}.")
        if self.padding not in get_args(Padding):
            raise SpecError(
                f"spec '{self.name}': padding is '{self.padding}'; allowed are {', '.join(get_args(Padding))}."
            )
        for name, value in (("norm_eps", self.norm_eps), ("norm_momentum", self.norm_momentum)):
            if not 0 < value <= 1:  # NaN is refused too
                raise SpecError(f"spec '{self.name}': {name} is {value!r}; allowed are numbers above 0, at most 1.")
        _check_range(f"spec '{self.name}'", "divisor", self.divisor, 1, 256)
        if not 0 < len(self.stages) <= MAX_STAGES:
            raise SpecError(f"spec '{self.name}': {len(self.stages)} stages; it needs between 1 and {MAX_STAGES}.")
        names = [stage.name for stage in self.stages]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SpecError(f"spec '{self.name}': two stages are named '{twice[0]}'. Every stage needs its own name.")
        for skip in self.head.skips:
            if skip.source not in names:
                raise SpecError(
                    f"spec '{self.name}': a skip starts at stage '{skip.source}', which does not exist. "
                    f"Stages: {', '.join(names)}."
                )

    def replace(self, **changes: Any) -> ArchSpec:
        """Return a copy with ``changes``; the only way to edit a spec."""
        return _replace(self, changes)

    def stage(self, name: str) -> StageSpec:
        """Return the stage called ``name``.

        Raises:
            SpecError: there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise SpecError(f"spec '{self.name}' has no stage '{name}'. Stages: {', '.join(s.name for s in self.stages)}.")

    def stride_after(self, name: str) -> int:
        """Return the product of strides from the input to the output of stage ``name``."""
        total = 1
        self.stage(name)
        for stage in self.stages:
            total *= stage.stride
            if stage.name == name:
                break
        return total

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"spec_version": SPEC_VERSION, **_plain(self)}

    def dumps(self) -> str:
        """Return the spec as JSON text."""
        return json.dumps(self.to_json(), indent=1)

    @classmethod
    def from_json(cls, data: Any) -> ArchSpec:
        """Read what ``to_json`` wrote.

        Raises:
            SpecError: a field is missing, unknown or of the wrong type.
        """
        data = dict(_need(data, dict, "spec"))
        version = data.pop("spec_version", None)
        if version != SPEC_VERSION:
            raise SpecError(f"spec_version is {version!r}; this Flyweight reads {SPEC_VERSION}.")
        data["input"] = _record(InputSpec, data.get("input"), "input")
        data["stages"] = tuple(
            _record(StageSpec, _thaw(stage), f"stage {i}")
            for i, stage in enumerate(_need(data.get("stages"), list, "stages"))
        )
        head = dict(_need(data.get("head"), dict, "head"))
        head["widths"] = tuple(_need(head.get("widths", []), list, "head.widths"))
        head["skips"] = tuple(_record(SkipSpec, s, "skip") for s in _need(head.get("skips", []), list, "head.skips"))
        data["head"] = _record(HeadSpec, _thaw(head), "head")
        return _record(cls, data, "spec")

    @classmethod
    def loads(cls, text: str) -> ArchSpec:
        """Read JSON text.

        Raises:
            SpecError: not JSON, or not a spec.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: also a number of more digits than Python reads
            raise SpecError(f"the spec is not JSON: {error}.") from error
        return cls.from_json(data)

    def dumps_toml(self) -> str:
        """Return the spec as TOML text: a line for each stage, and fields of the head only where not at their default.

        What ``to_json`` gives, in another notation.
        """
        plain = self.to_json()
        input_, stages, head = (plain.pop(name) for name in ("input", "stages", "head"))
        lines = [f"{name} = {toml_value(value)}" for name, value in plain.items()]
        lines += [f"input = {toml_value(input_)}", "", "stages = [", *_toml_rows(stages), "]", "", "[head]"]
        usual = _plain(HeadSpec(head["kind"])) | {"kind": None}
        lines += [f"{name} = {toml_value(value)}" for name, value in head.items() if value != usual[name]]
        return "\n".join(lines) + "\n"

    @classmethod
    def loads_toml(cls, text: str) -> ArchSpec:
        """Read TOML text.

        Raises:
            SpecError: not TOML, or not a spec.
        """
        if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
            raise SpecError(f"the spec is not TOML that is read here: a line has more than {MAX_DOTS} dots.")
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"the spec is not TOML: {error}.") from error
        return cls.from_json(data)


def round_channels(width: float, divisor: int = 1, minimum: int = 1) -> int:
    """Return ``width`` rounded to a multiple of ``divisor``, never more than 10 % below it.

    Source: make_divisible, tensorflow/models research/slim/nets/mobilenet/conv_blocks.py.
    """
    rounded = max(minimum, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def _setting(chosen: Settings, name: str, default: V, where: str) -> V:
    value: Any = dict(chosen).get(name, default)
    if type(default) is float and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise SpecError(f"{where}: {name} is {value!r}, but must be of type {type(default).__name__}, as {default!r}.")
    found: V = value
    return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)} | (
            {"settings": {k: _plain(v) for k, v in value.settings}} if hasattr(value, "settings") else {}
        )
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def toml_value(value: Any) -> str:
    """Return plain data as a TOML value, on one line."""
    if isinstance(value, dict):
        inside = ", ".join(f"{_toml_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    # JSON's notation is TOML's for numbers, truth and text, but for the one control character that JSON leaves as it is
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def _toml_rows(stages: list[dict[str, Any]]) -> list[str]:
    """Return a line for each stage, its fields below those of the others; no settings are left out."""
    cells = [[f"{k} = {toml_value(v)}," for k, v in stage.items() if k != "settings" or v] for stage in stages]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    rows = (" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in cells)
    return [f"  {{ {row.rstrip().removesuffix(',')} }}," for row in rows]


def _thaw(data: Any) -> Any:
    """Turn the mapping ``settings`` of a stage or head into its frozen form."""
    if not isinstance(data, Mapping):
        return data
    chosen = _need(data.get("settings", {}), dict, "settings")
    return {**data, "settings": settings(**chosen)}


_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "int": int, "float": (int, float), "str": str, "Task": str, "Padding": str, "Literal['add', 'concat']": str,
    'Literal["add", "concat"]': str,
}  # fmt: skip


def _record(kind: type[D], data: Any, where: str) -> D:
    data = _need(data, dict, where)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(fields)):
        raise SpecError(f"{where}: unknown field '{unknown[0]}'. Allowed: {', '.join(fields)}.")
    for name, entry in fields.items():
        if name not in data:
            if entry.default is dataclasses.MISSING:
                raise SpecError(f"{where}: field '{name}' is missing.")
            continue
        wanted = _TYPES.get(str(entry.type))
        if wanted and (not isinstance(data[name], wanted) or isinstance(data[name], bool)):
            raise SpecError(f"{where}: {name} is {data[name]!r}, but must be of type {entry.type}.")
        if entry.type == "tuple[int, ...]" and not all(type(item) is int for item in data[name]):
            raise SpecError(f"{where}: {name} is {data[name]!r}, but must be a list of whole numbers.")
    return kind(**data)


def _replace(value: D, changes: dict[str, Any]) -> D:
    known = [f.name for f in dataclasses.fields(value)]  # type: ignore[arg-type]
    if unknown := sorted(set(changes) - set(known)):
        raise SpecError(f"{type(value).__name__} has no field '{unknown[0]}'. It has: {', '.join(known)}.")
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def _need(data: Any, kind: type[D], where: str) -> D:
    if not isinstance(data, kind):
        raise SpecError(f"{where}: expected a {kind.__name__}, found {type(data).__name__}.")
    return data


def _check_range(where: str, name: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise SpecError(f"{where}: {name} is {value!r}; allowed are whole numbers from {least} to {most}.")
