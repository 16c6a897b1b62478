"""``flyweight report``: the table of a saved run, and its page drawn anew."""

from __future__ import annotations

from pathlib import Path

import click

from flyweight.cli._command import command


@command("report", "flyweight report runs/ladder", "flyweight report runs/ladder --json | jq '.rungs[].name'")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print report.json on stdout, and draw nothing.")
def report(run: Path, as_json: bool) -> None:
    """Print the table of RUN and draw its page anew.

    RUN is the folder that slim wrote. report.json is the truth: report.html and
    the pictures are made from it, nothing is measured again.
    """
    import json

    from flyweight.cli._report import print_report
    from flyweight.report import load_report

    found = load_report(run)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return
    from flyweight import flow

    folder = run if run.is_dir() else run.parent
    flow.render(folder)
    print_report(found, folder)


MEMBERS = {"report": report}
