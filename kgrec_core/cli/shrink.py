"""`kgrec shrink RUN --to int8`: a run made faster or smaller, published beside it where it answers as well."""

from __future__ import annotations

from pathlib import Path

import click

from kgrec_core.cli.run import FILE, allow, as_json, run
from kgrec_core.printing import columns, say, say_json
from kgrec_core.stages import silent


@click.command(epilog="Example: kgrec shrink runs/shop --to int8")
@run
@click.option(
    "--to",
    required=True,
    metavar="FORM",
    help="int8: the language model in 8-bit numbers, by onnxruntime, faster. bf16: its weights in two bytes, half the size. "
    "layers=4: so many of its layers, taught again by the run's own texts. static: a vector for each token instead of it, fastest.",
)
@click.option("--out", type=FILE, metavar="FOLDER", help="Where; RUN.FORM beside it without.")
@click.option("--loss", default=0.005, show_default=True, type=click.FloatRange(0, 1), help="Share of the figure that may be lost.")
@allow
@as_json
def shrink(run: Path, to: str, out: Path | None, loss: float, allow: tuple[str, ...], as_json: bool) -> None:
    """Make RUN faster or smaller: measured again on its validation queries, and refused where it lost more than --loss."""
    from kgrec_core.lifecycle.shrink import shrink as shrunk
    from kgrec_core.report.verdict import figure
    from kgrec_core.run.run import open_run

    found = shrunk(open_run(run, allow), to, out, loss, silent if as_json else lambda what, done, total: say(what))
    if as_json:
        say_json(found._asdict())
        return
    rows = [["", "queries", "before", "after", "gain"]]
    for task, of in found.figures.items():
        rows.append([task, f"{of['gain']['n']:,}", figure(of["before"]), figure(of["after"]), figure(of["gain"], signed=True)])
    say(columns(rows))
    say(f"one text alone: {found.ms['before']:g} ms before, {found.ms['after']:g} ms after; published in {found.folder}")
