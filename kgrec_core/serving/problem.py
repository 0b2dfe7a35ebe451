"""What a service refuses, as RFC 9457 has it: one line that says what is wrong and what to do, never a traceback."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from kgrec_core.errors import Conflict, KgrecError, NotSaved, Unreadable

TITLES = {
    400: "The request cannot be answered",
    401: "Who are you?",
    403: "Not with this key",
    404: "There is no such thing here",
    405: "Not this way",
    408: "The request took too long to arrive",
    409: "It stands against what was done before",
    413: "The request is too large",
    422: "The request cannot be answered",
    429: "Too many requests",
    500: "A fault of the service",
    503: "Not now",
    504: "Too late",
}


OF_KIND = ((NotSaved, 503), (Unreadable, 503), (Conflict, 409))


class Refused(KgrecError):
    """A KgrecError with an HTTP status and headers of its own."""

    def __init__(self, status: int, told: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(told)
        self.status, self.headers = status, dict(headers or {})


def busy(told: str, seconds: float = 1.0) -> Refused:
    """503; the client may come again after so many seconds."""
    return Refused(503, told, {"Retry-After": str(max(1, round(seconds)))})


def status_of(error: KgrecError) -> int:
    """A plain KgrecError is a mistake in the request: 400."""
    return getattr(error, "status", next((status for kind, status in OF_KIND if isinstance(error, kind)), 400))


def described(error: KgrecError) -> dict[str, object]:
    """The members of a problem document."""
    status = status_of(error)
    return {"type": "about:blank", "title": TITLES.get(status, "Refused"), "status": status, "detail": str(error)}


def response(error: KgrecError, request_id: str = "") -> JSONResponse:
    """`error` as application/problem+json."""
    body = described(error) | ({"request_id": request_id} if request_id else {})
    headers = getattr(error, "headers", {})
    return JSONResponse(body, status_of(error), headers, media_type="application/problem+json")
