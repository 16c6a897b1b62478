"""docs/targets.md is what the devices' files say."""

from tools import targets_page


def test_page_is_what_the_files_say() -> None:
    assert targets_page.PAGE.read_text(encoding="utf-8") == targets_page.page(), "run python tools/targets_page.py"
