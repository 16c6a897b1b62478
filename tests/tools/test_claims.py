"""tools/claims.py: prints what holds and what fails, and refuses results that are not of the agreed shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import claims

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def result(*entries: dict[str, Any], name: str = "speed", **fields: Any) -> dict[str, Any]:
    made = entries or (claim(),)
    return {
        "name": name,
        "command": "python x.py",
        "date": "2026-01-01",
        "environment": {},
        "claims": list(made),
        **fields,
    }


def claim(value: Any = 16.2, goal: str = ">= 15", holds: Any = True, **fields: Any) -> dict[str, Any]:
    return {"claim": "times faster", "value": value, "unit": "x", "goal": goal, "holds": holds, **fields}


def write(folder: Path, data: Any, name: str = "speed") -> Path:
    path = folder / f"{name}.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_failing_claim_is_printed_and_counted_and_the_exit_code_is_0(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, result(claim(), claim(value=9, holds=False)))
    assert claims.main([str(tmp_path)]) == 0
    head, first, second, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["result", "value", "unit", "goal", "claim"]
    assert (first.split()[:3], second.split()[:3]) == (["holds", "speed", "16.2"], ["FAILS", "speed", "9"])
    assert last == "2 claims in 1 results; 1 do not hold."


def test_columns_stand_below_each_other(tmp_path: Path) -> None:
    rows = claims.table([result(claim(), claim(value=123456, goal=">= 100000", claim="second"))]).splitlines()
    assert rows[0].index("goal") == rows[1].index(">=") == rows[2].index(">=")


def test_empty_folder_has_no_claims(tmp_path: Path, capsys: Any) -> None:
    assert claims.main([str(tmp_path)]) == 0
    assert "0 claims in 0 results" in capsys.readouterr().out


def test_missing_folder_is_said(tmp_path: Path, capsys: Any) -> None:
    assert claims.main([str(tmp_path / "none")]) == 1
    assert "none is not a folder" in capsys.readouterr().err


def test_damaged_file_is_named_and_the_sound_ones_are_printed_all_the_same(tmp_path: Path, capsys: Any) -> None:
    write(tmp_path, result())
    write(tmp_path, "{", "broken")
    assert claims.main([str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "holds  speed" in said.out and "broken.json: not readable as JSON" in said.err


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "expected an object, found a list"),
        ({"name": "speed"}, "field 'command' is missing"),
        (result(name="other"), "its name is 'other', but must be 'speed'"),
        (result(claims=[]), "it has no claims"),
        (result(claim(value="16")), "claim 0: value is a str"),
        (result(claim(value=True)), "value is True, but must be a finite number"),
        (result(claim(value=float("nan"))), "value is nan, but must be a finite number"),
        (result(claim(goal="at least 15")), "goal is 'at least 15', but must read like '>= 15'"),
        (result(claim(holds="yes")), "holds is a str"),
        (result(claim(), claim(value=14.9)), "claim 1: holds is True, but its value is 14.9 and its goal >= 15"),
        (result(claim(value=15.1, holds=False)), "holds is False, but its value is 15.1"),
    ],
)
def test_result_of_another_shape_is_refused_with_the_reason(tmp_path: Path, data: Any, words: str) -> None:
    with pytest.raises(claims.ShapeError) as caught:
        claims.read_result(write(tmp_path, data))
    assert str(caught.value).startswith(str(tmp_path / "speed.json")) and words in str(caught.value)


@given(value=st.floats(-1e6, 1e6), limit=st.integers(-1000, 1000), sign=st.sampled_from(sorted(claims.COMPARE)))
def test_holds_must_agree_with_value_and_goal(
    value: float, limit: int, sign: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    truth = {">=": value >= limit, "<=": value <= limit, ">": value > limit, "<": value < limit, "==": value == limit}[
        sign
    ]
    folder = tmp_path_factory.mktemp("claims")
    assert claims.read_result(write(folder, result(claim(value, f"{sign} {limit}", truth))))["name"] == "speed"
    with pytest.raises(claims.ShapeError, match="holds is"):
        claims.read_result(write(folder, result(claim(value, f"{sign} {limit}", not truth))))


@pytest.mark.parametrize(("value", "goal", "holds"), [(9e-6, "<= 1e-5", True), (5e6, "<= 4e+06", False)])
def test_a_goal_may_have_an_exponent(value: float, goal: str, holds: bool, tmp_path: Path) -> None:
    assert claims.read_result(write(tmp_path, result(claim(value, goal, holds))))["name"] == "speed"


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_kept_result_is_of_the_agreed_shape(path: Path) -> None:
    assert claims.read_result(path)["name"] == path.stem
