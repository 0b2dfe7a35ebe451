"""`kgrec finance alerts | explain | report | status`: each reads a monitor's state file, also while the monitor runs, and prints."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgrec_core.cli.parts import as_json, columns, echo_json
from kgrec_core.errors import KgrecError
from kgrec_finance.watching import state_of

if TYPE_CHECKING:
    from kgrec_finance.monitoring.state import State


def state_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """--run or --state: parameters `folder` and `state`."""
    run = click.option(
        "--run", "folder", type=click.Path(path_type=Path), envvar="KGREC_RUN", metavar="FOLDER", help="The monitor of a run."
    )
    file = click.option("--state", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[RUN.monitor.sqlite]")
    return run(file(command))


@click.command(epilog="Example: kgrec finance status --run runs/news")
@state_arguments
@as_json
def status(folder: Path | None, state: Path | None, as_json: bool) -> None:
    """Show how far the monitor is: lag, rates, open episodes, sinks that wait."""
    from kgrec_finance.monitoring.status import reviewed, told

    with _opened(folder, state) as opened:
        found = reviewed(opened, time.time())
    echo_json(found) if as_json else click.echo(told(found))


@click.command(epilog="Example: kgrec finance alerts --open --run runs/news")
@state_arguments
@click.option("--open", "still", is_flag=True, help="Only episodes that are open.")
@click.option("--series", metavar="NAME", help='Only of this series, e.g. "company:BA".')
@as_json
def alerts(folder: Path | None, state: Path | None, still: bool, series: str | None, as_json: bool) -> None:
    """List the episodes, the latest last; --json gives every change of them."""
    from kgrec_finance.monitoring.status import episodes
    from kgrec_finance.monitoring.wording import shown

    with _opened(folder, state) as opened:
        found = [e for e in episodes(opened) if (series in (None, e[-1]["series"])) and not (still and e[-1]["what"] == "close")]
    if as_json:
        echo_json(found)
        return
    rows = [("alert", "opened", "until", "severity", "what")]
    for changes in found:
        first, last = changes[0], changes[-1]
        until = shown(last["last"]) if last["what"] == "close" else "open"
        rows.append((first["episode"], shown(first["opened"]), until, last["severity"], first["sentence"]))
    click.echo(columns(rows) if found else "no alerts")


@click.command(epilog="Example: kgrec finance explain 17c012d2 --run runs/news")
@click.argument("alert")
@state_arguments
@as_json
def explain(folder: Path | None, state: Path | None, alert: str, as_json: bool) -> None:
    """Say why there was an alert: the fewest stories without which it would not have been, and the ways they came.

    ALERT: its id, or the beginning of it.
    """
    from kgrec_finance.monitoring import explain as explaining

    with _opened(folder, state) as opened:
        found = explaining.explain(opened, alert)
    echo_json(found) if as_json else click.echo(explaining.told(found))


@click.command(epilog="Example: kgrec finance report --run runs/news --out monitor.html")
@state_arguments
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[report.html in the run, STATE.html]")
@click.option("--allow", multiple=True, metavar="FILE:PART", help="A part from a file that may be executed.")
def report(folder: Path | None, state: Path | None, out: Path | None, allow: tuple[str, ...]) -> None:
    """Write a self-contained HTML page: each company's windows over time, alerts marked, their articles on click.

    Of a run without a monitor: its figures.
    """
    file = state_of(folder, state)
    if state is None and folder is not None and not file.exists():
        from kgrec_core.report.page import render as figures
        from kgrec_core.run.run import open_run

        page, out = figures(open_run(folder, allow)), out or folder / "report.html"
    else:
        from kgrec_finance.monitoring.page import render

        with _opened(folder, state) as opened:
            page, out = render(opened, time.time(), f"Monitor {file.stem}"), out or file.with_suffix(".html")
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise KgrecError(f"{out} cannot be written ({error.strerror}); name another file with --out") from error
    click.echo(str(out))


def _opened(folder: Path | None, state: Path | None) -> State:
    from kgrec_finance.monitoring.state import State

    return State(state_of(folder, state), write=False)
