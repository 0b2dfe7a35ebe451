"""`kgrec finance monitor | replay`: each parses, builds the monitor and its sinks, and lets events through."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kgrec_core.errors import KgrecError

if TYPE_CHECKING:
    from kgrec_core.run.run import Run
    from kgrec_finance.articles.linking import Linker
    from kgrec_finance.monitoring.monitor import Monitor
    from kgrec_finance.monitoring.scores import Score
    from kgrec_finance.monitoring.settings import Settings
    from kgrec_finance.monitoring.sinks import Delivery
    from kgrec_finance.monitoring.state import State

GIVEN = ("window", "lateness", "cooldown", "rate", "warmup", "learn", "hops", "decay", "merge", "leap", "keep", "detectors")


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a state is begun with; spans as "15m", "12h", "1d", "2w"."""
    for option in reversed(
        (
            click.option("--window", metavar="SPAN", help="Length of a window [1d]."),
            click.option("--lateness", metavar="SPAN", help="How late an event may come [1h]."),
            click.option("--cooldown", metavar="SPAN", help="Calm after which an episode closes [2d]."),
            click.option("--rate", type=float, metavar="N", help="False episodes a week, over all series together [1]."),
            click.option("--warmup", metavar="SPAN", help="What detectors see before their scores count [4w]."),
            click.option("--learn", metavar="SPAN", help="What then decides the threshold, without --history [10w]."),
            click.option("--detector", "detectors", multiple=True, metavar="NAME:VALUE", help="Instead of all; several times."),
            click.option("--hops", type=int, metavar="N", help="How far an event spreads to suppliers; 0 = not at all [1]."),
            click.option("--decay", type=float, metavar="SHARE", help="What it counts a step further [0.5]."),
            click.option("--merge", type=float, metavar="SIMILARITY", help="From which articles tell the same story [0.8]."),
            click.option("--leap", metavar="SPAN", help="How far ahead an event is believed unconfirmed [1h]."),
            click.option("--keep", metavar="SPAN", help="How long articles, windows and alerts are kept [26w]."),
        )
    ):
        command = option(command)
    return command


def feed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    path = click.Path(path_type=Path, dir_okay=False)
    for option in reversed(
        (
            click.option(
                "--run", "folder", type=click.Path(path_type=Path), envvar="KGREC_RUN", metavar="FOLDER", help="Whose model scores."
            ),
            click.option("--allow", multiple=True, metavar="FILE:PART", help="A part from a file that may be executed."),
            click.option("--companies", type=path, metavar="FILE", help="Who is watched, instead of the run's companies."),
            click.option("--history", type=path, metavar="FILE", help="Learn from this file first; then watch from the first event on."),
            click.option("--column", "columns", multiple=True, metavar="OURS=THEIRS", help="E.g. time=created_at; several times."),
            click.option("--time-zone", metavar="NAME", help="Of times without one; else these are refused."),
            click.option("--time-format", metavar="FORMAT", help="s, ms, us or a strftime format."),
            click.option("--sink", "sinks", multiple=True, metavar="WHERE", help="stdout, FILE.jsonl, http(s)://..., apprise:ADDRESS."),
            click.option("--secret", metavar="env:NAME", help="Signs what webhooks get."),
            click.option("--dead-letters", type=path, metavar="FILE", help="Of what is refused [STATE.refused.jsonl]."),
            click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Events in a transaction at most."),
            click.option("--json", "as_json", is_flag=True, help="Alerts as JSON lines."),
        )
    ):
        command = option(command)
    return command


@click.command(epilog="Example: kgrec finance monitor news.jsonl --run runs/news --sink alerts.jsonl")
@click.argument("feed")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="[RUN.monitor.sqlite]")
@feed_options
@settings_options
@click.option("--once", is_flag=True, help="End with what the feed has now.")
@click.option("--poll", type=click.FloatRange(0.01), metavar="SECONDS", help="How often the feed is looked at [1; an address 300].")
def monitor(feed: str, state: Path | None, folder: Path | None, once: bool, poll: float | None, **given: Any) -> None:
    """Watch FEED: a JSONL or CSV file that grows, - (standard input) or the address of an RSS feed.

    Stopped in any way, the same command goes on where it was. The state remembers --window ... --keep of its first start.
    """
    with ExitStack() as stack:
        stop = _stopped(stack)
        built, delivery = _built(stack, state_of(folder, state), folder, None, given)
        _let_through(built, delivery, feed, given, wait=not once, poll=poll, stop=stop)


@click.command(epilog="Example: kgrec finance replay news.jsonl --run runs/news --from 2024-05-01 --to 2024-06-01")
@click.argument("file")
@click.option("--state", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Keep the state; else it is thrown away.")
@click.option("--like", type=click.Path(path_type=Path, dir_okay=False), metavar="STATE", help="Settings of this monitor.")
@feed_options
@settings_options
@click.option("--from", "since", metavar="TIME", help="Alerts from then on; what was before is learned.")
@click.option("--to", "until", metavar="TIME", help="Alerts before then.")
def replay(
    file: str, state: Path | None, like: Path | None, folder: Path | None, since: str | None, until: str | None, **given: Any
) -> None:
    """Give the alerts that a live monitor gives on the events of FILE, with the companies' links as they were known at the time."""
    first, last = _moment(since, -(2**62)), _moment(until, 2**62)
    with ExitStack() as stack:
        stop = _stopped(stack)
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "replay.sqlite"
            given["dead_letters"] = given["dead_letters"] or Path(f"{file}.refused.jsonl" if file != "-" else "refused.jsonl")
        built, delivery = _built(stack, state, folder, like, given, lambda body: first <= body["at"] < last)
        over = lambda: stop() or (built.windows.latest or -(2**62)) - built.settings.lateness >= last  # noqa: E731
        _let_through(built, delivery, file, given, wait=False, poll=None, stop=over)


def state_of(run: Path | None, state: Path | None) -> Path:
    """Raises KgrecError where neither says which."""
    if state is not None:
        return state
    if run is None:
        raise KgrecError("which monitor? name its file with --state, or the run that it stands beside with --run")
    return run.with_name(f"{run.name}.monitor.sqlite")


def _built(
    stack: ExitStack,
    file: Path,
    folder: Path | None,
    like: Path | None,
    given: Mapping[str, Any],
    wanted: Callable[[Mapping[str, Any]], bool] = lambda body: True,
) -> tuple[Monitor, Delivery]:
    from kgrec_core.run.folder import MANIFEST, checksum
    from kgrec_finance.articles.roster import roster
    from kgrec_finance.monitoring.monitor import Monitor
    from kgrec_finance.monitoring.sinks import Delivery, open_sink
    from kgrec_finance.monitoring.state import State

    state = stack.enter_context(State(file, write=True))
    sinks = [open_sink(name, given["secret"], given["as_json"]) for name in given["sinks"] or ("stdout",)]
    run = _opened(folder, given["allow"])
    known = roster(given["companies"], run)
    if run is None:
        click.echo("no --run: events without stored scores are watched for their volume alone", err=True)
    built = Monitor(
        state,
        _settings(state, like, given),
        score=_score(run, known.linker),
        model="" if run is None else f"run {checksum(run.folder / MANIFEST)[:12]}",
        linker=known.linker,
        graph=known.graph,
        dead_letters=given["dead_letters"] or file.with_name(f"{file.name}.refused.jsonl"),
        history=given["history"] is not None,
    )
    return built, Delivery(state, sinks, wanted)


def _settings(state: State, like: Path | None, given: Mapping[str, Any]) -> Settings:
    from kgrec_finance.monitoring.settings import Settings
    from kgrec_finance.monitoring.state import State

    kept = state.kept("settings")
    if like is not None and kept is None:
        with State(like, write=False) as other:
            kept = other.kept("settings")
    words = {("history" if name == "learn" else name): given[name] or None for name in GIVEN}
    words |= {name: given[name] for name in ("hops", "decay", "rate", "merge")}  # 0 is a word, too
    return (Settings.of(kept) if kept else Settings()).with_given(words)


def _opened(folder: Path | None, allow: tuple[str, ...]) -> Run | None:
    from kgrec_core.run.run import open_run

    return None if folder is None else open_run(folder, allow)


def _score(run: Run | None, linker: Linker | None) -> Score | None:
    if run is None:
        return None
    from kgrec_finance.monitoring.model import Scoring

    return Scoring(run, linker)


def _let_through(
    built: Monitor, delivery: Delivery, feed: str, given: Mapping[str, Any], *, wait: bool, poll: float | None, stop: Callable[[], bool]
) -> None:
    from kgrec_finance.feeds.batches import batches

    reading = {
        "columns": _columns(given["columns"]),
        "time_zone": given["time_zone"],
        "time_format": given["time_format"],
        "dead_letters": built.dead.path,
        "size": given["batch"],
        "poll": poll,
        "stop": stop,
    }
    if given["history"] is not None and built.learning:
        name = f"history {given['history']}"
        for batch in batches(given["history"], built.offset(name), wait=False, **reading):
            built.take(name, batch)
        if stop():
            return
        built.learned()
        click.echo(f"learned: {built.ensemble.calibration.note}", err=True)
    calibrated = built.ensemble.calibration is not None
    delivery.push()
    for batch in batches(feed, built.offset(feed), wait=wait, **reading):
        built.take(feed, batch)
        delivery.push()
        if not calibrated and built.ensemble.calibration is not None:
            calibrated = True
            click.echo(f"from now on episodes open: {built.ensemble.calibration.note}", err=True)
    if not calibrated:
        click.echo(f"still learning: {progress(built)}; no episode opens before", err=True)
    delivery.drain(0.0 if wait else 60.0, stop)


def progress(built: Monitor) -> str:
    return f"{built.ensemble.count} of {sum(built.settings.windows_before)} windows"


def _columns(given: tuple[str, ...]) -> dict[str, str]:
    odd = next((word for word in given if "=" not in word), None)
    if odd is not None:
        raise KgrecError(f"--column {odd} names no column; write OURS=THEIRS, e.g. time=created_at")
    return dict(word.split("=", 1) for word in given)  # type: ignore[misc]


def _moment(given: str | None, otherwise: int) -> int:
    from kgrec_finance.feeds.events import Reader, Refused

    if given is None:
        return otherwise
    try:
        return Reader(time_zone="UTC").moment(given)
    except Refused as reason:
        raise KgrecError(f'{reason}; write "2024-05-01" or "2024-05-01T12:00Z"') from None


def _stopped(stack: ExitStack) -> Callable[[], bool]:
    """Ctrl-C and SIGTERM end after the batch that is being counted."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.signal(number, lambda number, frame: told.append(number))
        stack.callback(signal.signal, number, before)
    return lambda: bool(told)
