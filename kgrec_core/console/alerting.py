"""Alerts: what a domain watches beside a run, for a domain that says where it stands (`Domain.watch`)."""

from __future__ import annotations

import asyncio

from starlette.responses import HTMLResponse, Response

from kgrec_core.console.page import Page
from kgrec_core.console.results import INSIDE
from kgrec_core.errors import visible
from kgrec_core.recipe.registry import load_target
from kgrec_core.serving.problem import Refused

MOST = 100


async def alerting(page: Page) -> Response:
    """Every alert, open ones first, to be acknowledged by whoever may edit."""
    of = page.of
    found = await asyncio.to_thread(_target(page, "alerts"), of.folder)
    rows = [{name: visible(value) if isinstance(value, str) else value for name, value in row.items()} for row in found[:MOST]]
    acknowledge = of.domain.watch.get("acknowledge") if page.may("edit") else None
    return page.answer(
        "alerts.html", "Alerts", alerts=rows, more=len(found) - len(rows), acknowledge=acknowledge, drawn="series" in of.domain.watch
    )


async def series(page: Page) -> Response:
    """The domain's own page, which may neither run nor load anything."""
    whole = await asyncio.to_thread(_target(page, "series"), page.of.folder)
    if whole is None:
        raise Refused(404, f"nothing is watched beside {page.of.name}")
    return HTMLResponse(whole, headers={"Content-Security-Policy": INSIDE})


def _target(page: Page, role: str):
    target = page.of.domain.watch.get(role)
    if target is None:
        raise Refused(404, f"the domain {page.of.domain.name} watches nothing that the console could show")
    return load_target(target, f"domain '{page.of.domain.name}', watch {role}")
