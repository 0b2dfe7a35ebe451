"""`explain`: why there was an alert: the stories that carry it, the ways they came, and what was other than usual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kgrec_core import KgrecError
from kgrec_finance.monitoring.counterfactual import Again, Counted, smallest
from kgrec_finance.monitoring.ensemble import Ensemble
from kgrec_finance.monitoring.settings import Settings
from kgrec_finance.monitoring.state import Article, State
from kgrec_finance.monitoring.stored import Stored
from kgrec_finance.monitoring.windows import Window
from kgrec_finance.monitoring.wording import changed, shown

NEIGHBOURS, CORPUS, BEFORE = 3, 20_000, 28  # per story; articles that are looked through; windows that say what is usual


@dataclass(frozen=True, kw_only=True)
class Explain(Stored):
    """Say why there was an alert: the fewest stories without which it would not have been, and the ways they came.

    alert: its id, or the beginning of it.

    Example: kgrec finance explain 17c012d2 --run runs/news
    """

    alert: str = field(metadata={"argument": True})


def explain(run: None, request: Explain, progress: object = None) -> dict[str, Any]:
    with request.opened() as state:
        return explained(state, request.alert)


def explained(state: State, alert: str) -> dict[str, Any]:
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


def told(found: dict[str, Any], request: object = None) -> str:
    """`explained` for a person at a terminal."""
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
