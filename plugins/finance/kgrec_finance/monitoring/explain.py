"""Why an alert: the fewest stories without which it would not have been, the ways they came, and what was other than usual.

The question is put to the detectors themselves: their state before each of the last windows is kept with the alert, so they are run
again on these windows without some stories (a counterfactual explanation: Wachter, Mittelstadt & Russell 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from kgrec_core.errors import KgrecError
from kgrec_finance.monitoring.detectors import Detector
from kgrec_finance.monitoring.ensemble import Ensemble
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import Article, State, Touch
from kgrec_finance.monitoring.windows import Window
from kgrec_finance.monitoring.wording import changed, shown

PAIRS = 60  # stories up to which all pairs are tried
NEIGHBOURS, CORPUS, BEFORE = 3, 20_000, 28  # per story; articles that are looked through; windows that say what is usual


class Counted(NamedTuple):
    """A story's first article as a series counted it, in the window of this number."""

    article: Article
    touch: Touch
    window: int


class Again:
    """The last windows of an alert's series, to be run again without some of what they counted."""

    def __init__(self, settings: Settings, ensemble: Ensemble, evidence: Sequence[dict[str, Any]]) -> None:
        self.settings, self.ensemble = settings, ensemble
        self.windows = [Window(*of["window"]) for of in evidence]
        # Two of each: one to run, one to begin anew from. What they share is set for their own window and stays.
        self._own, self._kept = ([{name: Detector.of(d) for name, d in of["detectors"].items()} for of in evidence] for _ in (0, 1))

    def level(self, removed: Collection[Counted] = ()) -> float:
        """The level of the last window; removed: what is not counted."""
        first, series, scores = min((one.window for one in removed), default=0), self.windows[-1].series, (0.0,)
        before = self._kept[first]
        for window, own, number in zip(self.windows[first:], self._own[first:], range(first, len(self.windows)), strict=True):
            for name, detector in own.items():
                detector.moved(series, before[name])
            now = without(window, [one.touch for one in removed if one.window == number])
            scores, before = tuple(detector.update(now) for detector in own.values()), own
        return max(self.ensemble.levels(self.windows[-1], scores).values())


def without(window: Window, touches: Sequence[Touch]) -> Window:
    volume, *sums = window.volume, window.negative, window.neutral, window.positive
    for touch in touches:
        volume -= touch.weight
        sums = [total - touch.weight * p for total, p in zip(sums, touch.moods, strict=True)]
    return window._replace(
        count=window.count - len(touches),
        volume=round(max(volume, 0.0), 9),
        negative=round(max(sums[0], 0.0), 9),
        neutral=round(max(sums[1], 0.0), 9),
        positive=round(max(sums[2], 0.0), 9),
    )


def smallest(counted: Sequence[Counted], level: Callable[[Collection[Counted]], float], threshold: float) -> tuple[list[Counted], bool]:
    """(the fewest that have to go for the level to fall below the threshold, whether fewer were ruled out); nothing where all together
    do not silence it.

    One and (of up to PAIRS) two are tried in all combinations. More are found by leaving out those that matter most alone, as many as
    it takes, then taking back each that is not needed: no proper part of the answer silences the alert.
    """
    alone = {one: level([one]) for one in counted}
    order = sorted(counted, key=lambda one: alone[one])
    if order and alone[order[0]] < threshold:
        return [order[0]], True
    if len(counted) <= PAIRS:
        best = min(combinations(order, 2), key=level, default=None)
        if best is not None and level(best) < threshold:
            return list(best), True
    if level(order) >= threshold:
        return [], True
    low, high = 1, len(order)  # `low` are too few, `high` are enough
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if level(order[:middle]) < threshold else (middle, high)
    found = order[:high]
    for one in reversed(order[:high]):
        rest = [other for other in found if other is not one]
        if level(rest) < threshold:
            found = rest
    return found, len(found) <= 2 or (len(found) == 3 and len(counted) <= PAIRS)


def explain(state: State, alert: str) -> dict[str, Any]:
    """alert: the id of an episode, or the beginning of it. Values for JSON. Raises KgrecError where it is unknown or no longer kept."""
    changes = [one.body for one in state.alerts(episode=alert.partition("-")[0])]
    ids = list(dict.fromkeys(body["episode"] for body in changes))
    if len(ids) != 1:
        latest = ", ".join(dict.fromkeys(one.body["episode"] for one in state.alerts()[-5:])) or "none"
        raise KgrecError(f'{len(ids) or "no"} alerts of {state.file.name} begin with "{alert}"; the latest: {latest}')
    opened, proof = changes[0], state.proof(ids[0])
    if opened["what"] != "open" or proof is None:
        raise KgrecError(f"alert {ids[0]} is older than what {state.file.name} keeps; a longer --keep keeps more")
    settings = Settings.of(state.kept("settings"))
    ensemble = Ensemble.of(settings, Ensemble(settings).state(), state.kept("calibration"))
    again, series = Again(settings, ensemble, proof["windows"]), opened["series"]
    counted = [
        Counted(article, touch, number)
        for number, window in enumerate(again.windows)
        for article in state.articles(window.start, window.end, series)
        for touch in article.touches
        if touch.series == series
    ]
    found, least = smallest(counted, again.level, opened["threshold"])
    copies = state.copies({one.article.story for one in found}, again.windows[0].start, again.windows[-1].end + settings.story)
    stories = [_story(one, proof["paths"], [id for id, story in copies if story == one.article.story]) for one in found]
    neighbours = _neighbours(state, [one.article for one in found[:5]], again.windows[0].start)
    mix = _mix(state, series, again.windows[-1], settings)
    return {
        "alert": {key: opened[key] for key in ("episode", "series", "title", "severity", "opened", "level", "threshold", "detectors")},
        "until": changes[-1]["last"] if changes[-1]["what"] == "close" else None,
        "level_again": again.level(),
        "level_without": again.level(found),
        "stories": stories,
        "of_stories": len(counted),
        "windows": len(again.windows),
        "proved_smallest": least,
        "neighbours": neighbours,
        "mix": mix,
        "sentence": _sentence(opened, again.windows[-1], stories, len(counted), mix),
    }


def told(found: dict[str, Any]) -> str:
    """`explain` for a person at a terminal."""
    lines = [found["sentence"], ""]
    how = "the fewest" if found["proved_smallest"] else "none of them can be left out"
    if found["stories"]:
        lines.append(f"without these {len(found['stories'])} stories (of {found['of_stories']}; {how}) there is no alert:")
    for story in found["stories"]:
        more = f" (and {len(story['articles']) - 1} copies)" if len(story["articles"]) > 1 else ""
        way = f"\n      {'; '.join(story['path'])}" if story["path"] else ""
        lines.append(f"  {shown(story['time'])}  {story['text'][:140]}{more}{way}")
    for name, (now, before) in found["mix"].items():
        lines.append(f"{name}: {now:.0%} now, {before:.0%} before")
    if found["neighbours"]:
        lines += ["", "earlier articles like them:"]
        lines += [f"  {shown(n['time'])}  {n['text'][:140]}  ({n['similarity']:.2f})" for n in found["neighbours"]]
    return "\n".join(lines)


def _story(one: Counted, paths: dict[str, list[str] | None], articles: list[str]) -> dict[str, Any]:
    article, touch = one.article, one.touch
    return {
        "id": article.id,
        "time": article.time,
        "text": article.text[:300],
        "link": article.link,
        "weight": touch.weight,
        "scores": list(touch.moods),
        "via": touch.via,
        "path": paths.get(touch.via) or [],
        "articles": articles,
    }


def _neighbours(state: State, asked: Sequence[Article], before: int) -> list[dict[str, Any]]:
    """Articles from before that are most like the asked ones: cosine of TF-IDF over the latest CORPUS."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    past = list(state.articles(-(2**62), before))[-CORPUS:]
    if not past or not asked:
        return []
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+").fit_transform([a.text for a in (*asked, *past)])
    alike = (vectors[: len(asked)] @ vectors[len(asked) :].T).max(0).toarray().ravel()
    order = sorted(range(len(past)), key=lambda i: (-alike[i], -past[i].time))[:NEIGHBOURS]
    return [
        {"id": past[i].id, "time": past[i].time, "text": past[i].text[:300], "similarity": round(float(alike[i]), 4)}
        for i in order
        if alike[i] > 0
    ]


def _mix(state: State, series: str, now: Window, settings: Settings) -> dict[str, tuple[float, float]]:
    """Share of negative, neutral and positive: in the window, and in the windows before it."""
    past = [w for w, *_ in state.windows(now.length, now.start - BEFORE * settings.window, now.start, series)]
    volume = sum(w.volume for w in past)
    if not volume or not now.volume or sum(w.neutral for w in (*past, now)) > (volume + now.volume) * 0.999:
        return {}  # nothing to compare, or nothing is scored
    names = ("negative", "neutral", "positive")
    return {name: (getattr(now, name) / now.volume, sum(getattr(w, name) for w in past) / volume) for name in names}


def _sentence(
    opened: dict[str, Any], window: Window, stories: Sequence[dict[str, Any]], total: int, mix: dict[str, tuple[float, float]]
) -> str:
    said = f"{opened['title']}: {changed(window, opened['usual'])}"
    name = max(mix, key=lambda name: mix[name][0] - mix[name][1], default=None)
    if name and mix[name][0] - mix[name][1] >= 0.05:
        said += f"; more of it is {name} ({mix[name][0]:.0%} after {mix[name][1]:.0%})".replace("%", " %")
    if not stories:
        return f"{said}; no article of these windows alone is to blame."
    elsewhere = [story["path"][-1] for story in stories if story["path"] and opened["series"].startswith("company:")]
    way = f", {len(elsewhere)} of them about another company ({elsewhere[0]})" if elsewhere else ""
    return f"{said}; {len(stories)} of {total} stories carry it{way}, first of all: “{stories[0]['text'][:100]}”."
