"""The diff in docs/add-an-architecture.md is the file that it speaks of."""

import re
from pathlib import Path

from flyweight.profile import profile_spec
from flyweight.zoo import ZOO

ROOT = Path(__file__).parents[1]
DIFF = re.compile(r"^```diff\n--- /dev/null\n\+\+\+ b/(\S+)\n@@ -0,0 \+1,(\d+) @@\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_diff_on_the_page_is_the_file() -> None:
    found = DIFF.search((ROOT / "docs" / "add-an-architecture.md").read_text(encoding="utf-8"))
    assert found is not None
    name, length, body = found.groups()
    assert all(line.startswith("+") for line in body.splitlines())
    lines = [line[1:] for line in body.splitlines()]
    assert len(lines) == int(length)
    assert "\n".join(lines) + "\n" == (ROOT / name).read_text(encoding="utf-8")


def test_what_it_adds_has_the_macs_of_the_papers_table() -> None:
    # Qin et al. 2018, table 1: 144, 40 and 12 million at widths 1, 0.5 and 0.25
    counted = [profile_spec(ZOO.get(f"fd_mobilenet_{width}").spec).macs for width in (1.0, 0.5, 0.25)]
    assert [round(macs / 1e6) for macs in counted] == [144, 40, 12]
