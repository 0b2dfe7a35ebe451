"""`kgrec DOMAIN report`: parse, call, write."""

from __future__ import annotations

from pathlib import Path

import click

from kgrec_core.cli.run import run_arguments
from kgrec_core.errors import KgrecError


@click.command(epilog="Example: kgrec ecommerce report --run runs/shop --out shop.html")
@run_arguments
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Instead of report.html in the run's folder.")
def report(folder: Path, allow: tuple[str, ...], out: Path | None) -> None:
    """Write a self-contained HTML page: figures with intervals, training curve, coverage, example answers."""
    from kgrec_core.report.page import render
    from kgrec_core.run.run import open_run

    page, file = render(open_run(folder, allow)), out or folder / "report.html"
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise KgrecError(f"{file} cannot be written ({error.strerror}); name another file with --out") from error
    click.echo(str(file))
