"""Financial sentiment for kgrec: what is said about each company, from articles and live feeds. Importing this imports nothing heavy.

import kgrec_core, kgrec_finance

found = kgrec_finance.classify(kgrec_core.open_run("runs/news"), "Infosys falls as TCS gains")
"""

from __future__ import annotations

from kgrec_core import Component, Domain, Verb, hookimpl
from kgrec_core.domain import words

CLASSIFY = "kgrec_finance.articles.classify:"
SESSION, STATUS, ALERTS, EXPLAIN, PAGE = (
    f"kgrec_finance.monitoring.{name}:" for name in ("session", "status", "alerts", "explain", "page")
)
DOMAIN = Domain(
    "finance",
    "kgrec_finance:recipe.toml",
    "Sentiment of financial news, by article, topic and company; and when it turns.",
    verbs={
        "classify": Verb(
            f"{CLASSIFY}Classify",
            f"{CLASSIFY}classify",
            help="Sentiment, topic and what is said of each company in a text.",
            shown=f"{CLASSIFY}told",
            opens=None,
        ),
        "monitor": Verb(
            f"{SESSION}Watch",
            f"{SESSION}monitor",
            "job",
            "Watch a feed and tell when it turns, each alert once, whatever crashes.",
            f"{SESSION}unsaid",
            opens=None,
        ),
        "replay": Verb(
            f"{SESSION}Replay",
            f"{SESSION}replay",
            "job",
            "Give the alerts that a live monitor gives on the events of a file.",
            f"{SESSION}unsaid",
            opens=None,
        ),
        "status": Verb(
            f"{STATUS}Status",
            f"{STATUS}status",
            "job",
            "Show a monitor's lag, rates, open episodes and sinks.",
            f"{STATUS}told",
            opens=False,
        ),
        "alerts": Verb(f"{ALERTS}Alerts", f"{ALERTS}alerts", "job", "List a monitor's episodes.", f"{ALERTS}told", opens=False),
        "explain": Verb(
            f"{EXPLAIN}Explain",
            f"{EXPLAIN}explain",
            "job",
            "Say why there was an alert: the fewest stories that carry it.",
            f"{EXPLAIN}told",
            opens=False,
        ),
        "report": Verb(
            f"{PAGE}Report",
            f"{PAGE}report",
            "job",
            "Write a monitor's series and alerts, or a run's figures, as one HTML page.",
            f"{PAGE}path",
            opens=False,
        ),
    },
    files="kgrec_finance.articles.files:Files",
    demo="kgrec_finance.demo:Demo",
)


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
