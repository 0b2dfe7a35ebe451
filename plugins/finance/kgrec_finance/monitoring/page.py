"""`report`: a monitor as one self-contained HTML page: the series over time, where it alarmed, and the articles of each alert on click.

Nothing is loaded from anywhere and nothing runs: a click follows a link within the page. What comes from feeds is escaped.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from kgrec_core.domain import STYLE, output, ticks
from kgrec_core.domain import render as figures
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.status import reviewed, told
from kgrec_finance.monitoring.stored import Stored, episodes
from kgrec_finance.monitoring.windows import Window
from kgrec_finance.monitoring.wording import shown

SERIES, WINDOWS, ARTICLES = 60, 1500, 100  # on a page: series, windows of each, articles of an alert
LEFT, WIDTH, TOP, TALL, SHARE = 48, 900, 10, 110, 46  # of a plot: volume above, negative share below
MORE = """
.articles { display: none; border-left: 3px solid var(--c1); padding-left: 1rem; margin: .5rem 0 1rem; } .articles:target { display: block; }
.volume { fill: none; stroke: var(--c0); stroke-width: 1.3; } .share { fill: none; stroke: var(--c3); stroke-width: 1.3; }
.episode { fill: var(--c1); opacity: .15; } .mark { fill: var(--c1); } .high .mark { fill: #dc2626; } pre { white-space: pre-wrap; }
"""


@dataclass(frozen=True, kw_only=True)
class Report(Stored):
    """Write a self-contained HTML page: each company's windows over time, alerts marked, their articles on click.

    Of a run without a monitor: its figures.

    out: the page [STATE.html, report.html in the run].
    allow: a part from a file that may be executed.

    Example: kgrec finance report --run runs/news --out monitor.html
    """

    out: Path | None = None
    allow: tuple[str, ...] = field(default=(), metadata={"repeat": True, "metavar": "FILE:PART"})


def report(run: None, request: Report, progress: object = None) -> Path:
    """The page's file. Raises KgrecError where it cannot be written."""
    file = request.file
    if request.state is None and not file.exists():
        from kgrec_core import open_run

        page, out = figures(open_run(request.run, request.allow)), request.out or request.run / "report.html"
    else:
        with request.opened() as state:
            page, out = render(state, time.time(), f"Monitor {file.stem}"), request.out or file.with_suffix(".html")
    with output(out) as place:
        place.write_text(page, encoding="utf-8")
    return out


def path(out: Path, request: Report) -> str:
    return str(out)


def render(state: State, now: float, title: str) -> str:
    """The page. now: unix seconds. Series with alerts come first, then the largest."""
    settings, found = Settings.of(state.kept("settings") or {}), episodes(state)
    length = settings.window
    latest = max((window.start for window, *_ in state.windows(length)), default=0)
    rows: dict[str, list[Window]] = {}
    for window, *_ in state.windows(length, latest - (WINDOWS - 1) * length):
        rows.setdefault(window.series, []).append(window)
    alarmed = {changes[-1]["series"] for changes in found}
    order = sorted(rows, key=lambda name: (name not in alarmed, -sum(w.volume for w in rows[name]), name))[:SERIES]
    body = [f"<h1>{escape(title)}</h1>", f"<pre>{escape(told(reviewed(state, now)))}</pre>"]
    if len(order) < len(rows):
        body.append(f"<p>{len(order)} of {len(rows):,} series: those with alerts, then the largest.</p>")
    span = (min((w.start for of in rows.values() for w in of), default=0), latest + length)
    for name in order:
        mine = [changes for changes in found if changes[-1]["series"] == name]
        body.append(f"<h2>{escape(mine[0][0]['title'] if mine else name.replace(':', ' ', 1))}</h2>")
        body.append(plot(_filled(rows[name], span), mine, span))
        body += [_episode(state, changes) for changes in mine]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{STYLE}{MORE}</style>'
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def plot(windows: Sequence[Window], found: Sequence[Sequence[dict[str, Any]]], span: tuple[int, int]) -> str:
    """Volume and negative share of one series' windows over [span), its episodes shaded, their openings marked; a mark is a link."""
    marks = ticks(0.0, max((w.volume for w in windows), default=1.0) or 1.0, 3)
    across = lambda time: LEFT + (time - span[0]) / max(span[1] - span[0], 1) * (WIDTH - LEFT - 10)  # noqa: E731
    up = lambda volume: TOP + TALL * (1 - volume / marks[-1])  # noqa: E731
    low = TOP + TALL + 16  # of the share's band
    share = lambda p: low + SHARE * (1 - p)  # noqa: E731
    body = []
    for mark in marks:
        body.append(f'<line x1="{LEFT}" y1="{up(mark):.1f}" x2="{WIDTH - 10}" y2="{up(mark):.1f}" class="grid"/>')
        body.append(f'<text x="{LEFT - 6}" y="{up(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>')
    for p in (0, 1):
        body.append(f'<line x1="{LEFT}" y1="{share(p)}" x2="{WIDTH - 10}" y2="{share(p)}" class="grid"/>')
        body.append(f'<text x="{LEFT - 6}" y="{share(p) + 4}" text-anchor="end">{p:.0%}</text>')
    for part in range(5):
        at = span[0] + (span[1] - span[0]) * part // 4
        anchor = "start" if part == 0 else "end" if part == 4 else "middle"
        body.append(f'<text x="{across(at):.1f}" y="{low + SHARE + 18}" text-anchor="{anchor}">{escape(shown(at)[:10])}</text>')
    for changes in found:
        first, last = changes[0], changes[-1]
        begin, end = across(first["window"]["start"]), across(last["last"] if last["what"] == "close" else span[1])
        body.append(f'<rect x="{begin:.1f}" y="{TOP}" width="{max(end - begin, 2):.1f}" height="{TALL}" class="episode"/>')
    line = " ".join(f"{across(w.start + w.length / 2):.1f},{up(w.volume):.1f}" for w in windows)
    body.append(f'<polyline points="{line}" class="volume"><title>volume per window</title></polyline>')
    line = " ".join(f"{across(w.start + w.length / 2):.1f},{share(w.negative_share):.1f}" for w in windows if w.volume)
    body.append(f'<polyline points="{line}" class="share"><title>negative share</title></polyline>')
    for changes in found:
        first = changes[0]
        x, y = across(first["window"]["start"] + first["window"]["length"] / 2), up(min(first["window"]["volume"], marks[-1]))
        body.append(
            f'<a href="#a-{escape(first["episode"])}" class="{escape(changes[-1]["severity"])}"><circle cx="{x:.1f}" cy="{y:.1f}" r="6" '
            f'class="mark"/><title>{escape(first["sentence"])}</title></a>'
        )
    label = f"volume and negative share of {len(windows)} windows, {len(found)} alerts"
    return f'<svg viewBox="0 0 {WIDTH} {low + SHARE + 26}" role="img" aria-label="{label}">{"".join(body)}</svg>'


def _filled(windows: Sequence[Window], span: tuple[int, int]) -> list[Window]:
    """With the silent windows that the state leaves out, from the series' first one on."""
    known, length, name = {w.start: w for w in windows}, windows[0].length, windows[0].series
    return [known.get(start) or Window(name, start, length) for start in range(windows[0].start, span[1], length)]


def _episode(state: State, changes: Sequence[dict[str, Any]]) -> str:
    first, last = changes[0], changes[-1]
    until = f"until {shown(last['last'])}" if last["what"] == "close" else "still open"
    said = f"{shown(first['opened'])}, {until}, {last['severity']}: {first['sentence']}"
    id, window = escape(first["episode"]), first["window"]
    articles = list(state.articles(window["start"], window["start"] + window["length"], first["series"]))
    of = [(article, touch) for article in articles for touch in article.touches if touch.series == first["series"]]
    of.sort(key=lambda pair: -pair[1].weight)
    items = "".join(
        f"<li>{escape(shown(article.time))} {_linked(article.text, article.link)} <small>counts {touch.weight:.2g}, "
        f"negative {touch.moods[0]:.0%}</small></li>"
        for article, touch in of[:ARTICLES]
    )
    more = f"<p>and {len(of) - ARTICLES:,} more</p>" if len(of) > ARTICLES else ""
    missing = "" if of else "<p>Its articles are no longer kept.</p>"
    told_by = escape(", ".join(last["detectors"]))
    return (
        f'<p><a href="#a-{id}">{escape(said)}</a></p><div class="articles" id="a-{id}"><p>alert {id}, told by {told_by}; level '
        f"{first['level']:.2f}, threshold {first['threshold']:.2f}</p><ul>{items}</ul>{more}{missing}</div>"
    )


def _linked(text: str, link: str | None) -> str:
    short = escape(text[:400])
    if link is None or not link.startswith(("http://", "https://")):
        return short
    return f'<a href="{escape(link)}" rel="noreferrer">{short}</a>'
