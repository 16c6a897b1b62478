"""``flyweight advise``: what is slow, why, which edit mends it, and what that would buy."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command, model_options


@command(
    "advise",
    "flyweight advise mobilenet_v3_small_1.0",
    "flyweight advise runs/ladder:v1 --target-ms 1.2 --top 5",
    "flyweight advise resnet_18 --resolution 112 --verify --out runs/advice",
)
@click.argument("model")
@model_options
@click.option(
    "--target-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="Time to reach: of each edit the mildest form that reaches it.",
)
@click.option("--top", type=click.IntRange(1, 1000), default=10, help="How many findings.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, help="Threads to measure at.")
@click.option("--verify", is_flag=True, help="Apply each edit alone, export it, measure it, and print both.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Keep what is exported and measured here, and go on from it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def advise(
    model: str,
    resolution: int | None,
    classes: int | None,
    target_ms: float | None,
    top: int,
    threads: int,
    verify: bool,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say where MODEL's time goes and which edits would mend it.

    MODEL is a name of the zoo, a spec, saved weights, or a rung of a run, as
    for: flyweight profile.

    Its layers are measured in ONNX Runtime; what an edit would buy is
    estimated from them. With --verify the edited networks are exported and
    measured too; nothing is trained, since time does not depend on weights.
    """
    import json
    import tempfile

    from flyweight import flow
    from flyweight.advise import chosen
    from flyweight.cli import _advice
    from flyweight.cli._progress import shown
    from flyweight.cli._tables import dims, say
    from flyweight.verify import advice_on
    from flyweight.verify import verify as verified

    candidate = flow.open_model(model, resolution=resolution, classes=classes)
    title = f"{model}, input {dims(candidate.input_shape)}"
    with tempfile.TemporaryDirectory() as scratch, shown(quiet) as progress:
        folder = out or Path(scratch)
        progress.start("measure the layers", 0)
        advice = advice_on(candidate, folder, threads=threads)
        progress.finish()
        findings = chosen(advice.findings, target_ms)[:top]
        found = list(verified(candidate, findings, folder, threads=threads, progress=progress)) if verify else None
    if as_json:
        say(json.dumps(_advice.as_json(title, advice, findings, found), indent=1))
        return
    _advice.print_findings(title, advice, findings)
    if found is not None:
        say()
        _advice.print_verified(found)


MEMBERS = {"advise": advise}
