"""Is one false episode a week kept when the feed itself changes: outlets come, go, or double?

    python examples/benchmarks/finance_level.py [--seeds 20] [--first 0] [--without-outlets] [--small]

Stock tweets about 40 names, the first of every story, their sentiment by TF-IDF + logistic regression fitted on sentfin's headlines, in
the whole monitor with its default settings. Every story is told by one of nine outlets, each with a mix of names of its own. A seed draws
days of the same weekday anew, so that learning (14 weeks) and watching (12 weeks) are of one kind. After four weeks of watching nothing
happens (stable); three outlets come that tell 43 % more; the largest goes, which told 43 % of the feed; or it doubles. From two weeks
after that, six names get a change for five days: volume x5, x10, or 80 % of the stories negative, each told by whoever tells the name.
`learning`: stable, but eight such changes fall into the weeks of learning; what is missed of the later ones is compared.
False: an episode that opens after the change of the feed where nothing is made to happen; those that open far above what chance gives
are counted beside, since the drawn days have true events of their own, which history sets apart in the same way. Delay: days until a
change is told, 5 where it is not. Taken back: how many monitors withdraw their promise, by all that they saw since the learning.
One JSON line last; asked: 1 inside the interval of the false episodes a week, mean delay <= 1.2 x that of the stable feed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from finance_days import DAY, LAST, RETWEET, micros, read, stories
from finance_detector import sentiment
from kgrec_finance.feeds.events import Reader
from kgrec_finance.monitoring.monitor import Monitor
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import State
from kgrec_finance.monitoring.status import reviewed

NAMES, LARGEST = 40, 4  # names watched, after leaving out the largest, which are tweeted about all day
LEARN, BEFORE, AFTER = 14 * 7, 4 * 7, 8 * 7  # days
SHARES = np.array([0.3, 0.15, 0.1, 0.06, 0.05, 0.04, 0.1, 0.1, 0.1])  # of the outlets; the last three are added
ADDED, BIG, LONGEST = (6, 7, 8), 0, 5
KINDS = {"volume x5": 5.0, "volume x10": 10.0, "negative 80 %": 0.8}
FEEDS = ("stable", "added", "dropped", "doubled", "learning")
START = micros("2015-01-05")  # a Monday


class Told(NamedTuple):
    """A story of a day: second, text, P(negative, neutral, positive), outlet."""

    at: int
    text: str
    moods: tuple[float, ...]
    outlet: int


class Change(NamedTuple):
    kind: str
    name: str
    day: int


def background(until: str) -> tuple[list[dict[str, list[Told]]], np.ndarray, list[tuple[float, ...]]]:
    """Per real day name -> its stories; (days,) weekdays; moods of negative headlines."""
    kept = [row for row, _ in stories(read(until))]
    seen, first = set(), []
    for row in kept:
        key = (row["ticker"], " ".join(RETWEET.sub(" ", row["text"]).lower().split())[:60])
        if key not in seen:
            seen.add(key)
            first.append(row)
    score, negatives = sentiment()
    moods = score([row["text"] for row in first])
    size = defaultdict(int)
    for row in first:
        size[row["ticker"]] += 1
    names = sorted(size, key=lambda name: -size[name])[LARGEST : LARGEST + NAMES]
    tilt = np.random.default_rng(0).lognormal(sigma=0.7, size=(len(names), len(SHARES))) * SHARES
    tilt /= tilt.sum(1, keepdims=True)
    begin, place = date(2014, 1, 1), {name: i for i, name in enumerate(names)}
    days: list[dict[str, list[Told]]] = [defaultdict(list) for _ in range((date.fromisoformat(until) - begin).days + 1)]
    for row, p in zip(first, moods, strict=True):
        day = (date.fromisoformat(row["date"]) - begin).days
        if row["ticker"] in place and day >= 0:
            draw = int.from_bytes(blake2b(row["id"].encode(), digest_size=4).digest()) / 2**32
            outlet = int(np.searchsorted(np.cumsum(tilt[place[row["ticker"]]]), draw))
            at = micros(row["created_at"]) // 1_000_000 % 86_400
            days[day][row["ticker"]].append(Told(at, row["text"], tuple(float(x) for x in p), min(outlet, len(SHARES) - 1)))
    return days, (np.arange(len(days)) + begin.weekday()) % 7, [tuple(float(x) for x in p) for p in negatives]


def changes(usual: dict[str, float], days: range, count: int, draw: np.random.Generator) -> list[Change]:
    """On the third of the names that is told of most, one at most on each."""
    large = sorted(usual, key=lambda name: -usual[name])[: len(usual) // 3]
    names = draw.choice(large, count, replace=False)
    kinds = list(KINDS) * count
    return [Change(kinds[i], str(name), int(draw.integers(days.start, days.stop - LONGEST))) for i, name in enumerate(names)]


def days_of(feed: str, days: list, weekdays: np.ndarray, usual: dict[str, float], negatives: list, made: list[Change], seed: int):
    """Per day (name, Told) of a feed. Draws of the days and of the changes are the same for every feed."""
    draw = np.random.default_rng([seed, 1])
    switch = LEARN + BEFORE
    for day in range(LEARN + BEFORE + AFTER):
        one, two = (days[draw.choice(np.flatnonzero(weekdays == day % 7))] for _ in (0, 1))
        alive = [o for o in range(len(SHARES)) if o not in ADDED or (feed == "added" and day >= switch)]
        alive = [o for o in alive if not (feed == "dropped" and o == BIG and day >= switch)]
        found = [(name, told) for name, of in one.items() for told in of if told.outlet in alive]
        if feed == "doubled" and day >= switch:
            found += [(name, told) for name, of in two.items() for told in of if told.outlet == BIG]
        for number, change in enumerate(made):
            if change.day <= day < change.day + LONGEST:
                found = list(changed(found, change, day, usual, negatives, np.random.default_rng([seed, 2, number, day])))
        yield sorted(found, key=lambda pair: pair[1].at)


def changed(found: list, change: Change, day: int, usual: dict[str, float], negatives: list, draw: np.random.Generator) -> Iterator:
    """The day's stories with the change: more of them as its outlets tell, or other sentiments."""
    mine, size = [told for name, told in found if name == change.name], KINDS[change.kind]
    for name, told in found:
        if name == change.name and size < 1 and draw.random() < size:
            told = told._replace(moods=negatives[draw.integers(len(negatives))])
        yield name, told
    if size > 1 and mine:
        for n in range(draw.poisson((size - 1) * usual[change.name])):
            like = mine[draw.integers(len(mine))]
            words = " ".join(map(str, draw.integers(0, 10**6, 8)))
            yield change.name, like._replace(at=int(draw.integers(86_400)), text=f"{change.name} {day} {n} {words}")


def watched(feed: list[list[tuple[str, Told]]], first: int, outlets: bool, file: Path) -> tuple[list[dict], dict[str, Any]]:
    """Alerts of the monitor with this state, and its status, after the days of a feed from the first on."""
    reader = Reader(now=lambda: START + 400 * DAY)
    with State(file, write=True) as state:
        monitor = Monitor(state, Settings())
        for day, told in enumerate(feed, first):
            batch = []
            for number, (name, one) in enumerate(told):
                scores = {"companies": {name: one.moods}}
                fields = {"id": f"{day}-{number}", "time": (START + day * DAY) // 1_000_000 + one.at, "text": one.text, "scores": scores}
                event = reader.event(fields | ({"source": f"outlet {one.outlet}"} if outlets else {}))
                batch.append((event, json.dumps({"at": day})))
            monitor.take("feed", batch)
        return [alert.body for alert in state.alerts()], reviewed(state, START / 1e6)


def one_seed(seed: int, known: tuple, outlets: bool, feeds: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    days, weekdays, negatives = known
    base = [o for o in range(len(SHARES)) if o not in ADDED]
    usual = {
        name: sum(told.outlet in base for of in days for told in of.get(name, ())) / len(days)
        for name in sorted({n for d in days for n in d})
    }
    switch, found = LEARN + BEFORE, {}
    later = changes(usual, range(switch + 14, switch + AFTER), 6, np.random.default_rng([seed, 3]))
    early = changes(usual, range(28, LEARN), 8, np.random.default_rng([seed, 4]))
    folder = tempfile.TemporaryDirectory()
    begun = Path(folder.name) / "begun.sqlite"  # up to the change all feeds are the stable one
    watched(list(days_of("stable", days, weekdays, usual, negatives, [], seed))[:switch], 0, outlets, begun)
    for feed in feeds:
        early_ones = early if feed == "learning" else []
        parts = {}
        for name, made in (("calm", early_ones), ("eventful", later + early_ones)):
            told, file, first = list(days_of(feed, days, weekdays, usual, negatives, made, seed)), Path(folder.name) / f"{feed} {name}", 0
            if feed != "learning":
                told, first = told[switch:], switch
                shutil.copy(begun, file)
            alerts, status = watched(told, first, outlets, file)
            parts[name] = [a | {"day": (a["window"]["start"] - START) // DAY} for a in alerts if a["what"] == "open"], status
        (calm, status), (eventful, _) = parts["calm"], parts["eventful"]
        days_told = {(a["day"], a["series"]) for a in eventful}
        waits = []
        for change in later:
            told_on = [day for day, series in days_told if series == f"company:{change.name}" and 0 <= day - change.day < LONGEST]
            waits.append((change.kind, min(told_on, default=change.day + LONGEST - 1) + 1 - change.day, bool(told_on)))
        span = status["met"]["spans"][0] if status["met"] else {"low": 0.0, "high": 0.0}
        found[feed] = {
            "false": sum(a["day"] >= switch and not a["far"] for a in calm), "before": sum(LEARN <= a["day"] < switch and not a["far"] for a in calm),
            "far": sum(a["day"] >= switch and a["far"] for a in calm), "waits": waits,
            "stories": min([a["window"]["count"] for a in calm + eventful], default=0),
            "holds": span["low"] <= 1 <= span["high"], "withdrawn": bool(status["met"]) and status["met"]["promise"] == "withdrawn",
            "apart": status["calibration"]["apart"] if status["calibration"] else 0,
        }  # fmt: skip
    folder.cleanup()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--without-outlets", action="store_true", help="the feed does not say who tells a story")
    parser.add_argument("--feeds", nargs="+", choices=FEEDS, default=list(FEEDS))
    parser.add_argument("--small", action="store_true", help="one seed of stable and added, of tweets until 2014-03-31")
    asked = parser.parse_args()
    feeds, seeds = (FEEDS[:2], 1) if asked.small else (tuple(asked.feeds), asked.seeds)
    began, known, each = time.perf_counter(), background("2014-03-31" if asked.small else LAST), []
    for seed in range(asked.first, asked.first + seeds):
        each.append(one_seed(seed, known, not asked.without_outlets, feeds))
        said = {feed: (of["false"], of["far"], round(float(np.mean([w for _, w, _ in of["waits"]])), 2)) for feed, of in each[-1].items()}
        print(seed, said, f"{time.perf_counter() - began:.0f} s", flush=True)
    result = {"benchmark": "finance_level", "seeds": seeds, "outlets": int(not asked.without_outlets), "feeds": {}}
    for feed in feeds:
        rates = np.array([of[feed]["false"] for of in each]) / (AFTER / 7)
        low, high = np.quantile(np.random.default_rng(0).choice(rates, (10_000, len(rates))).mean(1), [0.025, 0.975])
        waits = [one for of in each for one in of[feed]["waits"]]
        result["feeds"][feed] = {
            "false_a_week": round(float(rates.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3),
            "far_above_chance": round(float(np.mean([of[feed]["far"] for of in each])) / (AFTER / 7), 3),
            "before_the_change": round(float(np.mean([of[feed]["before"] for of in each])) / (BEFORE / 7), 3),
            "mean_days": round(float(np.mean([days for _, days, _ in waits])), 3),
            "told": round(float(np.mean([told for *_, told in waits])), 3),
            **{kind: round(float(np.mean([days for of, days, _ in waits if of == kind])), 3) for kind in KINDS},
            "fewest_stories": min(of[feed]["stories"] for of in each),
            "status_holds_1": sum(of[feed]["holds"] for of in each), "withdrawn": sum(of[feed]["withdrawn"] for of in each),
            "taken_for_events": round(float(np.mean([of[feed]["apart"] for of in each])), 2),
        }  # fmt: skip
    stable = result["feeds"].get("stable")
    if stable:
        result["delay_ratio"] = {feed: round(of["mean_days"] / stable["mean_days"], 3) for feed, of in result["feeds"].items()}
    print(json.dumps(result | {"seconds": round(time.perf_counter() - began)}))


if __name__ == "__main__":
    main()
