"""An address asked once: within so many seconds in all, so many bytes, and nowhere else; whatever it answers, one kind of error.

A server may drip a byte a second, answer what is no HTTP, announce what never comes or send us elsewhere. A timer cuts the connection off,
since timeouts of sockets begin anew with every byte.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from kgrec_core import KgrecError

log = logging.getLogger("kgrec")
_PASSWORD = re.compile(r"^(?:apprise:)?\w+://[^/@]*:[^/@]+@")
HOPS = 5  # redirects within one host


class Unanswered(Exception):
    """Why an address gave no answer that can be used; names neither its password nor its query."""


class Answer(NamedTuple):
    """What an address answered."""

    status: int
    headers: Mapping[str, str]  # names in small letters
    body: bytes


def checked(url: str, told: str | None = None) -> str:
    """The address, which has a host and a possible port. told: what to call it in errors. Raises KgrecError."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True) and url.isprintable() and " " not in url
    except ValueError:
        sound = False
    if not sound:
        raise KgrecError(f'"{told or shown(url)}" is no address; write http(s)://HOST[:PORT]/PATH')
    return url


def shown(url: str) -> str:
    """Without password and query.

    >>> shown("https://me:word@example.org:8/hook?token=x#y")
    'https://example.org:8/hook'
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("?")[0].partition("#")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def from_environment(value: str) -> str:
    """ "env:NAME" -> what the variable holds. Raises KgrecError where it is not set."""
    if not value.startswith("env:"):
        return value
    found = os.environ.get(value.removeprefix("env:"))
    if not found:
        raise KgrecError(f"the environment variable {value.removeprefix('env:')} is not set; set it, or give another name")
    return found


def warn_of_password(address: str, what: str) -> None:
    """Where it is given in the open."""
    if _PASSWORD.search(address):
        log.warning(
            "%s: the password in its address is seen by everybody who lists processes; put the address into a variable, env:NAME", what
        )


def ask(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, *, seconds: float, largest: int) -> Answer:
    """GET, or POST of a body; redirects are answers. body: its first `largest` bytes. A password in the address is given as such (basic
    authentication, RFC 7617). Raises Unanswered."""
    address, login = without_login(url)
    cut, stack = _Cut(), contextlib.ExitStack()
    opener = build_opener(_Stay, _Open(cut))
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    with stack:
        timer.start()
        stack.callback(timer.cancel)
        try:
            try:
                answer = stack.enter_context(opener.open(Request(address, body, {**(headers or {}), **login}), timeout=seconds))
            except HTTPError as error:
                answer = stack.enter_context(error)
            told = {name.lower(): value for name, value in answer.headers.items()}
            status, read = answer.status, b""
            try:
                read = answer.read(largest)
            except (HTTPException, OSError, ValueError):
                if body is None:  # who posts has been answered with the status
                    raise
        except Exception as error:  # http.client and what is below it raise a dozen kinds
            late = f"no answer within {seconds:g} s"
            raise Unanswered(
                late if cut.done else _hidden(str(getattr(error, "reason", None) or error) or type(error).__name__, url)
            ) from None
        if cut.done and body is None:
            raise Unanswered(f"no whole answer within {seconds:g} s")
    return Answer(status, told, read)


def get(url: str, headers: Mapping[str, str] | None = None, *, seconds: float, largest: int) -> Answer:
    """GET, following redirects within the host. Raises Unanswered, also for more than `largest` bytes."""
    at = url
    for _ in range(HOPS):
        answer = ask(at, None, headers, seconds=seconds, largest=largest + 1)
        if len(answer.body) > largest:
            raise Unanswered(f"it has more than {largest:,} bytes")
        if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.headers:
            return answer
        there = urljoin(at, answer.headers["location"])
        if urlsplit(there).scheme not in ("http", "https") or urlsplit(there).hostname != urlsplit(url).hostname:
            raise Unanswered(f"it sends us elsewhere, to {shown(there)[:200]}; name that address if it is the one you mean")
        if urlsplit(at).scheme == "https" != urlsplit(there).scheme:
            raise Unanswered("it sends us from https to http")
        same = without_login(at)[0].split("/")[:3] == there.split("/")[:3]  # who is asked for a password is who was meant to have it
        at = urlsplit(there)._replace(netloc=urlsplit(at).netloc).geturl() if same else there
    raise Unanswered(f"it sends us around, more than {HOPS} times")


def without_login(url: str) -> tuple[str, dict[str, str]]:
    """The address as it is asked, and the header that gives the name and password in it."""
    parts = urlsplit(url)
    login, _, host = parts.netloc.rpartition("@")
    if not login:
        return url, {}
    name, _, password = login.partition(":")
    given = b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {given}"}


class _Cut:
    """Ends a connection, from another thread."""

    def __init__(self) -> None:
        self.socket: Any = None
        self.done = False

    def __call__(self) -> None:
        self.done = True
        with contextlib.suppress(OSError, AttributeError):
            self.socket.shutdown(2)


class _Open(HTTPHandler, HTTPSHandler):
    def __init__(self, cut: _Cut) -> None:
        super().__init__()
        self.cut = cut

    def http_open(self, request: Request) -> Any:
        return self.do_open(_Connection, request, cut=self.cut)

    def https_open(self, request: Request) -> Any:
        return self.do_open(_SecureConnection, request, cut=self.cut)


class _Noted:
    """A file that remembers its last line."""

    def __init__(self, file: Any) -> None:
        self.file, self.last = file, b""

    def readline(self, *size: int) -> bytes:
        self.last = self.file.readline(*size)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Response(HTTPResponse):
    """http.client takes headers that break off for whole ones, and a status that was cut off before them for an answer."""

    def begin(self) -> None:
        self.fp = noted = _Noted(self.fp)
        super().begin()
        if noted.last not in (b"\r\n", b"\n"):
            raise HTTPException("the answer breaks off within its headers")


class _Connection(HTTPConnection):
    response_class = _Response

    def __init__(self, *given: Any, cut: _Cut, **more: Any) -> None:
        super().__init__(*given, **more)
        self.cut = cut

    def connect(self) -> None:
        super().connect()
        self.cut.socket = self.sock


class _SecureConnection(_Connection, HTTPSConnection):
    def connect(self) -> None:
        HTTPConnection.connect(self)
        name, context = self._tunnel_host or self.host, ssl.create_default_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        self.cut.socket = self.sock  # known before the handshake, which may drip as well
        self.sock.do_handshake()


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """What is signed goes to the address that was named and to no other."""


def _hidden(reason: str, url: str) -> str:
    """Without what of the address is nobody's business, without signs that move a terminal's cursor."""
    parts = urlsplit(url)
    for secret in {parts.netloc.rpartition("@")[0], parts.password, parts.username, parts.query, *parts.query.split("&")} - {None, ""}:
        reason = reason.replace(secret, "...")
    return "".join(c if c.isprintable() else " " for c in reason)[:200]
