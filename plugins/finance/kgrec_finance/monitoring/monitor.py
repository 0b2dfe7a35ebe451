"""From events to alerts: read, score, link, merge stories, count in windows, detect, open and close episodes.

monitor = Monitor(state, settings, linker=linker, graph=graph)
for batch in batches("news.jsonl", monitor.offset("news.jsonl"), size=256):
    monitor.take("news.jsonl", batch)         # one transaction: offset, windows, detectors, alerts
    delivery.push()                           # sinks hear of what is kept

All that decides is event time and the order of events: a replay gives the alerts that the live monitor gave.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kgrec_core import KgrecError
from kgrec_finance.feeds.dead_letters import DeadLetters
from kgrec_finance.feeds.events import Event, Refused
from kgrec_finance.monitoring.ensemble import Ensemble, Judged
from kgrec_finance.monitoring.episodes import Change
from kgrec_finance.monitoring.evidence import Evidence
from kgrec_finance.monitoring.order import Order
from kgrec_finance.monitoring.promise import met, told
from kgrec_finance.monitoring.scores import Score, Scored, Unscored, stored
from kgrec_finance.monitoring.settings import Settings, spelled
from kgrec_finance.monitoring.spread import Reach
from kgrec_finance.monitoring.state import Article, State, Touch
from kgrec_finance.monitoring.stories import Stories, Story
from kgrec_finance.monitoring.windows import Window, Windows
from kgrec_finance.monitoring.wording import alert, fed, shown

if TYPE_CHECKING:
    from kgrec_core import Graph
    from kgrec_finance.articles.linking import Linker

log = logging.getLogger("kgrec")
SHOWN, COMPARED = 5, 2000  # articles in an alert; characters by which articles are the same story, and which are kept


class Monitor:
    """Goes on where the state stands. settings: None = those of the state; of a new state the default ones.

    score: sentiment of events without stored scores; None = their volume alone is watched. model: its fingerprint, kept in the state.
    linker: names -> companies. graph: sectors and suppliers, for `spread`. dead_letters: what is late or ahead of its time goes there.
    history: the state is to learn from a feed of its own first; `learned()` ends that.
    Raises KgrecError where the state was made with other settings or another model.
    """

    def __init__(
        self,
        state: State,
        settings: Settings | None = None,
        *,
        score: Score | None = None,
        model: str = "",
        linker: Linker | None = None,
        graph: Graph | None = None,
        dead_letters: Path | None = None,
        history: bool = False,
    ) -> None:
        self.state, self.linker, self.score = state, linker, score or Unscored(linker)
        kept = state.kept("settings")
        self.settings = settings or (Settings.of(kept) if kept else Settings())
        if kept is None or not state.sources():  # what was begun and has read nothing may be begun otherwise
            with state.transaction():
                state.keep("settings", self.settings.state())
                state.keep("model", model)
                state.keep("history", "reading" if history else "none")
        self._check(model, history)
        self.names: Mapping[str, str] = linker.names if linker else {}
        self.reach = Reach(graph, self.settings.decay, self.settings.hops)
        self.dead = DeadLetters(dead_letters)
        self.windows, self.order, self.counts = self._restored()
        self.ensemble = Ensemble.of(self.settings, state.last_checkpoint() or Ensemble(self.settings).state(), state.kept("calibration"))
        if self.ensemble.calibration and self.ensemble.episodes is None:  # decided after the last window of a history
            self.ensemble.open_for()
        self.stories = self._stories()
        self.evidence = Evidence(state, self.settings, self.reach)

    def offset(self, source: str) -> str | None:
        """Where to go on in a source."""
        return self.state.offset(source)

    @property
    def learning(self) -> bool:
        """Whether a history is still being read."""
        return self.state.kept("history") == "reading"

    def take(self, source: str, batch: Sequence[tuple[Event, str]]) -> None:
        """Count a batch and keep all that follows from it, or nothing. Raises KgrecError where that cannot be written."""
        if not batch:
            return
        with self.state.transaction():
            for events in self._turns(self._new(source, batch)):
                for event, story, found in self._scored(self._told(source, events)):
                    self._count(event, story, found)
            self.state.move(source, batch[-1][1])
            self.state.keep("now", {"windows": self.windows.state(), "order": self.order.state(), "counts": dict(self.counts)})

    def learned(self) -> None:
        """The end of the history: its windows after the warm-up decide the threshold. Raises KgrecError where they are too few."""
        with self.state.transaction():
            self._calibrate()
            self.state.keep("history", "read")

    # --- events -----------------------------------------------------------------------------------------------------------
    def _new(self, source: str, batch: Iterable[tuple[Event, str]]) -> list[Event]:
        """Events whose time is believed, without those that are known."""
        new: dict[str, Event] = {}
        for event, _ in batch:
            self.counts["read"] += 1
            if event.id in new or self.state.knows(event.id):
                self.counts["repeated"] += 1
                continue
            now, refused = self.order.add(event)
            for ahead in refused:
                self._refuse(source, ahead, "ahead", "it lies ahead of its time: none of the events after it comes near it")
            for one in now:
                new.setdefault(one.id, one)
        return list(new.values())

    def _turns(self, events: Sequence[Event]) -> Iterator[list[Event]]:
        """Events up to each that closes windows: these decide whose stories count from then on, however events come in batches."""
        turn, latest, now = [], self.windows.latest, self.settings
        for event in events:
            turn.append(event)
            later = event.time if latest is None else max(latest, event.time)
            if latest is not None and (later - now.lateness) // now.window > (latest - now.lateness) // now.window:
                yield turn
                turn = []
            latest = later
        if turn:
            yield turn

    def _told(self, source: str, events: Iterable[Event]) -> list[tuple[Event, Story, Scored | None]]:
        """Events that are in time, each with its story, and its scores where they are stored."""
        told, latest = [], self.windows.latest
        for event in events:
            try:
                found = stored(event, self.linker)
            except Refused as reason:
                self._refuse(source, event, "unscored", str(reason))
                continue
            if self.windows.late(event.time, latest):
                late = f"it comes more than {spelled(self.settings.lateness)} late: its window has closed"
                self._refuse(source, event, "late", late)
                continue
            latest = event.time if latest is None else max(latest, event.time)
            # A first telling by an outlet that does not count yet must not make copies of those that count.
            apart = self.ensemble.outlets.watched(event.outlet)
            story = Story(event.id, 0) if apart else self.stories.add(event.id, event.text[:COMPARED], event.time)
            told.append((event, story, found))
        return told

    def _scored(self, told: Sequence[tuple[Event, Story, Scored | None]]) -> Iterable[tuple[Event, Story, Scored | None]]:
        """With the model's scores; a story that was told before is not scored again, since it does not count again."""
        asked = [event for event, story, found in told if found is None and story.size <= 1]
        new = iter(self.score(asked) if asked else ())
        return [(event, story, next(new) if found is None and story.size <= 1 else found) for event, story, found in told]

    def _count(self, event: Event, story: Story, found: Scored | None) -> None:
        touches = self._touches(event, found) if found is not None and story.size <= 1 else ()
        self.counts["counted" if touches else "copies" if story.size > 1 else "of nobody"] += 1
        closed: list[Window] = []
        for series, weight, _, moods in touches:
            closed += self.windows.add(event.time, series, *moods, weight, event.outlet)
        closed += self.windows.advance(event.time)
        link = event.raw.get("link") or event.raw.get("url")
        self.state.add(
            Article(event.id, event.time, story.id, story.size, event.text[:COMPARED], str(link) if link else None, touches, event.outlet)
        )
        for start, group in groupby(closed, key=lambda window: window.start):
            self._close(start, list(group))

    def _touches(self, event: Event, found: Scored) -> tuple[Touch, ...]:
        """An article that mentions k companies counts 1/k for each; in no series more than once in all."""
        sums: dict[str, list[Any]] = {}
        for company, moods in found.companies.items():
            for series, weight in self.reach.of(company, event.time).items():
                now = sums.setdefault(series, [0.0, [0.0, 0.0, 0.0], {}])
                share = weight / len(found.companies)
                now[0] += share
                now[1] = [a + share * p for a, p in zip(now[1], moods, strict=True)]
                now[2][company] = now[2].get(company, 0.0) + share
        for topic, p in found.topics.items():
            if p > 0:
                sums[f"topic:{topic}"] = [p, [p * x for x in found.article], {topic: p}]
        touches = []
        for series, (weight, totals, via) in sums.items():
            moods = tuple(min(round(total / weight, 6), 1.0) for total in totals)
            touches.append(Touch(series, round(min(weight, 1.0), 6), max(via, key=via.__getitem__), moods))
        return tuple(touch for touch in touches if touch.weight > 0)

    def _refuse(self, source: str, event: Event, count: str, reason: str) -> None:
        self.counts[count] += 1
        self.dead.add(source, 0, reason, f"{event.id} {event.text}")

    # --- windows ----------------------------------------------------------------------------------------------------------
    def _close(self, start: int, windows: Sequence[Window]) -> None:
        judged = self.ensemble.update(windows)
        outlets = self.ensemble.outlets
        self.state.discount(start, start + self.settings.window, filter(outlets.watched, outlets.known))
        for change in (change for change in outlets.changes if change["at"] == start + self.settings.window):
            log.warning("%s: %s", shown(change["at"]), fed(change, self.settings.warmup))
        for one in judged:
            loud = one.level is not None and one.level >= one.threshold
            if self.ensemble.calibration is None or one.window.count or one.window.exposure != 1.0 or loud:
                self.state.add_window(one.window, one.scores, one.level)
        for one in judged:
            for change in one.changes:
                self._alarm(one, change)
        if any(change.what == "open" for one in judged for change in one.changes):
            self._promise(start + self.settings.window)
        warmup, history = self.settings.windows_before
        if self.ensemble.calibration is None and not self.learning and self.ensemble.count >= warmup + history:
            self._calibrate()
        self.state.checkpoint(start, self.ensemble.state(), self.settings.looked_back + 1)
        self.state.forget(start + self.settings.window - self.settings.keep)

    def _promise(self, now: int) -> None:
        """Say aloud when the promised rate is no longer kept, and when it is again."""
        found = met(self.state, now, self.ensemble.outlets.changes)
        if found and found["promise"] != (self.state.kept("promise") or "kept"):
            self.state.keep("promise", found["promise"])
            for line in told(found, shown):
                log.warning("%s", line)

    def _alarm(self, judged: Judged, change: Change) -> None:
        window = judged.window
        if change.what == "open":
            self.state.prove(change.id, self.evidence.of(window))
        touching = [] if change.what == "close" else list(self.state.articles(window.start, window.end, window.series))
        of = sorted(((t, a) for a in touching for t in a.touches if t.series == window.series), key=lambda pair: -pair[0].weight)
        articles = [
            {"id": a.id, "time": a.time, "text": a.text[:300], "link": a.link, "weight": t.weight, "via": t.via, "scores": list(t.moods)}
            for t, a in of[:SHOWN]
        ]
        body = alert(change, judged, self.names, judged.threshold, articles)
        self.state.alarm(body["key"], body)

    def _calibrate(self) -> None:
        rows = list(self.state.windows(self.settings.window))
        starts, names = sorted({w.start for w, *_ in rows}), sorted({w.series for w, *_ in rows})
        starts = starts[self.settings.windows_before[0] :]
        if len(starts) < 30:
            raise KgrecError(
                f"the history has {len(starts)} windows of {spelled(self.settings.window)} after a warm-up of "
                f"{spelled(self.settings.warmup)}; a threshold needs 30: give a longer --history, or smaller --window and --warmup"
            )
        place, column = ({x: i for i, x in enumerate(of)} for of in (starts, names))
        scores = np.full((len(starts), len(names), len(self.settings.detectors)), np.nan)
        stories = np.zeros(scores.shape[:2])
        for window, of, _ in rows:
            if window.start in place:
                scores[place[window.start], column[window.series]] = of
                stories[place[window.start], column[window.series]] = window.count
        a_day = np.cumsum(stories, 0)
        a_day[self.settings.windows_of_a_day :] -= np.cumsum(stories, 0)[: -self.settings.windows_of_a_day]
        few, candidates = a_day < self.settings.stories, 0.0
        if (~few).any(1).sum() >= 30:
            scores[few] = np.nan  # no alert could have come of these
            candidates = float((~few).sum(1).mean())
        self.state.keep("calibration", self.ensemble.calibrate(names, scores, candidates).state())
        self.state.keep("watching", starts[-1] + self.settings.window)

    # --- restart ----------------------------------------------------------------------------------------------------------
    def _check(self, model: str, history: bool) -> None:
        kept, now = Settings.of(self.state.kept("settings")).state(), self.settings.state()
        other = [f"{name} = {kept[name]}" for name in now if kept[name] != now[name]]
        if other:
            raise KgrecError(f"{self.state.file} was begun with {', '.join(other)}; leave these out, or begin another with --state")
        if self.state.kept("model") != model:
            was = self.state.kept("model") or "no run"
            raise KgrecError(f"{self.state.file} was begun with {was}, not {model or 'no run'}; name that --run, or another --state")
        if self.learning and not history:
            raise KgrecError(f"{self.state.file} has not read its history to the end; give the same --history again")

    def _restored(self) -> tuple[Windows, Order, Counter[str]]:
        now, of = self.state.kept("now"), self.settings
        if now is None:
            outage = max(of.outage // of.window, 1)
            return Windows(length=of.window, lateness=of.lateness, outage=outage), Order(of.leap), Counter()
        return Windows.of(now["windows"]), Order.of(now["order"]), Counter(now["counts"])

    def _stories(self) -> Stories:
        found = Stories(self.settings.merge, self.settings.story)
        if self.windows.latest is not None:
            now = self.settings
            for article in self.state.articles(self.windows.latest - now.story - now.lateness - now.window, 2**62):
                if article.size:
                    found.known(article.id, article.text, article.time, Story(article.story, article.size))
        return found
