"""docs/support.md is what the results in benchmarks/results say."""

from flyweight.zoo import ZOO
from tools import support_page


def row(outcome: str, **more: object) -> dict[str, object]:
    return {"network": sorted(ZOO.origins)[0], "runtime": "ncnn", "input": [3, 8, 8], "outcome": outcome, **more}


def test_page_is_what_the_result_says() -> None:
    assert support_page.PAGE.read_text(encoding="utf-8") == support_page.page(), "run python tools/support_page.py"


def test_a_refusal_is_never_a_figure_and_what_is_not_measured_is_said() -> None:
    name = sorted(ZOO.origins)[0]
    text = support_page.matrix({(name, "ncnn"): row("refused", reason="no layer 'X'")}, ["onnxruntime", "ncnn"])
    assert f"| `{name}` | 3x8x8 | · | **refused** |" in text
    assert f"Not measured yet: {len(ZOO.origins) - 1} networks" in text


def test_what_differs_shows_by_how_much_and_why() -> None:
    assert support_page.cell(row("differs", largest_difference=0.0123)) == "**differs** 1.2e-02"
    assert "operator A \\| B" in support_page.refusals([row("differs", reason="operator A | B")])
    assert support_page.refusals([row("equal", largest_difference=1e-6)]) == ""


def test_what_was_only_converted_is_no_figure_and_no_refusal() -> None:
    assert support_page.cell(row("converted", reason="Core ML runs on Apple's systems only")) == "converted"
    assert support_page.refusals([row("converted", reason="Core ML runs on Apple's systems only")]) == ""
