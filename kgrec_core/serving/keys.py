"""API keys in a JSON file: made, listed, revoked; what is stored of a key is a hash, so that the file opens no door.

A key is 256 random bits, for which one SHA-256 is as hard to turn as any slower hash; who reads the file learns nothing to try.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_core.errors import KgrecError, choices
from kgrec_core.owners import given, made

log = logging.getLogger("kgrec.serving")
SCOPES = ("ask", "edit", "admin")


class Key(NamedTuple):
    """id: stands in the key itself. expires: seconds UTC, None = never."""

    id: str
    name: str
    scopes: tuple[str, ...]
    hash: str
    made: float
    expires: float | None = None
    revoked: bool = False

    @property
    def valid(self) -> bool:
        return not self.revoked and (self.expires is None or time.time() < self.expires)


class Keys:
    """The keys of a file; one that changes is read again. there: it has to be there; raises KgrecError where it is not, or is none."""

    def __init__(self, file: Path, there: bool = False) -> None:
        self.file, self._read, self._fault = file, ((0, 0), {}), ""
        if there and not file.exists():
            raise KgrecError(f"there is no file of keys {file}; make one with `kgrec keys add NAME --file {file}`")
        if there:
            self.all()

    def all(self) -> dict[str, Key]:
        """By id. Raises KgrecError for a file that is none."""
        try:
            stat = self.file.stat()
            mark = stat.st_mtime_ns, stat.st_ino
            if mark != self._read[0]:
                self._read = (
                    mark,
                    {of["id"]: Key(**of | {"scopes": tuple(of["scopes"])}) for of in json.loads(self.file.read_text("utf-8"))},
                )
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise KgrecError(f"{self.file} is no file of keys ({error}); make one with `kgrec keys add`") from None
        return self._read[1]

    def known(self, secret: str) -> Key | None:
        """The valid key of a secret; while the file cannot be read, of those that were in it, and the log says so."""
        id = secret.split("_")[1] if secret.startswith("kg_") and secret.count("_") >= 2 else ""
        try:
            keys, fault = self.all(), ""
        except KgrecError as error:
            keys, fault = self._read[1], str(error)
            if fault != self._fault:
                log.error("%s; those of before stay", fault)
        key, self._fault = keys.get(id), fault
        same = hmac.compare_digest(_hash(secret), key.hash if key else _hash(""))
        return key if key and same and key.valid else None

    def add(self, name: str, scopes: Sequence[str] = ("ask",), days: float | None = None) -> str:
        """Make a key and return it; it is shown this once. Raises KgrecError for an unknown scope or a name that is taken."""
        for scope in scopes:
            if scope not in SCOPES:
                raise choices("scope", scope, SCOPES)
        if not name.strip():
            raise KgrecError("a key needs a name, by which logs call it")
        if days is not None and not 0 < days < 36_500:
            raise KgrecError(f"--days {days:g}: a key is valid for some days, or without it for ever")
        id = secrets.token_hex(4)
        secret = f"kg_{id}_{secrets.token_urlsafe(32)}"
        now = time.time()
        key = Key(id, name, tuple(scopes), _hash(secret), now, None if days is None else now + 86400 * days)

        def added(keys: dict[str, Key]) -> None:
            if any(of.name == name and of.valid for of in keys.values()):
                raise KgrecError(f"a valid key is called '{name}'; revoke it first or choose another name")
            keys[id] = key

        self._change(added)
        return secret

    def revoke(self, which: str) -> Key:
        """By id or name; it is refused from now on. Raises KgrecError for an unknown one."""
        gone: list[Key] = []

        def revoked(keys: dict[str, Key]) -> None:
            found = [of for of in keys.values() if which in (of.id, of.name) and not of.revoked]
            if not found:
                raise choices("valid key", which, [of.name for of in keys.values() if not of.revoked])
            gone.append(found[0]._replace(revoked=True))
            keys[found[0].id] = gone[0]

        self._change(revoked)
        return gone[0]

    def _change(self, change: Callable[[dict[str, Key]], None]) -> None:
        """Under a lock, to a file that is whole or not there, readable by its owner."""
        try:
            with open(made(self.file.with_name(f"{self.file.name}.lock")), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                keys = dict(self.all())
                change(keys)
                rows: list[dict[str, Any]] = [key._asdict() for key in keys.values()]
                part = self.file.with_name(f"{self.file.name}.part")
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                    json.dump(rows, out, indent=1)
                given(part, self.file).replace(self.file)
        except OSError as error:
            raise KgrecError(f"{self.file} cannot be written ({error.strerror}); name another with --file") from None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
