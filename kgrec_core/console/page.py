"""One request for a page: read, admitted, answered, and what every answer carries. The pages themselves are in the files beside this."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kgrec_core.console.hints import HINTS_ZH
from kgrec_core.console.session import Session, Sessions
from kgrec_core.console.words import FIELDS_ZH, LANGUAGES, VERBS_ZH, labels, spoken, teller
from kgrec_core.errors import KgrecError
from kgrec_core.serving import body as bodies
from kgrec_core.serving.access import Caller
from kgrec_core.serving.hosted import Hosted
from kgrec_core.serving.problem import TITLES, Refused, status_of
from kgrec_core.serving.service import Service

log = logging.getLogger("kgrec.serving")
LANGUAGE = "kgrec_language"
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"  # no script at all
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass
class Page:
    """form: what was posted, {} of a page that is only looked at. language: "en" or "zh". id: of the request."""

    service: Service
    sessions: Sessions
    request: Request
    session: Session
    language: str
    id: str
    form: Mapping[str, list[str]]
    caller: Caller | None = None

    @property
    def of(self) -> Hosted:
        """The run that the address names. Raises Refused 404."""
        return self.service.named(self.request.path_params["run"])

    def may(self, scope: str) -> bool:
        """Whether whoever asks has this scope."""
        return self.caller is not None and bool({scope, "admin"} & self.caller.scopes)

    def answer(self, template: str, name: str, status: int = 200, **values: Any) -> Response:
        """name: of the page, which its place in the menu is marked by."""
        run = self.of if self.request.path_params.get("run") in self.service.runs else None
        whole = {
            "say": teller(self.language),
            "field": labels(self.language, FIELDS_ZH),
            "word": labels(self.language, VERBS_ZH),
            "hint": labels(self.language, HINTS_ZH),
            "page": self,
            "name": name,
            "run": run,
            "places": places(self, run) if run is not None and self.caller is not None else {},
            "languages": LANGUAGES,
            "token": self.sessions.token(self.session),
            "once": lambda: uuid.uuid4().hex,
        }
        return HTMLResponse(_pages().get_template(template).render(whole | values), status)


Handler = Callable[[Page], Awaitable[Response]]


def places(page: Page, run: Hosted) -> dict[str, str]:
    """The menu: what this caller may open of this run, name -> its address."""
    found = {"Try": "try", "Run": "run"}
    if page.may("edit") and run.domain.desk:
        found["Desk"] = "desk"
    if run.domain.watch:
        found["Alerts"] = "alerts"
    if page.may("edit"):
        found["Review"] = "review"
    return {name: f"/console/{run.name}/{place}" for name, place in {**found, "Health": "health"}.items()}


def guarded(service: Service, sessions: Sessions, scope: str | None, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A route's function. scope: what the page needs, None = nothing. Whatever happens is a page, and a line in the log."""

    async def guard(request: Request) -> Response:
        began, (session, new) = time.perf_counter(), sessions.of(request)
        language = spoken(request.query_params.get("lang") or request.cookies.get(LANGUAGE), request.headers.get("accept-language", ""))
        page = Page(service, sessions, request, session, language, uuid.uuid4().hex, {})
        try:
            if request.method == "POST":
                page.form = await posted(request, service.limits)
                sessions.check(session, page.form)
            if scope is not None:
                page.caller = sessions.caller(request, session, scope)
            found = await handler(page)
        except KgrecError as error:
            found = _refusal(page, error)
        except Exception:
            log.exception("page %s failed", page.id)
            found = _refusal(page, Refused(500, "the service could not show this; its log says why"))
        for name, value in HEADERS.items():
            found.headers.setdefault(name, value)
        if new and "set-cookie" not in found.headers:
            sessions.keep(session, request, found)
        if request.query_params.get("lang") in LANGUAGES:
            found.set_cookie(LANGUAGE, language, path="/console", httponly=True, samesite="strict")
        service.metrics.requests.labels("", "console", str(found.status_code)).inc()
        caller, ms = getattr(page.caller, "name", ""), round(1e3 * (time.perf_counter() - began), 1)
        service.log(id=page.id, verb=f"console {request.method}", caller=caller, status=found.status_code, ms=ms)
        return found

    return guard


async def posted(request: Request, limits: bodies.Limits) -> dict[str, list[str]]:
    """Fields of a form. Raises Refused for one that is too large, slow, or no UTF-8."""
    body = await bodies.read(request, limits)
    try:
        return parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=limits.requests, errors="strict")
    except ValueError as error:
        raise Refused(400, f"the form cannot be read ({error}); send it again from its page") from None


def _refusal(page: Page, error: KgrecError) -> Response:
    status = status_of(error)
    if status == 401 and page.session.key == "" and page.request.method == "GET":
        return RedirectResponse("/console/login", 303)
    found = page.answer(
        "problem.html", "problem", status, title=TITLES.get(status, "Refused"), detail=str(error), sign_in=status in (401, 403)
    )
    found.headers.update(getattr(error, "headers", {}))
    return found


@cache
def _pages() -> Environment:
    return Environment(
        loader=PackageLoader("kgrec_core.console", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
