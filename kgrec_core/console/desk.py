"""Desk: the page of whoever keeps entries, for a domain that says which of its verbs do so (`Domain.desk`)."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from kgrec_core.console.page import Page
from kgrec_core.console.results import sureness
from kgrec_core.console.shown import Shown, shown
from kgrec_core.errors import KgrecError
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import as_data, made
from kgrec_core.serving.hosted import verbs_of
from kgrec_core.serving.problem import Refused
from kgrec_core.verbs import call

MOST = 50  # entries on a page


async def desk(page: Page) -> Response:
    """Entries that have the words, each with what can be done with it; with ?look what an editor should look at."""
    of, query = page.of, page.request.query_params
    if not of.domain.desk:
        raise Refused(404, f"the domain {of.domain.name} names no verbs for a desk")
    rows: list[tuple[str, Shown | None]] = []
    found, words, wrong, look, gaps = 0, query.get("words", ""), "", None, []
    try:
        if "search" in of.domain.desk:
            every = await _asked(page, "search", {"words": words.split()})
            found = len(every)
            rows = [(str(as_data(one).get("id", "")), shown(one)) for one in every[:MOST]]
        if "look" in query and "look" in of.domain.desk:
            seen = await _asked(page, "look", {})
            look, gaps = shown(seen), [(of.title, of.asked) for of in getattr(seen, "unanswered", ())]
    except KgrecError as error:
        wrong = str(error)
    values = {"desk": of.domain.desk, "rows": rows, "found": found, "words": words, "wrong": wrong, "look": look, "gaps": gaps}
    return page.answer("desk.html", "Desk", **values, **sureness(page))


async def _asked(page: Page, role: str, values: dict[str, Any]) -> Any:
    word = page.of.domain.desk[role]
    verb = verbs_of(page.of.domain).get(word)
    if verb is None:
        raise Refused(404, f"the domain {page.of.domain.name} names {word} for its desk's {role}, and has no such verb")
    page.service.spend(page.caller, 1)
    request = made(load_target(verb.request, word), values, word)
    (result,) = await asyncio.to_thread(call, verb, page.of.run, [request])
    if isinstance(result, KgrecError):
        raise result
    return result
