"""Real days: which of 16 news days and 6 false surges in stock tweets open an episode, and how many unlisted days do.

    python examples/benchmarks/finance_days.py [--rate 0.5] [--small]

Daily windows per ticker by the tweets' own `date`; detectors and threshold see 2014-01-01..04-30, the run starts on 2014-05-01. A tweet
is evidence for a ticker if it names it as a cashtag of its own ("$D", not "L$D"), counts 1/k where it lists k tickers, and only the
n-th copy of a story counts 1/n, as the j-th tweet of an author on a day 1/j (harmonic: 500 copies are worth 7). News days are single
windows here, so the burst detector looks at one; the stated rate is half of the one asked for, since four months leave an interval of
about a factor of two around it. All that was chosen on the months of calibration. `plain` is the peers' rule: 28-day median and deviation, z >= 6, no merging.
One JSON line last; asked: 13 of 16 news days, at most 1 of 6 surges, at most 1 unlisted episode a week over all tickers.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import numpy as np
from arguments import stored
from kgrec_finance.monitoring.detectors import Detector, PoissonBurst
from kgrec_finance.monitoring.episodes import Episodes
from kgrec_finance.monitoring.threshold import calibrate
from kgrec_finance.monitoring.windows import Window, Windows

from kgrec_core import DAY
from kgrec_core.parts import Recent

START, LAST = "2014-05-01", "2016-03-31"
WARM, COOLDOWN, MEMORY = 28, 1, 28  # days; a day without an alarm ends an episode
CASHTAG = re.compile(r"(?<![\w$&])\$([A-Za-z]{1,5}(?:[.-][A-Za-z])?)(?![\w$])")
RETWEET = re.compile(r"\b(?:RT|MT|via)\b|@\w+:?")


def micros(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp() * 1e6)


def read(until: str) -> list[dict]:
    with gzip.open(stored("stocknet_tweets") / "tweets.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for line in lines if (row := json.loads(line))["date"] <= until]
    return sorted(rows, key=lambda row: (row["date"], row["created_at"], row["id"], row["ticker"]))


def stories(rows: Iterable[dict]) -> Iterator[tuple[dict, float]]:
    """Tweets about their ticker with their weight: a story's n-th copy 1/n, an author's j-th tweet of a day 1/j, a list of k tickers 1/k."""
    recent, root, copies, tweets = Recent(0.6, 3 * DAY), {}, Counter(), Counter()
    for row in rows:
        named = {name.upper().replace(".", "-") for name in CASHTAG.findall(row["text"])}
        if row["ticker"] not in named:
            continue
        if row["id"] not in root:  # the same tweet stands under several tickers
            like = recent.add(row["id"], RETWEET.sub(" ", row["text"]), micros(row["created_at"]))
            root[row["id"]] = root.get(like, row["id"])
        story, author = (row["ticker"], root[row["id"]]), (row["ticker"], row["date"], row["user"])
        copies[story] += 1
        tweets[author] += 1
        yield row, 1 / (copies[story] * tweets[author] * len(named))


def closed(rows: Iterable[dict], tickers: Iterable[str]) -> list[Window]:
    windows = Windows(length=DAY, series=tuple(tickers))
    out = [w for row, weight in stories(rows) for w in windows.add(micros(row["date"]), row["ticker"], 0, 1, 0, weight)]
    return out + windows.flush()


def scored(windows: list[Window], detector: Detector) -> tuple[list[int], list[str], np.ndarray]:
    """Starts of the windows, the series, (windows, series) scores."""
    starts, names = sorted({w.start for w in windows}), sorted({w.series for w in windows})
    row, column = ({x: i for i, x in enumerate(of)} for of in (starts, names))
    scores = np.full((len(starts), len(names)), np.nan)
    for w in windows:
        scores[row[w.start], column[w.series]] = detector.update(w)
    return starts, names, scores


def episodes(windows: list[Window], rate: float) -> tuple[set[tuple[str, str]], dict]:
    """(ticker, day) on which an episode opens, from START on, and what the calibration says."""
    detector = PoissonBurst(memory=MEMORY, spans=(1,))
    starts, names, scores = scored(windows, detector)
    begin = starts.index(micros(START))
    known = calibrate({detector.name: scores[WARM:begin]}, length=DAY, cooldown=COOLDOWN * DAY, rate=rate)
    machine, found = Episodes(threshold=known.threshold, cooldown=COOLDOWN * DAY), set()
    for start, of in zip(starts, scores, strict=True):
        for name, score in zip(names, of, strict=True):
            changes = machine.update(name, start + DAY, {detector.name: known.level(detector.name, score)})
            if start >= micros(START) and any(change.what == "open" for change in changes):
                found.add((name, datetime.fromtimestamp(start / 1e6, UTC).date().isoformat()))
    calibration = {"low": known.low, "high": known.high, "weeks": known.weeks, "episodes": known.episodes, "enough": int(known.enough)}
    return found, calibration


def plain(rows: list[dict], until: str, least: float = 6.0) -> set[tuple[str, str]]:
    """Days with (tweets - median) / deviation of the 28 days before at `least` or above, that follow a day without."""
    counts, first = Counter((row["ticker"], row["date"]) for row in rows), date.fromisoformat("2014-01-01")
    days = [(first + timedelta(days=i)).isoformat() for i in range((date.fromisoformat(until) - first).days + 1)]
    found = set()
    for ticker in {row["ticker"] for row in rows}:
        series = np.array([counts[ticker, day] for day in days], float)
        past = np.lib.stride_tricks.sliding_window_view(series, WARM)[:-1]
        high = (series[WARM:] - np.median(past, 1)) / np.maximum(past.std(1), 1) >= least
        found |= {(ticker, days[WARM + i]) for i in np.flatnonzero(high & ~np.concatenate([[False], high[:-1]])) if days[WARM + i] >= START}
    return found


def judged(found: set[tuple[str, str]], events: list[dict], until: str) -> dict:
    listed = {(event["ticker"], event["date"]): event["kind"] == "news" for event in events}
    weeks = ((date.fromisoformat(until) - date.fromisoformat(START)).days + 1) / 7
    counts = {"hits": sum(key in found for key, news in listed.items() if news), "of_news": sum(listed.values())}
    counts |= {"false": sum(key in found for key, news in listed.items() if not news), "of_false": len(listed) - sum(listed.values())}
    return counts | {"unlisted_a_week": round(len(found - listed.keys()) / weeks, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=0.5, help="stated false episodes a week over all tickers")
    parser.add_argument("--list", action="store_true", help="print the days on which episodes open")
    parser.add_argument("--small", action="store_true", help="until 2014-05-31")
    asked = parser.parse_args()
    until, began = "2014-05-31" if asked.small else LAST, time.perf_counter()
    with (stored("stocknet_tweets") / "events.csv").open(encoding="utf-8") as file:
        events = [event for event in csv.DictReader(file) if START <= event["date"] <= until]
    with (stored("stocknet_tweets") / "StockTable").open(encoding="utf-8") as file:
        tickers = [
            row[1].strip().lstrip("$").replace(".", "-") for row in csv.reader(file, delimiter="\t") if row[1].strip().startswith("$")
        ]
    rows = read(until)
    found, calibration = episodes(closed(rows, tickers), asked.rate)
    if asked.list:
        print(*(f"{day} {ticker}" for ticker, day in sorted(found, key=lambda f: f[1])), sep="\n")
    result = {"benchmark": "finance_days", "rate": asked.rate, "tickers": len(tickers), **judged(found, events, until)}
    result |= {"calibration": {key: round(value, 3) for key, value in calibration.items()}}
    result |= {"plain": judged(plain(rows, until), events, until), "seconds": round(time.perf_counter() - began, 1)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
