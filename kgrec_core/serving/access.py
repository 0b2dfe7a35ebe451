"""Who may ask: API keys from a file, or JWTs signed by a key of a JWKS file; with scopes, expiry, a rate and a daily quota. A file that
changes is read again.

Without either, everybody may, and the service listens to this machine alone.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from kgrec_core.data.privacy import mask
from kgrec_core.errors import KgrecError
from kgrec_core.serving.keys import SCOPES, Keys
from kgrec_core.serving.problem import Refused

log = logging.getLogger("kgrec.serving")
SECRET = ("key", "api_key", "apikey", "token", "access_token")
ALGORITHMS = ("RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA")  # none that is signed with a secret which the JWKS file would tell


class Caller(NamedTuple):
    """name: of the key or the JWT's subject."""

    name: str
    scopes: frozenset[str]

    @property
    def shown(self) -> str:
        """The name as logs hold it: a JWT's subject may be a mail address."""
        return _masked(self.name)


class Access:
    """keys: a file of `kgrec keys`. jwks: a JWKS file; audience: what its tokens must be for. rate: requests a minute of each caller,
    quota: a day, 0 = any number; storage: where they are counted, "memory://" of each worker or a Redis address."""

    def __init__(
        self,
        keys: Path | None = None,
        jwks: Path | None = None,
        audience: str | None = None,
        rate: int = 0,
        quota: int = 0,
        storage: str = "memory://",
    ) -> None:
        from kgrec_core.serving.counting import Counting

        self.keys = Keys(keys, there=True) if keys else None
        self.signers, self.audience = Signers(jwks) if jwks else None, audience
        self.required = bool(keys or jwks)
        self.counted = Counting({"minute": rate, "day": quota}, storage)

    def caller(self, authorization: str | None, query: Mapping[str, str], scope: str) -> Caller:
        """Raises Refused: 400 for a secret in the address, 401 for no, a forged, revoked or expired one, 403 where the scope is lacking."""
        if any(name.lower() in SECRET for name in query):
            raise Refused(
                400,
                "a key does not belong in the address, where logs keep it; send the header Authorization: Bearer KEY, and revoke this one",
            )
        if not self.required:
            return Caller("local", frozenset(SCOPES))
        kind, _, secret = (authorization or "").partition(" ")
        if kind.lower() != "bearer" or not secret.strip():
            raise _who("send the header Authorization: Bearer KEY")
        secret = secret.strip()
        found = self._of_key(secret) or self._of_token(secret)
        if found is None:
            raise _who("this key is not known, was revoked or has expired")
        if scope not in found.scopes and "admin" not in found.scopes:
            raise Refused(403, f"this key may {' and '.join(sorted(found.scopes)) or 'nothing'}; this needs {scope}")
        return found

    def strangers(self, names: Iterable[str]) -> list[str]:
        """Of names of callers those that nobody has who may ask now; a JWT's subject may be any."""
        known = {"local"} if self.keys is None else {key.name for key in self.keys.all().values() if key.valid}
        return [] if self.signers else sorted({*names} - known - {""})

    def spend(self, caller: Caller, requests: int) -> None:
        """Raises Refused 429 with Retry-After."""
        self.counted.spend(caller.name, requests)

    def _of_key(self, secret: str) -> Caller | None:
        key = self.keys.known(secret) if self.keys else None
        return Caller(key.name, frozenset(key.scopes)) if key else None

    def _of_token(self, token: str) -> Caller | None:
        if self.signers is None or token.count(".") != 2 or len(token) > 8192:
            return None
        import jwt

        try:
            head, keys = jwt.get_unverified_header(token), self.signers.keys()
            key = keys[head["kid"]] if "kid" in head or len(keys) != 1 else next(iter(keys.values()))
            if head["alg"] not in ALGORITHMS:
                return None
            said = jwt.decode(
                token,
                key,
                algorithms=[head["alg"]],
                audience=self.audience,
                options={"require": ["exp", "sub"], "verify_aud": self.audience is not None},
            )
        except (jwt.PyJWTError, LookupError, ValueError, TypeError):
            return None
        told = said.get("scope")
        scopes = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        return Caller(str(said["sub"]), frozenset(scope for scope in scopes if scope in SCOPES))


def refuse_open_door(host: str, access: Access) -> None:
    """Raises KgrecError where a service that knows no keys would listen beyond this machine."""
    try:
        here = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here and not access.required:
        raise KgrecError(
            f"--host {host} lets everybody in who reaches it; make a key with `kgrec keys add NAME` and give --keys FILE, or stay on 127.0.0.1"
        )


@lru_cache(10_000)
def _masked(name: str) -> str:
    return mask([name])[0]


def _who(told: str) -> Refused:
    return Refused(401, told, {"WWW-Authenticate": "Bearer"})


class Signers:
    """The public keys of a JWKS file, by their `kid`. Raises KgrecError for a file that is none."""

    def __init__(self, file: Path) -> None:
        self.file, self._mark = file, _mark(file)
        self._keys = _jwks(file)

    def keys(self) -> dict[str, Any]:
        """As the file is now; while it is damaged or gone, as it was, and the log says so."""
        if (mark := _mark(self.file)) != self._mark:
            self._mark = mark
            try:
                self._keys = _jwks(self.file)
            except KgrecError as error:
                log.error("%s; those of before stay", error)
        return self._keys


def _mark(file: Path) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino


def _jwks(file: Path) -> dict[str, Any]:
    import jwt

    try:
        found = jwt.PyJWKSet.from_dict(json.loads(file.read_text("utf-8"))).keys
        return {key.key_id or str(number): key for number, key in enumerate(found)}
    except (OSError, ValueError, AttributeError, TypeError, jwt.PyJWTError) as error:
        raise KgrecError(f'{file} is no JWKS file ({error}); it holds {{"keys": [...]}}, public keys only') from None
