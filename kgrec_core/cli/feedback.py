"""`kgrec feedback RUN`: what callers made of a served run's answers, and a table of it to learn from."""

from __future__ import annotations

from pathlib import Path

import click

from kgrec_core.cli.run import FILE, allow, run
from kgrec_core.errors import KgrecError
from kgrec_core.printing import columns, say


@click.command(
    epilog="\b\nExample: kgrec feedback runs/shop --out events.parquet\n"
    "Example: kgrec feedback runs/shop --learn bought --out new.csv && kgrec ecommerce update --run runs/shop --data new.csv"
)
@run
@click.option("--out", type=FILE, metavar="FILE", help="Write every event: .csv, .parquet or .jsonl.")
@click.option("--learn", multiple=True, metavar="EVENT", help="Write instead what `update --data` learns from, of these events.")
@click.option("--task", metavar="NAME", help="Which task learns it, of several.")
@click.option("--state", type=FILE, metavar="FOLDER", help="Where the service keeps it; RUN.serve without.")
@allow
def feedback(run: Path, out: Path | None, learn: tuple[str, ...], task: str | None, state: Path | None, allow: tuple[str, ...]) -> None:
    """Show what was said of RUN's answers over HTTP, by run and arm."""
    from kgrec_core.serving import exported
    from kgrec_core.serving.feedback import EVENTS, FeedbackLog

    log = FeedbackLog(state or run.absolute().with_name(f"{run.absolute().name}.serve"))
    if not log.file.exists():
        raise KgrecError(
            f"there is no feedback in {log.folder}; `kgrec serve {run} --feedback 7` takes it, or name the folder with --state"
        )
    events = log.events()
    if odd := set(learn) - set(EVENTS):
        raise KgrecError(f"no event is called {sorted(odd)[0]!r}; known: {', '.join(EVENTS)}")
    if learn and out is None:
        raise KgrecError("--learn needs --out FILE for the table")
    if learn:
        from kgrec_core.run.run import open_run

        opened = open_run(run, allow)
        of = opened.task(task)
        texts = "text" in opened.graph.columns(of.relation.source)
        table = exported.edges([event for event in events if event["run"] == opened.folder.name], learn, of.name, texts)
    elif out is not None:
        table = exported.everything(events)
    if out is not None:
        exported.write(table, out)
        say(f"{len(table):,} rows written to {out}")
    else:
        say(columns(exported.counts(events)))
