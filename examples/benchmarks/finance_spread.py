"""What it brings that an event spreads to the sector and the suppliers, and what it costs.

    python examples/benchmarks/finance_spread.py [--seeds 5] [--small]

Stock tweets as in finance_days.py, daily windows per ticker and sector (the sectors of StockTable, the suppliers of the package's table
of companies), one burst detector, 1 episode a week asked for over all series, threshold from 2014-01-01..04-30. Spread: not at all, or
one step with weight 0.5. Cost, on the real days from 2014-05-01 on: news days told, false surges told, other episodes a week.
Gain, on injected news: a company's volume is 6 (or 20) times its usual on one day, its supplier's own only two days later, for three days;
days until the supplier's series opens an episode (5 = not within them), and the share that is told before its own news.
One JSON line last.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections import Counter, defaultdict
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
from arguments import stored
from finance_days import DAY, LAST, START, micros, read, stories
from kgrec_finance.articles.companies import COMPANY, graph_of, open_companies
from kgrec_finance.articles.sample import TWEETS_COMPANIES
from kgrec_finance.monitoring.ensemble import Ensemble
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.spread import Reach
from kgrec_finance.monitoring.windows import Window

DAYS, TIMES = 5, (6, 20)


def companies() -> pl.DataFrame:
    known = {row["id"]: row["suppliers"] for row in open_companies(TWEETS_COMPANIES).to_dicts()}
    with (stored("stocknet_tweets") / "StockTable").open(encoding="utf-8") as file:
        rows = [
            (r[0], r[1].strip().lstrip("$").replace(".", "-")) for r in csv.reader(file, delimiter="\t") if r[1].strip().startswith("$")
        ]
    ids = {ticker for _, ticker in rows}
    table = [(t, t, t, [], sector, [s for s in known.get(t) or [] if s in ids]) for sector, t in rows]
    return pl.DataFrame(table, schema=COMPANY, orient="row")


def volumes(until: str) -> dict[int, dict[str, float]]:
    """Start of a day -> ticker -> weight of its stories."""
    found: dict[int, dict[str, float]] = defaultdict(Counter)
    for row, weight in stories(read(until)):
        found[micros(row["date"])][row["ticker"]] += weight
    return found


def windows(days: dict[int, dict[str, float]], reach: Reach, ids: list[str]) -> list[list[Window]]:
    """One list a day: every series, silent or not."""
    every = sorted({series for id in ids for series in reach.of(id, 0)})
    found = []
    for start in range(min(days), max(days) + 1, DAY):
        sums: Counter[str] = Counter()
        for id, volume in days.get(start, {}).items():
            for series, weight in reach.of(id, start).items():
                sums[series] += weight * volume
        found.append([Window(name, start, DAY, round(sums[name]), sums[name], 0.0, sums[name], 0.0) for name in every])
    return found


def calibrated(past: list[list[Window]], hops: int) -> Ensemble:
    settings = Settings(detectors=("poisson-burst:volume",), cooldown=DAY, hops=hops)
    ensemble = Ensemble(settings)
    scores = [[judged.scores for judged in ensemble.update(of)] for of in past]
    ensemble.calibrate([window.series for window in past[0]], np.array(scores[28:]))
    return ensemble


def opened(ensemble: Ensemble, run: list[list[Window]]) -> list[tuple[str, int]]:
    """(series, start of the day) of every episode that opens."""
    found = []
    for of in run:
        found += [(j.window.series, j.window.start) for j in ensemble.update(of) for change in j.changes if change.what == "open"]
    return found


def injected(days: dict[int, dict[str, float]], customer: str, supplier: str, onset: int, usual: dict[str, float], times: int) -> dict:
    changed = {start: dict(of) for start, of in days.items()}
    for later, id in ((0, customer), *((later, supplier) for later in range(2, DAYS))):
        of = changed.setdefault(onset + later * DAY, {})
        of[id] = of.get(id, 0.0) + (times if later == 0 else TIMES[0]) * max(usual[id], 1.0)
    return changed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="injections per pair of companies")
    parser.add_argument("--small", action="store_true", help="until 2014-06-30, one injection per pair")
    asked = parser.parse_args()
    until, seeds, began = ("2014-06-30", 1, time.perf_counter()) if asked.small else (LAST, asked.seeds, time.perf_counter())
    table = companies()
    ids, pairs = table["id"].to_list(), [(row["id"], s) for row in table.to_dicts() for s in row["suppliers"]]
    days, first = volumes(until), micros(START)
    usual = {id: float(np.mean([of.get(id, 0.0) for start, of in days.items() if start < first])) for id in ids}
    with (stored("stocknet_tweets") / "events.csv").open(encoding="utf-8") as file:
        listed = {(e["ticker"], e["date"]): e["kind"] == "news" for e in csv.DictReader(file) if START <= e["date"] <= until}
    weeks = ((date.fromisoformat(until) - date.fromisoformat(START)).days + 1) / 7
    result: dict = {"benchmark": "finance_spread", "companies": len(ids), "pairs": len(pairs), "of_news": sum(listed.values())}
    for hops in (0, 1):
        reach = Reach(graph_of(table), 0.5, hops)
        past = windows({start: of for start, of in days.items() if start < first}, reach, ids)
        ensemble = calibrated(past, hops)
        state, calibration = ensemble.state(), ensemble.calibration.state()
        found = opened(ensemble, windows({start: of for start, of in days.items() if start >= first}, reach, ids))
        own = {(s.partition(":")[2], datetime.fromtimestamp(t / 1e6, UTC).date().isoformat()) for s, t in found if s.startswith("company:")}
        delays: dict[int, list[int]] = {}
        for times in TIMES:
            draw, delays[times] = np.random.default_rng(0), []
            for customer, supplier in pairs * seeds:
                onset = first + int(draw.integers(2, min(int(weeks * 7), 40) - DAYS)) * DAY
                changed = injected(days, customer, supplier, onset, usual, times)
                run = {start: of for start, of in changed.items() if first <= start < onset + DAYS * DAY}
                told = opened(Ensemble.of(ensemble.settings, state, calibration), windows({first: {}, **run}, reach, ids))
                at = [(start - onset) // DAY for series, start in told if series == f"company:{supplier}" and start >= onset]
                delays[times].append(min(at, default=DAYS))
        result[f"hops_{hops}"] = {
            "hits": sum(key in own for key, news in listed.items() if news),
            "false": sum(key in own for key, news in listed.items() if not news),
            "unlisted_a_week": round(len(own - listed.keys()) / weeks, 3),
            "sector_episodes_a_week": round(sum(s.startswith("sector:") for s, _ in found) / weeks, 3),
            "calibrated_low": round(ensemble.calibration.low, 3),
            "calibrated_high": round(ensemble.calibration.high, 3),
            **{f"delay_days_x{times}": round(float(np.mean(of)), 2) for times, of in delays.items()},
            **{f"told_early_x{times}": round(float(np.mean(np.array(of) < 2)), 3) for times, of in delays.items()},
        }
    print(json.dumps(result | {"seconds": round(time.perf_counter() - began, 1)}))


if __name__ == "__main__":
    main()
