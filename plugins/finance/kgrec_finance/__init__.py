"""Financial sentiment for kgrec: what is said about each company, from articles and live feeds. Importing this imports nothing heavy."""

from __future__ import annotations

from kgrec_core import Component, hookimpl


@hookimpl
def kgrec_data() -> list[Component]:
    return [
        Component("news", "kgrec_finance.data:News", "articles, the companies they mention and labels, from your own files and feeds"),
        Component("sentfin", "kgrec_finance.sample:Sentfin", "10,753 headlines with the sentiment towards each company, in the package"),
    ]
