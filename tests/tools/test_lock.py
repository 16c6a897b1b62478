"""tools/lock.py: what is kept of what pip-tools wrote."""

from __future__ import annotations

from tools.lock import without_torch

WRITTEN = """\
# a comment
click==8.5.1 \\
    --hash=sha256:00 \\
    --hash=sha256:11
    # via flyweight (pyproject.toml)
torch==2.13.0+cpu \\
    --hash=sha256:22
    # via flyweight (pyproject.toml)
flyweight @ file:///home/somebody/flyweight

# The following packages are considered to be unsafe in a requirements file:
absl==1.0 \\
    --hash=sha256:33
"""


def test_torch_comments_and_the_package_itself_are_left_out_and_the_rest_is_sorted() -> None:
    expected = "absl==1.0 \\\n    --hash=sha256:33\nclick==8.5.1 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
    assert without_torch(WRITTEN) == expected


def test_torch_with_a_longer_name_stays() -> None:
    assert without_torch("torchvision==1.0 \\\n    --hash=sha256:00\n").startswith("torchvision==1.0")


def test_lock_written_twice_is_the_same() -> None:
    assert without_torch(without_torch(WRITTEN)) == without_torch(WRITTEN)
