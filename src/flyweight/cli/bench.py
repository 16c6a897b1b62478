"""``flyweight bench``: one network in many runtimes and precisions, side by side."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, counts, model_options, names
from flyweight.errors import UsageError, unknown_name

_ALIASES = {"onnx": "onnxruntime", "ort": "onnxruntime", "tflite": "litert"}
PRECISIONS = ("fp32", "fp16", "int8")
MOST_IMAGES = 1024


@command(
    "bench",
    "flyweight bench runs/ladder:v3.1 --runtimes onnxruntime,ncnn,openvino",
    "flyweight bench squeezenet_1.1 --precision fp32,int8 --threads 1,2",
    "flyweight bench app/net.py --device ssh:pi@board --python ~/fly/bin/python",
    "flyweight bench app/net.py --device adb:0123 --binary ncnn=build/benchncnn",
    "flyweight bench app/models --data my_photos --json b.json --html b.html",
)
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@model_options
@click.option(
    "--runtimes", callback=names, metavar="NAMES", default="onnxruntime,ncnn", help="Runtimes to put side by side."
)
@click.option(
    "--precision", "precisions", callback=names, metavar="NAMES", default="fp32", help="fp32, fp16, int8: one or more."
)
@click.option("--threads", callback=counts, metavar="NUMBERS", default="1", help="Threads, each timed: 1,2.")
@click.option("--data", help="Images to compare and score on: a sample's name or a folder.")
@click.option("--images", type=click.IntRange(1, MOST_IMAGES), default=16, help="Images of the test split.")
@click.option("--n", type=click.IntRange(1, 100_000), default=100, help="Timed inferences per row.")
@click.option("--device", default="", help="Where times are taken: ssh:HOST or adb:SERIAL; here without it.")
@click.option("--python", default="python3", help="Of ssh: the Python there that has Flyweight.")
@click.option(
    "--binary", "binaries", multiple=True, metavar="RUNTIME=PATH", help="Of adb: a runtime's benchmark program."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder to keep the exported files in.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to a file.")
@click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write one offline page: plot and table.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def bench(
    models: tuple[str, ...],
    resolution: int | None,
    classes: int | None,
    runtimes: tuple[str, ...],
    precisions: tuple[str, ...],
    threads: tuple[int, ...],
    data: str | None,
    images: int,
    n: int,
    device: str,
    python: str,
    binaries: tuple[str, ...],
    out: Path | None,
    json_file: Path | None,
    html_file: Path | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    """Put a network's files for many runtimes side by side.

    MODEL is what flyweight export takes, or a folder of files that it wrote.

    Every figure comes from a fresh process; the timed ones take turns. What
    can't be exported or run is a line that says why; the other rows stay.
    Compared are outputs on real images with those of PyTorch; accuracy is told
    where --data names images whose truth is the network's task.
    """
    from flyweight import files
    from flyweight.bench import Settings, steps
    from flyweight.bench import bench as run
    from flyweight.cli._bench import print_bench
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import say
    from flyweight.report.bench_page import render_bench

    for precision in precisions:
        if precision not in PRECISIONS:
            raise unknown_name("precision", precision, PRECISIONS)
    wanted = tuple(dict.fromkeys(_ALIASES.get(name, name) for name in runtimes))
    programs = tuple(_binary(text) for text in binaries)
    settings = Settings(
        wanted, precisions, threads, data, images, n, resolution, classes, out, device, python, programs
    )
    if dry_run:
        for line in steps(models, settings):
            say(line)
        return
    for option, file in (("--json", json_file), ("--html", html_file)):
        if file is not None and file.is_dir():
            raise UsageError(f"{option} {file} is a folder. Name a file.")
    with shown(quiet) as progress:
        found = run(models, settings, progress)
    if json_file is not None:
        files.write_json(json_file, found.to_json())
    if html_file is not None:
        files.write_text(html_file, render_bench(found))
    print_bench(found)
    if not any(row.measurement for row in found.rows):
        raise UsageError("no row could be measured; the reasons stand above.")


def _binary(text: str) -> tuple[str, Path]:
    """Return runtime and path of ``ncnn=build/benchncnn``."""
    name, equals, path = text.partition("=")
    if not equals or not path:
        raise UsageError(f"--binary {text}: wanted is RUNTIME=PATH, such as ncnn=build/benchncnn.")
    return _ALIASES.get(name, name), Path(path).expanduser()


MEMBERS = {"bench": bench}
