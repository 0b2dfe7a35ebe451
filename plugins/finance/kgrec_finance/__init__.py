"""Financial sentiment for kgrec: what is said about each company, from articles and live feeds. Importing this imports nothing heavy."""

from __future__ import annotations

from kgrec_core import Component, Domain, hookimpl

DOMAIN = Domain(
    "finance",
    "kgrec_finance:recipe.toml",
    "Sentiment of financial news, by article, topic and company; and when it turns.",
    commands={
        "demo": ("kgrec_finance.commands:demo", "Fit embedded headlines, show figures, then watch a stream of real tweets."),
        "fit": ("kgrec_finance.commands:fit", "Fine-tune on your labelled articles, test once and write a run."),
        "classify": ("kgrec_finance.commands:classify", "Sentiment, topic and what is said of each company in a text."),
        "monitor": ("kgrec_finance.watching:monitor", "Watch a feed and tell when it turns, each alert once, whatever crashes."),
        "replay": ("kgrec_finance.watching:replay", "Give the alerts that a live monitor gives on the events of a file."),
        "status": ("kgrec_finance.asking:status", "Show a monitor's lag, rates, open episodes and sinks."),
        "alerts": ("kgrec_finance.asking:alerts", "List a monitor's episodes."),
        "explain": ("kgrec_finance.asking:explain", "Say why there was an alert: the fewest stories that carry it."),
        "report": ("kgrec_finance.asking:report", "Write a monitor's series and alerts, or a run's figures, as one HTML page."),
    },
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
