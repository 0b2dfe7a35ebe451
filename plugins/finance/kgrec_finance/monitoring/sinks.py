"""Where alerts go: standard output, a JSONL file, a webhook, or whatever apprise knows; in their order, each until the sink has it.

An alert is in the state file before any sink hears of it, and is marked only after the sink took it. Who is killed in between sends it
again with the same key: a JSONL file is looked through for it, a webhook gets it as `Idempotency-Key`.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from kgrec_core import KgrecError
from kgrec_core.domain import say, say_json
from kgrec_finance.feeds.dead_letters import refuse_place
from kgrec_finance.feeds.web import Unanswered, ask, checked, from_environment, shown, warn_of_password
from kgrec_finance.monitoring.state import Alert, Pending, State

log = logging.getLogger("kgrec")
LONGEST = 300.0  # seconds between two tries
LARGEST = 1 << 16  # bytes of an answer that are read
TURN = 10.0  # seconds for which a slow sink may keep the feed waiting


class Undelivered(Exception):
    """Why a sink did not take an alert."""


class Sink(Protocol):
    """Where alerts go. name: under which the state knows what it has taken."""

    name: str

    def send(self, alert: Alert) -> None:
        """Raises Undelivered; the same alert is sent again later."""


class Stdout:
    """A line per alert; as JSON, or in words."""

    name = "stdout"

    def __init__(self, as_json: bool = True) -> None:
        self.as_json = as_json

    def send(self, alert: Alert) -> None:
        say_json(alert.body, indent=None) if self.as_json else say(told(alert.body))


class Lines:
    """A JSONL file. A line that was cut off by a crash is cut away; an alert whose key stands in the file is not written again."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        self._keys: set[str] | None = None

    def send(self, alert: Alert) -> None:
        try:
            if self._keys is None:
                self._keys = self._found()
            if alert.key in self._keys:
                return
            with self.path.open("ab") as file:
                file.write(json.dumps(alert.body, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self._keys = None
            raise Undelivered(f"{self.path} cannot be written ({error.strerror})") from error
        self._keys.add(alert.key)

    def _found(self) -> set[str]:
        if not self.path.exists():
            return set()
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        keys = set()
        for line in whole.splitlines():
            try:
                keys.add(json.loads(line)["key"])
            except (ValueError, KeyError, RecursionError, TypeError):
                continue  # somebody else's line
        return keys


class Webhook:
    """POST of the alert as JSON, signed where a secret is given: X-Kgrec-Signature: t=TIME,v1=HMAC-SHA256(secret, "TIME." + body) in hex.

    Taken is what is answered with 2xx within `timeout` seconds in all. The Idempotency-Key is the same in every try. name: what the
    address is called in the state and in `status`; by default itself, without password and query.
    """

    def __init__(
        self, url: str, secret: bytes | None = None, timeout: float = 10.0, clock: Callable[[], float] = time.time, name: str | None = None
    ) -> None:
        self.url, self.name = checked(url, name), name or shown(url)
        self.secret, self.timeout, self.clock = secret, timeout, clock

    def send(self, alert: Alert) -> None:
        body = json.dumps(alert.body, ensure_ascii=False).encode("utf-8", "replace")
        headers = {"Content-Type": "application/json", "Idempotency-Key": alert.key, "User-Agent": "kgrec-finance"}
        if self.secret is not None:
            headers["X-Kgrec-Signature"] = signature(self.secret, body, int(self.clock()))
        try:
            status = ask(self.url, body, headers, seconds=self.timeout, largest=LARGEST).status
        except Unanswered as reason:
            raise Undelivered(str(reason)) from None
        if not 200 <= status < 300:
            raise Undelivered(f"answered {status}" + (", which sends us elsewhere" if 300 <= status < 400 else ""))


class Apprise:
    """Mail, chat and many others through the package apprise (extra `apprise`); the key stands at the end of the text."""

    def __init__(self, url: str, name: str | None = None) -> None:
        try:
            from apprise import Apprise as Notifier
        except ImportError:
            raise KgrecError('sinks: apprise: needs the package apprise; pip install "./plugins/finance[apprise]"') from None
        self._notifier, self.name = Notifier(), name or f"apprise:{url.partition(':')[0]}-{sha256(url.encode()).hexdigest()[:8]}"
        if not self._notifier.add(url):
            raise KgrecError("sinks: apprise does not know this kind of address; see its list of services")

    def send(self, alert: Alert) -> None:
        title, kind = alert.body["title"], "info" if alert.body["what"] == "close" else "warning"
        if not self._notifier.notify(body=f"{alert.body['sentence']}\n({alert.key})", title=title, notify_type=kind):
            raise Undelivered("apprise could not deliver it")


class Delivery:
    """Sends what is due; a sink that fails is asked again after 1, 2, 4, ... seconds, LONGEST at most, and keeps up no other.

    wanted: alerts that are sent at all; the others are passed over.
    """

    def __init__(
        self,
        state: State,
        sinks: Sequence[Sink],
        wanted: Callable[[dict[str, Any]], bool] = lambda body: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state, self.sinks, self.wanted, self.clock = state, sinks, wanted, clock
        if len({sink.name for sink in sinks}) < len(sinks):
            raise KgrecError("two sinks have the same name; name each once")
        with state.transaction():
            self._pending = {sink.name: state.sink(sink.name) for sink in sinks}

    def push(self) -> float | None:
        """Send what is due now; seconds until the next try, None where all is delivered."""
        waits = [wait for sink in self.sinks if (wait := self._push(sink)) is not None]
        return min(waits, default=None)

    def drain(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Send all, trying for so long. Raises KgrecError that says how many wait, which the next start sends."""
        end = self.clock() + seconds
        while (wait := self.push()) is not None:
            if self.clock() + wait > end or stop():
                behind = {name: len(self.state.alerts(p.sent)) for name, p in self._pending.items() if p.error}
                said = "; ".join(f"{behind[name]} wait for {name} ({self._pending[name].error})" for name in behind)
                raise KgrecError(f"alerts: {said}; they are kept in {self.state.file} and sent by the next start")
            time.sleep(max(wait, 0.01))

    def _push(self, sink: Sink) -> float | None:
        now = self._pending[sink.name]
        if now.error and now.next > self.clock() and now.next - self.clock() <= LONGEST:
            return now.next - self.clock()
        end = self.clock() + TURN
        for alert in self.state.alerts(now.sent):
            if self.clock() > end:
                return 0.0
            try:
                if self.wanted(alert.body):
                    sink.send(alert)
            except (KgrecError, BrokenPipeError):  # who read standard output has gone: the next start sends it
                raise
            except Exception as reason:  # whatever a sink's package raises: the alert waits, the monitor goes on
                said = str(reason) if isinstance(reason, Undelivered) else f"{type(reason).__name__} in the sink"
                wait = min(2.0 ** min(now.attempts, 20), LONGEST)
                now = now._replace(attempts=now.attempts + 1, next=self.clock() + wait, error=said[:500])
                self.state.sent(now)
                self._pending[sink.name] = now
                return wait
            now = Pending(sink.name, alert.number, 0, 0.0, "")
            self.state.sent(now)
            self._pending[sink.name] = now
        return None


def open_sink(given: str, secret: str | None = None, as_json: bool = False) -> Sink:
    """stdout, FILE.jsonl, http(s)://..., apprise:ADDRESS. secret, and an address with a password, as env:NAME. Raises KgrecError."""
    if secret and not secret.startswith("env:"):  # every user of the machine reads it in the list of processes
        raise KgrecError("secret: put it into an environment variable and give its name, env:NAME; a command line is seen by everybody")
    warn_of_password(given, "sink")
    if given in ("stdout", "-"):
        return Stdout(as_json)
    if given.startswith("apprise:"):
        address = given.removeprefix("apprise:")
        return Apprise(from_environment(address), given if address.startswith("env:") else None)
    address, hidden = from_environment(given), given if given.startswith("env:") else None
    if address.startswith(("http://", "https://")):
        return Webhook(address, from_environment(secret).encode() if secret else None, name=hidden)
    if hidden or Path(given).suffix not in (".jsonl", ".ndjson"):
        raise KgrecError(f'sink "{given}" is none; write stdout, a FILE.jsonl, http(s)://... or apprise:ADDRESS')
    refuse_place("sinks", path := Path(given))
    return Lines(path)


def signature(secret: bytes, body: bytes, at: int) -> str:
    """What a receiver compares X-Kgrec-Signature with; at: unix seconds, stands in it as t."""
    return f"t={at},v1={hmac.new(secret, f'{at}.'.encode() + body, sha256).hexdigest()}"


def told(body: dict[str, Any]) -> str:
    """An alert in words, its articles below."""
    lines = [f"{body['time']}  {body['what']:6} {body['severity']:6} {body['title']}  [{body['episode']}]", f"    {body['sentence']}"]
    return "\n".join([*lines, *(f"    - {a['text'][:120]}" for a in body["articles"][:3])])
