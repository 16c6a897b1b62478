"""flyweight.spec: architectures as data, their JSON round trip, and what hostile JSON does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, SkipSpec, StageSpec, round_channels
from flyweight.spec import settings as block_settings

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
SCALARS = (
    st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
SETTINGS = st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=3).map(tuple), max_size=3).map(
    lambda d: block_settings(**d)
)
CHANNELS = st.integers(1, 4096)


@st.composite
def specs(draw: st.DrawFn) -> ArchSpec:
    """Draw any spec that the fields allow."""
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    stages = tuple(
        StageSpec(name, draw(NAMES), draw(CHANNELS), draw(st.integers(1, 8)), draw(SETTINGS)) for name in names
    )
    widths = tuple(draw(st.lists(CHANNELS, min_size=1, max_size=4)))
    skips = st.builds(SkipSpec, st.sampled_from(names), st.integers(0, len(widths) - 1))
    head = HeadSpec(
        draw(NAMES),
        widths,
        tuple(draw(st.lists(skips, max_size=3))),
        draw(st.sampled_from(["add", "concat"])),
        draw(SETTINGS),
    )
    sides = st.integers(1, 2048)
    return ArchSpec(
        name=draw(st.text(max_size=12)), task=draw(st.sampled_from(["classify", "segment", "detect"])),
        input=InputSpec(draw(sides), draw(sides), draw(CHANNELS)), classes=draw(CHANNELS), stages=stages, head=head,
        padding=draw(st.sampled_from(["symmetric", "same"])), norm_eps=draw(st.floats(1e-8, 1e-1)),
        norm_momentum=draw(st.floats(1e-8, 1.0)),
    )  # fmt: skip


def example() -> ArchSpec:
    """Return a small spec with something in every field."""
    stages = (
        StageSpec("conv1", "conv", 8, 2),
        StageSpec("conv2", "separable", 16, 2, block_settings(kernel=3, crelu=True, rates=(1, 2))),
    )
    head = HeadSpec("deconv_decoder", (8, 4), (SkipSpec("conv1", 0),), "concat", block_settings(kernel=4))
    return ArchSpec("small", "segment", InputSpec(32, 48), 3, stages, head, "same", 1e-3, 0.01)


@given(spec=specs())
def test_json_round_trip_gives_an_equal_spec(spec: ArchSpec) -> None:
    again = ArchSpec.loads(spec.dumps())
    assert (again, hash(again)) == (spec, hash(spec))


@given(spec=specs())
def test_json_round_trip_keeps_the_types_of_the_settings(spec: ArchSpec) -> None:
    # True == 1 == 1.0 in Python, so equality alone would not tell them apart
    again = ArchSpec.loads(spec.dumps())
    assert repr(again) == repr(spec)


@given(spec=specs())
def test_toml_round_trip_gives_an_equal_spec_with_the_same_types(spec: ArchSpec) -> None:
    again = ArchSpec.loads_toml(spec.dumps_toml())
    assert (again, hash(again), repr(again)) == (spec, hash(spec), repr(spec))


@given(text=st.text())
def test_any_text_in_a_setting_survives_toml(text: str) -> None:
    spec = example().replace(name=text, head=example().head.with_settings(**{text: (text, 1, ((),))}))
    assert ArchSpec.loads_toml(spec.dumps_toml()) == spec


def test_toml_has_one_line_for_each_stage_with_fields_below_each_other() -> None:
    lines = example().dumps_toml().splitlines()
    assert lines[lines.index("stages = [") + 1 : lines.index("]")] == [
        '  { name = "conv1", block = "conv",      out_channels = 8,  stride = 2 },',
        '  { name = "conv2", block = "separable", out_channels = 16, stride = 2, '
        "settings = { crelu = true, kernel = 3, rates = [1, 2] } },",
    ]


def test_toml_by_hand_may_use_tables_and_leave_out_defaults() -> None:
    text = """
    spec_version = 1
    name = "small"
    task = "segment"
    classes = 3
    [input]
    height = 32
    width = 48
    [[stages]]
    name = "conv1"
    block = "conv"
    out_channels = 8
    [stages.settings]
    kernel = 5  # larger
    [head]
    kind = "fcn"
    """
    stages = (StageSpec("conv1", "conv", 8, 1, block_settings(kernel=5)),)
    assert ArchSpec.loads_toml(text) == ArchSpec("small", "segment", InputSpec(32, 48), 3, stages, HeadSpec("fcn"))


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def check_is_a_spec_or_a_spec_error(data: Any) -> None:
    """Read the data; anything but a spec that can be written and hashed, or a SpecError with words, fails the test."""
    try:
        spec = ArchSpec.from_json(data)
    except SpecError as error:
        assert str(error)
    else:
        assert isinstance(hash(spec), int)
        assert repr(ArchSpec.loads(spec.dumps())) == repr(spec)


@given(data=ANY_JSON)
def test_any_json_is_a_spec_or_a_spec_error(data: Any) -> None:
    check_is_a_spec_or_a_spec_error(data)


@given(text=st.text(max_size=40) | st.binary(max_size=40).map(lambda b: b.decode("latin-1")))
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    for read in (ArchSpec.loads, ArchSpec.loads_toml):
        with pytest.raises(SpecError):  # nothing so short is a spec
            read(text)


@pytest.mark.parametrize("value", ["1979-05-27", "07:32:00", "inf", "nan", "0x10", "{}", "[[[[]]]]", '"""a"""', "-1"])
@pytest.mark.parametrize("field", ["spec_version", "name", "classes", "norm_eps", "input", "stages", "head"])
def test_every_kind_of_toml_value_is_a_spec_or_a_spec_error(field: str, value: str) -> None:
    # the head is the only table, and stands at the end
    lines, head = example().dumps_toml().split("\n[head]\n")
    kept = re.sub(rf"^{field} = (\[.*?^\]|.*?$)", f"{field} = {value}", lines, flags=re.MULTILINE | re.DOTALL)
    text = f"{kept}\n[head]\n{head}" if field != "head" else f"{kept}\nhead = {value}"
    try:
        again = ArchSpec.loads_toml(text)
    except SpecError as error:
        assert str(error)
    else:
        assert ArchSpec.loads_toml(again.dumps_toml()) == again


def test_date_in_a_setting_is_a_spec_error() -> None:
    text = example().dumps_toml().replace("kernel = 4", "kernel = 1979-05-27")
    with pytest.raises(SpecError, match="is a date; allowed are bool, int, float, str"):
        ArchSpec.loads_toml(text)


def paths(data: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value in JSON data."""
    items: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [prefix, *(path for key, value in items for path in paths(value, (*prefix, key)))]


def damaged(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy of JSON data with another value at the path."""
    if not path:
        return value
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = damaged(copy[path[0]], path[1:], value)
    return copy


WHOLE = example().to_json()


@settings(max_examples=1000)
@given(path=st.sampled_from(paths(WHOLE)), value=ANY_JSON)
def test_whole_spec_with_one_value_replaced_is_a_spec_or_a_spec_error(path: tuple[str | int, ...], value: Any) -> None:
    check_is_a_spec_or_a_spec_error(damaged(WHOLE, path, value))


@settings(max_examples=300)
@given(
    path=st.sampled_from([p for p in paths(WHOLE) if isinstance(p[-1:] and p[-1], str)]),
    key=st.text(max_size=6),
    value=ANY_JSON,
)
def test_whole_spec_with_one_field_renamed_is_a_spec_or_a_spec_error(
    path: tuple[str | int, ...], key: str, value: Any
) -> None:
    parent: Any = WHOLE
    for step in path[:-1]:
        parent = parent[step]
    renamed = {(key if name == path[-1] else name): entry for name, entry in parent.items()} | {key: value}
    check_is_a_spec_or_a_spec_error(damaged(WHOLE, path[:-1], renamed))


@pytest.mark.parametrize("path", [p for p in paths(WHOLE) if p and isinstance(p[-1], str)], ids=str)
@pytest.mark.parametrize("value", [None, True, -1, 1.5, "x", [], {}, [[1]], {"a": {}}, 10**400], ids=repr)
def test_every_field_with_every_kind_of_value_is_a_spec_or_a_spec_error(
    path: tuple[str | int, ...], value: Any
) -> None:
    check_is_a_spec_or_a_spec_error(damaged(WHOLE, path, value))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000], ids=["lists", "objects"])
def test_text_nested_a_hundred_thousand_deep_is_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError, match="not JSON"):
        ArchSpec.loads(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "{a = " * 100_000, "a." * 100_000 + "a = 1"])
def test_toml_nested_a_hundred_thousand_deep_is_a_spec_error(text: str) -> None:
    with pytest.raises(SpecError):
        ArchSpec.loads_toml(text)


def test_number_of_five_thousand_digits_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="not JSON"):
        ArchSpec.loads('{"spec_version": ' + "1" * 5000 + "}")
    with pytest.raises(SpecError, match="not TOML"):
        ArchSpec.loads_toml("spec_version = " + "1" * 5000)


def test_setting_nested_deeper_than_eight_is_a_spec_error() -> None:
    data = example().to_json()
    data["head"]["settings"] = {"deep": json.loads("[" * 8 + "]" * 8)}
    assert ArchSpec.from_json(data).head.setting("deep", ()) == ((((((((),),),),),),),)
    data["head"]["settings"] = {"deep": json.loads("[" * 900 + "]" * 900)}
    with pytest.raises(SpecError, match="nested deeper than 8"):
        ArchSpec.from_json(data)


@pytest.mark.parametrize("value", [0, -1e-3, 1.5, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["norm_eps", "norm_momentum"])
def test_norm_setting_outside_0_to_1_is_a_spec_error(field: str, value: float) -> None:
    with pytest.raises(SpecError, match=f"spec 'small': {field} is {value}; allowed are numbers above 0, at most 1"):
        example().replace(**{field: value})


def test_setting_that_is_not_finite_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="nan is not a finite number"):
        block_settings(slope=float("nan"))


def test_missing_field_is_named() -> None:
    data = example().to_json()
    del data["classes"]
    with pytest.raises(SpecError, match="spec: field 'classes' is missing"):
        ArchSpec.from_json(data)


def test_unknown_field_is_named_and_the_allowed_ones_listed() -> None:
    data = example().to_json()
    data["stages"][1]["width"] = 16
    with pytest.raises(
        SpecError, match=r"stage 1: unknown field 'width'\. Allowed: name, block, out_channels, stride, settings"
    ):
        ArchSpec.from_json(data)


def test_spec_of_another_version_is_refused() -> None:
    with pytest.raises(SpecError, match="spec_version is 2; this Flyweight reads 1"):
        ArchSpec.from_json(example().to_json() | {"spec_version": 2})


def test_two_stages_of_one_name_are_refused_by_that_name() -> None:
    spec = example()
    with pytest.raises(SpecError, match="two stages are named 'conv1'"):
        spec.replace(stages=(spec.stages[0], spec.stages[0]))


def test_skip_from_a_stage_that_does_not_exist_names_it_and_lists_the_stages() -> None:
    spec = example()
    with pytest.raises(SpecError, match=r"starts at stage 'conv9', which does not exist\. Stages: conv1, conv2"):
        spec.replace(head=spec.head.replace(skips=(SkipSpec("conv9", 0),)))


def test_skip_to_a_decoder_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(SpecError, match="target is 2; allowed are whole numbers from 0 to 1"):
        HeadSpec("deconv_decoder", (8, 4), (SkipSpec("conv1", 2),))


@pytest.mark.parametrize(
    ("field", "value"), [("out_channels", 0), ("out_channels", True), ("stride", 9), ("stride", 1.0)]
)
def test_stage_out_of_range_names_stage_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"stage 'conv1': {field} is {value}; allowed are whole numbers from 1 to"):
        StageSpec("conv1", "conv", 8).replace(**{field: value})


def test_replace_of_an_unknown_field_lists_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"ArchSpec has no field 'width'\. It has: name, task, input"):
        example().replace(width=2)


def test_replace_leaves_the_spec_as_it_was() -> None:
    spec = example()
    before = repr(spec)
    spec.replace(classes=7, stages=spec.stages[:1])
    assert repr(spec) == before


def test_settings_in_any_order_are_equal() -> None:
    assert block_settings(a=1, b=(1, 2)) == block_settings(b=[1, 2], a=1)  # type: ignore[arg-type]


def test_with_settings_changes_one_and_keeps_the_others() -> None:
    stage = example().stages[1].with_settings(kernel=5)
    assert dict(stage.settings) == {"kernel": 5, "crelu": True, "rates": (1, 2)}


def test_setting_of_a_type_that_json_lacks_is_refused() -> None:
    with pytest.raises(SpecError, match="is a set; allowed are bool, int, float, str and lists of them"):
        block_settings(kernels={3})  # type: ignore[arg-type]


def test_stride_after_a_stage_is_the_product_up_to_it() -> None:
    assert (example().stride_after("conv1"), example().stride_after("conv2")) == (2, 2 * 2)


def test_stage_that_does_not_exist_is_named() -> None:
    with pytest.raises(SpecError, match=r"spec 'small' has no stage 'conv3'\. Stages: conv1, conv2"):
        example().stage("conv3")


@given(width=st.floats(1, 10_000), divisor=st.sampled_from([1, 2, 4, 8, 16]), minimum=st.integers(1, 32))
def test_rounded_channels_are_a_multiple_and_never_ten_percent_below(width: float, divisor: int, minimum: int) -> None:
    least = minimum * divisor
    rounded = round_channels(width, divisor, least)
    assert rounded % divisor == 0 and rounded >= least and rounded >= 0.9 * width
    assert rounded <= max(least, width + divisor)


@pytest.mark.parametrize(
    ("width", "expected"), [(32 * 0.35, 16), (96 * 0.35, 32), (64 * 0.75, 48), (1280 * 1.4, 1792), (20, 24)]
)
def test_rounded_channels_of_mobilenet_v2_are_the_published_ones(width: float, expected: int) -> None:
    # 11.2 -> 8, but 8 < 0.9 * 11.2, so 16; 33.6 -> 32; 48; 1792; 20 lies between 16 and 24: (20 + 4) // 8 * 8 = 24
    assert round_channels(width, 8, 8) == expected


def test_a_setting_of_another_type_than_its_default_is_an_error_that_names_the_stage() -> None:
    stage = StageSpec("conv1", "conv", 8, settings=block_settings(kernel="3"))
    with pytest.raises(SpecError, match=r"stage 'conv1': kernel is '3', but must be of type int, as 3"):
        stage.setting("kernel", 3)


def test_a_whole_number_serves_where_a_fraction_is_meant() -> None:
    assert StageSpec("a", "conv", 8, settings=block_settings(expand=6)).setting("expand", 1.0) == 6.0
