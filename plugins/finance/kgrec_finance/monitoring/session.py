"""`monitor` and `replay`: a feed let through a monitor, as it comes or as it came, told in the same words."""

from __future__ import annotations

import logging
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kgrec_core import KgrecError
from kgrec_core.domain import MANIFEST, checksum
from kgrec_finance.articles.roster import roster
from kgrec_finance.feeds.batches import batches
from kgrec_finance.feeds.events import Reader, Refused
from kgrec_finance.feeds.web import from_environment, warn_of_password, without_login
from kgrec_finance.monitoring.monitor import Monitor
from kgrec_finance.monitoring.settings import Given, Settings
from kgrec_finance.monitoring.sinks import Delivery, Webhook, open_sink
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.stored import beside

if TYPE_CHECKING:
    from kgrec_core.domain import Run

log = logging.getLogger("kgrec")
FOREVER = 2**62


@dataclass(frozen=True, kw_only=True)
class Following(Given):
    """companies: who is watched, instead of the run's companies.
    history: learn from this file first; then watch from the first event on.
    columns: ours and the feed's, e.g. time=created_at.
    time_zone: of times without one; else these are refused.
    time_format: of times: s, ms, us or a strftime format.
    sinks: where alerts go: stdout, FILE.jsonl, http(s)://..., apprise:ADDRESS [stdout].
    secret: signs what webhooks get, as env:NAME.
    dead_letters: of what is refused [STATE.refused.jsonl].
    batch: events in a transaction at most.
    as_json: alerts on standard output as JSON lines.
    """

    companies: Path | None = None
    history: Path | None = None
    columns: Mapping[str, str] = field(default_factory=dict, metadata={"option": "--column", "metavar": "OURS=THEIRS"})
    time_zone: str | None = field(default=None, metadata={"metavar": "NAME"})
    time_format: str | None = field(default=None, metadata={"metavar": "FORMAT"})
    sinks: tuple[str, ...] = field(default=(), metadata={"option": "--sink", "repeat": True, "metavar": "WHERE"})
    secret: str | None = field(default=None, metadata={"metavar": "env:NAME"})
    dead_letters: Path | None = None
    batch: int = field(default=256, metadata={"metavar": "N"})
    as_json: bool = field(default=False, metadata={"option": "--json"})

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise KgrecError(f"batch = {self.batch} events make no transaction; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class Watch(Following):
    """Watch FEED. Stopped in any way, the same command goes on where it was; the state remembers --window ... --keep of its first start.

    Spans are written 15m, 12h, 1d or 2w.

    feed: a JSONL or CSV file that grows, - (standard input) or the address of an RSS or Atom feed; one with a password as env:NAME.
    state: the monitor's file [RUN.monitor.sqlite].
    once: end with what the feed has now.
    poll: how often the feed is looked at, in seconds [1; an address 300].

    Example: kgrec finance monitor news.jsonl --run runs/news --sink alerts.jsonl
    """

    feed: str = field(metadata={"argument": True})
    state: Path | None = None
    once: bool = False
    poll: float | None = field(default=None, metadata={"metavar": "SECONDS"})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.poll is not None and not 0.01 <= self.poll <= 604_800:
            raise KgrecError(f"poll = {self.poll} seconds; give .01 or more, a week at most")
        from_environment(self.feed)  # a variable that is not set is told before a state is begun


@dataclass(frozen=True, kw_only=True)
class Replay(Following):
    """Give the alerts that a live monitor gives on the events of FILE, with the companies' links as they were known at the time.

    Spans are written 15m, 12h, 1d or 2w.

    file: JSONL or CSV, or - (standard input).
    state: keep the state here; else it is thrown away.
    like: settings of the monitor with this state.
    since: alerts from then on; what was before is learned.
    until: alerts before then.

    Example: kgrec finance replay news.jsonl --run runs/news --from 2024-05-01 --to 2024-06-01
    """

    file: str = field(metadata={"argument": True})
    state: Path | None = None
    like: Path | None = field(default=None, metadata={"metavar": "STATE"})
    since: str | None = field(default=None, metadata={"option": "--from", "metavar": "TIME"})
    until: str | None = field(default=None, metadata={"option": "--to", "metavar": "TIME"})


def monitor(run: Run | None, request: Watch, progress: object = None) -> list[dict[str, Any]]:
    """The alerts (changes of episodes) of this session; the sinks have them, too. Ctrl-C and SIGTERM end it after a batch."""
    with ExitStack() as stack:
        stop = _stopped(stack)
        built, delivery = _built(stack, beside(run and run.folder, request.state), run, request)
        return _let_through(built, delivery, request.feed, request, not request.once, request.poll, stop)


def replay(run: Run | None, request: Replay, progress: object = None) -> list[dict[str, Any]]:
    """The alerts (changes of episodes) of [since, until)."""
    first, last = _moment(request.since, -FOREVER), _moment(request.until, FOREVER)
    with ExitStack() as stack:
        stop, state = _stopped(stack), request.state
        if state is None:
            state = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "replay.sqlite"
            refused = Path("refused.jsonl" if request.file == "-" else f"{request.file}.refused.jsonl")
            request = replace(request, dead_letters=request.dead_letters or refused)
        built, delivery = _built(stack, state, run, request, request.like, lambda body: first <= body["at"] < last)
        over = lambda: stop() or (built.windows.latest or -FOREVER) - built.settings.lateness >= last  # noqa: E731
        return _let_through(built, delivery, request.file, request, False, None, over)


def unsaid(alerts: list[dict[str, Any]], request: Following) -> str:
    """Nothing more: the sinks have told it."""
    return ""


def _built(
    stack: ExitStack,
    file: Path,
    run: Run | None,
    request: Following,
    like: Path | None = None,
    wanted: Callable[[dict[str, Any]], bool] = lambda body: True,
) -> tuple[Monitor, Delivery]:
    sinks = [open_sink(name, request.secret, request.as_json) for name in request.sinks or ("stdout",)]
    if request.secret and not any(isinstance(sink, Webhook) for sink in sinks):
        raise KgrecError("secret: it signs what a webhook gets, and no sink is one; name an http(s) address as a sink, or leave it out")
    known, score = roster(request.companies, run), None
    Reader(request.columns, time_zone=request.time_zone, time_format=request.time_format)
    state = stack.enter_context(State(file, write=True))
    kept = state.kept("settings") if state.sources() else None
    if like is not None and kept is None:
        with State(like, write=False) as other:
            kept = other.kept("settings")
    if run is None:
        log.warning("no --run: events without stored scores are watched for their volume alone")
    else:
        from kgrec_finance.monitoring.model import SentimentModel

        score = SentimentModel(run, known.linker)
    built = Monitor(
        state,
        (Settings.of(kept) if kept else Settings()).with_given(request),
        score=score,
        model="" if run is None else f"run {checksum(run.folder / MANIFEST)[:12]}",
        linker=known.linker,
        graph=known.graph,
        dead_letters=request.dead_letters or file.with_name(f"{file.name}.refused.jsonl"),
        history=request.history is not None,
    )
    return built, Delivery(state, sinks, wanted)


def _let_through(
    built: Monitor, delivery: Delivery, feed: str, request: Following, wait: bool, poll: float | None, stop: Callable[[], bool]
) -> list[dict[str, Any]]:
    def read(source: str | Path, name: str, wait: bool) -> Iterator[None]:
        reading = {"columns": request.columns, "time_zone": request.time_zone, "time_format": request.time_format}
        for batch in batches(
            source, built.offset(name), wait=wait, size=request.batch, poll=poll, stop=stop, dead_letters=built.dead, **reading
        ):
            built.take(name, batch)
            yield

    before = built.state.last_alert()
    if request.history is not None and built.learning:
        for _ in read(request.history, f"history {request.history}", False):
            pass
        if stop():
            return []
        built.learned()
        log.warning("learned: %s", built.ensemble.calibration.note)
    calibrated = built.ensemble.calibration is not None
    delivery.push()
    warn_of_password(feed, "feed")
    for _ in read(from_environment(feed), without_login(feed)[0], wait):
        delivery.push()
        if not calibrated and built.ensemble.calibration is not None:
            calibrated = True
            log.warning("from now on episodes open: %s", built.ensemble.calibration.note)
    if not calibrated:
        seen, needed = built.ensemble.count, sum(built.settings.windows_before)
        log.warning("still learning: %s of %s windows; no episode opens before", seen, needed)
    if built.dead.count > 1:
        log.warning("%s were refused, each with its reason in %s", f"{built.dead.count:,}", built.dead.path)
    delivery.drain(0.0 if wait else 60.0, stop)
    return [alert.body for alert in built.state.alerts(before) if delivery.wanted(alert.body)]


def _moment(given: str | None, otherwise: int) -> int:
    if given is None:
        return otherwise
    try:
        return Reader(time_zone="UTC").moment(given)
    except Refused as reason:
        raise KgrecError(f'{reason}; write "2024-05-01" or "2024-05-01T12:00Z"') from None


def _stopped(stack: ExitStack) -> Callable[[], bool]:
    """Ctrl-C and SIGTERM end after the batch that is being counted; outside of the main thread none is listened to."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ():
        before = signal.signal(number, lambda number, frame: told.append(number))
        stack.callback(signal.signal, number, before)
    return lambda: bool(told)
