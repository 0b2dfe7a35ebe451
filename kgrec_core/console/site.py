"""The addresses of the console, under /console of the service: which page answers which, and what it needs.

No page runs a script: everything is a link or a form, so that names in them have nothing to be executed by, and a keyboard, a screen
reader and an old browser do what a new one does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from kgrec_core.console.alerting import alerting, series
from kgrec_core.console.comparing import comparing
from kgrec_core.console.desk import desk
from kgrec_core.console.health import health, swap
from kgrec_core.console.page import Handler, Page, guarded, places
from kgrec_core.console.results import report, results
from kgrec_core.console.reviewing import deciding, reviewing
from kgrec_core.console.session import Sessions
from kgrec_core.console.trying import asking, trying
from kgrec_core.report.page import STYLE
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service

ASSETS = {"console.css": "text/css", "icon.svg": "image/svg+xml"}
Route = tuple[str, list[str], Callable[[Request], Awaitable[Response]]]


def routes(service: Service) -> list[Route]:
    """(address, methods, function) of every page."""
    sessions = Sessions(service)

    def page(path: str, scope: str | None, handler: Handler, *methods: str) -> Route:
        return path, list(methods or ("GET",)), guarded(service, sessions, scope, handler)

    return [
        page("/console", "ask", entrance),
        page("/console/login", None, login, "GET", "POST"),
        page("/console/logout", None, logout, "POST"),
        *(page(f"/console/{name}", None, asset) for name in ASSETS),
        page("/console/{run}", "ask", entrance),
        page("/console/{run}/try", "ask", trying),
        page("/console/{run}/try/{verb}", "ask", trying),
        page("/console/{run}/try/{verb}", "ask", asking, "POST"),
        page("/console/{run}/run", "ask", results),
        page("/console/{run}/compare", "ask", comparing),
        page("/console/{run}/report", "ask", report),
        page("/console/{run}/desk", "edit", desk),
        page("/console/{run}/alerts", "ask", alerting),
        page("/console/{run}/series", "ask", series),
        page("/console/{run}/review", "edit", reviewing),
        page("/console/{run}/review", "edit", deciding, "POST"),
        page("/console/{run}/health", "ask", health),
        page("/console/{run}/health/{what}", "admin", swap, "POST"),
    ]


async def entrance(page: Page) -> Response:
    of = page.of if "run" in page.request.path_params else page.service.named()
    return RedirectResponse(places(page, of)["Try"], 303)


async def login(page: Page) -> Response:
    """Take a key, after asking whether it may do anything here."""
    if page.request.method == "GET":
        return page.answer("login.html", "login", wrong="")
    session = page.sessions.begun(page.form.get("key", [""])[0].strip())
    try:
        page.sessions.caller(page.request, session, "ask")
    except Refused as error:
        if error.status == 503:
            raise
        return page.answer("login.html", "login", error.status, wrong=str(error))
    found = RedirectResponse("/console", 303)
    page.sessions.keep(session, page.request, found)
    return found


async def logout(page: Page) -> Response:
    found = RedirectResponse("/console/login", 303)
    page.sessions.keep(page.sessions.begun(""), page.request, found)
    return found


async def asset(page: Page) -> Response:
    name = page.request.url.path.rpartition("/")[2]
    whole, tag = _asset(name)
    if page.request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(whole, media_type=ASSETS[name], headers={"ETag": tag, "Cache-Control": "no-cache"})


@cache
def _asset(name: str) -> tuple[str, str]:
    """A file of the package and its tag; the console's style stands on the report's."""
    whole = (STYLE if name == "console.css" else "") + Path(__file__).with_name(name).read_text("utf-8")
    return whole, f'"{hashlib.sha256(whole.encode()).hexdigest()[:16]}"'
