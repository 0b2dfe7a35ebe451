"""Who is at the browser: the key that was typed in, sealed into a cookie, so that each page asks the service's access as an endpoint does.

The seal (Fernet: AES-CBC with an HMAC) is of this service and ends with it. A page that changes something carries a token made from the
cookie's own number, which no other site can read; without keys a page answers under a name of this machine only, so that no foreign
name can be made to point here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import NamedTuple

from cryptography.fernet import Fernet, InvalidToken
from starlette.requests import Request
from starlette.responses import Response

from kgrec_core.serving.access import Caller
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service

COOKIE, SECONDS = "kgrec_console", 12 * 3600
HERE = ("localhost", "127.0.0.1", "::1")


class Session(NamedTuple):
    """number: random, the token against forged requests is made from it. key: what was typed in, "" = nothing yet."""

    number: str
    key: str = ""


class Sessions:
    """Of one service; all its workers share `service.secret`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._seal = Fernet(base64.urlsafe_b64encode(service.secret))

    def of(self, request: Request) -> tuple[Session, bool]:
        """The session of a request, and whether it is new."""
        try:
            told = json.loads(self._seal.decrypt(request.cookies.get(COOKIE, "").encode(), SECONDS))
            return Session(*told), False
        except (InvalidToken, ValueError, TypeError):
            return Session(secrets.token_hex(16)), True

    def begun(self, key: str) -> Session:
        """After a login: another number, as the one before may be known to whoever set it."""
        return Session(secrets.token_hex(16), key)

    def keep(self, session: Session, request: Request, response: Response) -> None:
        """Into the cookie: not for scripts, not for other sites, over TLS only where the page came over it."""
        sealed = self._seal.encrypt(json.dumps(session).encode()).decode()
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, sealed, max_age=SECONDS, path="/console", secure=secure, httponly=True, samesite="strict")

    def token(self, session: Session) -> str:
        """What a form carries."""
        return hmac.new(self.service.secret, f"form {session.number}".encode(), hashlib.sha256).hexdigest()

    def check(self, session: Session, form: Mapping[str, list[str]]) -> None:
        """Raises Refused 403 for a form that this session was not given."""
        if not hmac.compare_digest(form.get("token", [""])[0].encode(), self.token(session).encode()):
            raise Refused(403, "this form is not of this session, or the service was started again; open the page anew")

    def caller(self, request: Request, session: Session, scope: str) -> Caller:
        """Raises Refused: 401 and 403 as for an endpoint, 403 for a foreign name, 503 when the service is leaving."""
        access = self.service.access
        if self.service.leaving:
            raise Refused(503, "the service is ending; ask again in a moment", {"Retry-After": "1"})
        if not access.required and request.url.hostname not in HERE:
            raise Refused(
                403, f"without keys the console answers under {' or '.join(HERE[:2])} only; make a key with `kgrec keys add NAME`"
            )
        try:
            return access.caller(f"Bearer {session.key}" if session.key else None, {}, scope)
        except Refused as error:
            self.service.metrics.refused({401: "unknown", 403: "scope"}.get(error.status, "access"))
            raise
