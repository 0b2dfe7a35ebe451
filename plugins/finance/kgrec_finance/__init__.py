"""Financial sentiment for kgrec: what is said about each company, from articles and live feeds. Importing this imports nothing heavy.

import kgrec_core, kgrec_finance

found = kgrec_finance.classify(kgrec_core.open_run("runs/news"), "Infosys falls as TCS gains")
"""

from __future__ import annotations

from kgrec_core import Component, Domain, Verb, hookimpl
from kgrec_core.domain import words


def _verb(module: str, names: str, kind: str, opens: bool | None, help: str) -> Verb:
    """names: the request, its function and what shows the result to people."""
    request, function, shown = (f"kgrec_finance.{module}:{name}" for name in names.split())
    needs = ("expresses", "about") if kind == "ask" else ()
    return Verb(request, function, kind, help, shown, opens=opens, needs=needs)


DOMAIN = Domain(
    "finance",
    "kgrec_finance:recipe.toml",
    "Sentiment of financial news, by article, topic and company; and when it turns.",
    verbs={
        "classify": _verb("articles.classify", "Classify classify told", "ask", None, "Sentiment, topic and what is said of each company in a text."),
        "monitor": _verb("monitoring.session", "Watch monitor unsaid", "job", None, "Watch a feed and tell when it turns, each alert once, whatever crashes."),
        "replay": _verb("monitoring.session", "Replay replay unsaid", "job", None, "Give the alerts that a live monitor gives on the events of a file."),
        "status": _verb("monitoring.status", "Status status told", "job", False, "Show a monitor's lag, rates, open episodes and sinks."),
        "alerts": _verb("monitoring.alerts", "Alerts alerts told", "job", False, "List a monitor's episodes."),
        "acknowledge": _verb("monitoring.acknowledged", "Acknowledge acknowledge told", "edit", True, "Say that an alert was seen."),
        "explain": _verb("monitoring.explain", "Explain explain told", "job", False, "Say why there was an alert: the fewest stories that carry it."),
        "report": _verb("monitoring.page", "Report report path", "job", False, "Write a monitor's series and alerts, or a run's figures, as one HTML page."),
    },
    files="kgrec_finance.articles.files:Files",
    demo="kgrec_finance.demo:Demo",
    watch={
        "alerts": "kgrec_finance.monitoring.acknowledged:alerts",
        "series": "kgrec_finance.monitoring.acknowledged:series",
        "acknowledge": "acknowledge",
    },
)  # fmt: skip


@hookimpl
def kgrec_data() -> list[Component]:
    return [
        Component(
            "news", "kgrec_finance.articles.data:News", "articles, the companies they mention and labels, from your own files and feeds"
        ),
        Component(
            "sentfin", "kgrec_finance.articles.sample:Sentfin", "10,753 headlines with the sentiment towards each company, in the package"
        ),
    ]


@hookimpl
def kgrec_domain() -> list[Domain]:
    return [DOMAIN]


__getattr__, __dir__, __all__ = words(__name__, DOMAIN, {"articles.classify": "Classify", "monitoring.session": "Watch Replay"})
