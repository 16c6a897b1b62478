import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_readmes_figures_and_picture_are_those_of_the_kept_result() -> None:
    done = subprocess.run([sys.executable, "tools/readme.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_class_in_the_picture_has_a_style() -> None:  # without one a path is filled black
    svg = (ROOT / "docs/images/ladder.svg").read_text()
    style = svg.partition("</style>")[0]
    used = {name for names in re.findall(r'class="([a-z ]*)"', svg) for name in names.split()}
    assert {"dot", "frame", "path"} <= used
    for name in used - {"plot", "name"}:  # the picture itself; names are styled as text
        assert re.search(rf"\.{name}\b", style), name
