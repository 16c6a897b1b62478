"""Write requirements.lock: the exact versions, with hashes, of everything but torch that `make` installs.

    python tools/lock.py            # keeps the locked versions that pyproject.toml still allows
    python tools/lock.py --upgrade  # takes the newest

Needs pip-tools (`make lock` puts it into a scratch environment). torch stands without a hash in
requirements-torch.lock, because its builds share a version but not a hash: see docs/dependencies.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
TORCH_LOCK = ROOT / "requirements-torch.lock"
HEADER = """\
# Everything but torch that `make` installs, exactly: written by tools/lock.py from pyproject.toml (extra: dev).
# Installed with --require-hashes --no-deps, before requirements-torch.lock.
"""
OPTIONS = (
    "--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras", "--no-header", "--no-annotate",
    "--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links", "--no-emit-options", "--extra=dev",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Resolve pyproject.toml and write the lock."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "lock.txt"
        if "--upgrade" not in arguments:
            out.write_text(LOCK.read_text())
        command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, f"--constraint={TORCH_LOCK}"]
        subprocess.run([*command, f"--output-file={out}", "pyproject.toml"], cwd=ROOT, check=True)
        LOCK.write_text(HEADER + without_torch(out.read_text()))
    return 0


def without_torch(lock: str) -> str:
    """Return the lock's entries sorted by name; comments, torch and this package itself left out.

    An entry is a line ``name==version \\`` and its hashes on the lines that follow, indented.
    """
    lines = [line for line in lock.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    entries = re.split(r"\n(?=\S)", "\n".join(lines))
    pinned = [entry for entry in entries if "==" in entry and not entry.startswith("torch==")]
    return "\n".join(sorted(pinned)) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
