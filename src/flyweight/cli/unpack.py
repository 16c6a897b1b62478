"""``flyweight unpack``: a packed network as the files that others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from flyweight.cli._command import command, names
from flyweight.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from flyweight.contracts import Candidate

FORMATS = ("safetensors", "pytorch", "onnx", "ncnn")
_RUNTIMES = {"onnx": "onnxruntime", "ncnn": "ncnn"}


@command(
    "unpack",
    "flyweight unpack lite0.fly --to onnx,ncnn --out app/models",
    "flyweight unpack lite0.fly --to safetensors",
    "flyweight unpack update.fly --base lite0.fly",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--to", "formats", callback=names, metavar="NAMES", default="onnx", help=f"Of: {', '.join(FORMATS)}.")
@click.option("--out", type=click.Path(path_type=Path), default="unpacked", help="Folder for the files.")
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Of an update: the file that it is for; again for updates in between.",
)
def unpack(file: Path, formats: tuple[str, ...], out: Path, base: tuple[Path, ...]) -> None:
    """Turn FILE, a packed network, into what others read.

    safetensors: a MODEL for the other commands. pytorch: the state dict, by
    torch.save. onnx, ncnn: as flyweight export, in OUT/RUNTIME.
    """
    from flyweight.cli._tables import print_table
    from flyweight.packing import open_packed

    if not formats:
        raise UsageError(f"--to names nothing. Choose from: {', '.join(FORMATS)}.")
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
    candidate = open_packed(file, base)
    rows = [[name, str(path), f"{path.stat().st_size / 1000:,.1f}"]
            for name in formats for path in _written(candidate, name, out, file.stem)]  # fmt: skip
    print_table(["format", "file", "kB"], rows, left=2)


def _written(candidate: Candidate, name: str, out: Path, stem: str) -> list[Path]:
    """Write one format; return its files."""
    from flyweight import files, flow
    from flyweight.packing import state_bytes
    from flyweight.saved import save_candidate

    if name in _RUNTIMES:
        return [path for artifact in flow.export(candidate, out, (_RUNTIMES[name],)) for path in artifact.files]
    out.mkdir(parents=True, exist_ok=True)
    if name == "safetensors":
        save_candidate(out / f"{stem}.safetensors", candidate)
        return [out / f"{stem}.safetensors"]
    files.write_bytes(out / f"{stem}.pt", state_bytes(candidate))
    return [out / f"{stem}.pt"]


MEMBERS = {"unpack": unpack}
