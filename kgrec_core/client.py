"""Ask a service as one asks a run: the same words, the same fields, the same one-line errors.

from kgrec_core.client import Client

client = Client("http://localhost:8000", key="kg_...")
client.recommend(user="12346", k=3)                      # what kgrec_ecommerce.recommend(run, user="12346", k=3) gives, as plain values
client.recommend([{"user": "12346"}, {"text": "red"}])   # many: a result or a KgrecError each
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from kgrec_core.errors import KgrecError, choices

AGAIN = (429, 502, 503)  # refused before any work
TRIES, LONGEST = 5, 10.0


class Client:
    """url: of the service. key: of `kgrec keys`, or a JWT. run: of several, which. seconds: a request's deadline.

    Words are the verbs, "-" as "_"; where two domains share one, write domain.word: `client("support.ask", question="...")`. A refusal for
    want of room, and a connection that breaks, are tried again after a pause; an edit carries an idempotency key, so it is made once.
    """

    def __init__(self, url: str, key: str | None = None, run: str | None = None, seconds: float = 10.0) -> None:
        self.url, self.run, self.seconds = url.rstrip("/"), run, seconds
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http: Any = None
        self._paths: dict[str, str] = {}

    def __getattr__(self, word: str) -> Callable[..., Any]:
        if word.startswith("_"):
            raise AttributeError(word)
        return partial(self, word)

    def __call__(self, word: str, requests: Sequence[Mapping[str, Any]] | None = None, /, **fields: Any) -> Any:
        """The result of one request of keywords, or of many as a list of results and KgrecErrors. Raises KgrecError."""
        found = self._send("POST", self._path(word), _body(requests, fields))
        return _results(found, requests is not None)

    def embeddings(self, texts: Sequence[str]) -> list[list[float]]:
        """Vectors of texts by the run's text tower."""
        found = self._send("POST", "/v1/embeddings", {"input": list(texts), **({"model": self.run} if self.run else {})})
        return [one["embedding"] for one in found["data"]]

    def runs(self) -> list[dict[str, Any]]:
        """What is served."""
        return self._send("GET", "/v1/runs")["runs"]

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _path(self, word: str) -> str:
        if not self._paths:
            self._paths = _paths(self._send("GET", "/openapi.json"))
        return _found(self._paths, word)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        import httpx

        if self._http is None:
            self._http = httpx.Client(base_url=self.url, headers=self._headers)
        given = _given(self, path, body)
        for attempt in range(TRIES):
            try:
                found = self._http.request(method, path, **given)
            except httpx.TransportError as error:
                _give_up(attempt, self.url, error)
                time.sleep(_pause(None, attempt))
                continue
            if found.status_code not in AGAIN or attempt == TRIES - 1:
                return _read(found)
            time.sleep(_pause(found, attempt))


class AsyncClient(Client):
    """`Client` for asyncio: `await client.recommend(user="12346")`."""

    async def __call__(self, word: str, requests: Sequence[Mapping[str, Any]] | None = None, /, **fields: Any) -> Any:
        if not self._paths:
            self._paths = _paths(await self._send("GET", "/openapi.json"))
        return _results(await self._send("POST", _found(self._paths, word), _body(requests, fields)), requests is not None)

    async def embeddings(self, texts: Sequence[str]) -> list[list[float]]:
        found = await self._send("POST", "/v1/embeddings", {"input": list(texts), **({"model": self.run} if self.run else {})})
        return [one["embedding"] for one in found["data"]]

    async def runs(self) -> list[dict[str, Any]]:
        return (await self._send("GET", "/v1/runs"))["runs"]

    async def close(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        import asyncio

        import httpx

        if self._http is None:
            self._http = httpx.AsyncClient(base_url=self.url, headers=self._headers)
        given = _given(self, path, body)
        for attempt in range(TRIES):
            try:
                found = await self._http.request(method, path, **given)
            except httpx.TransportError as error:
                _give_up(attempt, self.url, error)
                await asyncio.sleep(_pause(None, attempt))
                continue
            if found.status_code not in AGAIN or attempt == TRIES - 1:
                return _read(found)
            await asyncio.sleep(_pause(found, attempt))


def _given(client: Client, path: str, body: Any) -> dict[str, Any]:
    """One idempotency key for all tries: an edit whose answer was lost is not made again."""
    headers = {"X-Deadline-Ms": str(max(1, round(1e3 * client.seconds))), "Idempotency-Key": uuid.uuid4().hex}
    params = {"run": client.run} if client.run and path.startswith("/v1/") and body is not None and path != "/v1/embeddings" else {}
    return {"headers": headers, "params": params, "timeout": client.seconds + 5, **({} if body is None else {"json": body})}


def _body(requests: Sequence[Mapping[str, Any]] | None, fields: dict[str, Any]) -> dict[str, Any]:
    if requests is not None and fields:
        raise KgrecError("give one request as keywords, or many as a list; not both")
    return fields if requests is None else {"requests": [dict(one) for one in requests]}


def _results(found: dict[str, Any], many: bool) -> Any:
    if not many:
        return found["result"]
    return [KgrecError(one["error"]["detail"]) if "error" in one else one["result"] for one in found["results"]]


def _paths(document: dict[str, Any]) -> dict[str, str]:
    """word -> path; a word that two domains have is known with its domain only."""
    found: dict[str, list[str]] = {}
    for path in document["paths"]:
        if path.startswith("/v1/") and path.count("/") == 3:
            _, _, domain, word = path.split("/")
            for name in (word, f"{domain}.{word}"):
                found.setdefault(name.replace("-", "_"), []).append(path)
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def _found(paths: Mapping[str, str], word: str) -> str:
    if (name := word.replace("-", "_")) not in paths:
        raise choices("word of this service", word, paths)
    return paths[name]


def _give_up(attempt: int, url: str, error: Exception) -> None:
    if attempt == TRIES - 1:
        raise KgrecError(f"{url} does not answer ({error}); is `kgrec serve` running there?") from None


def _pause(found: Any, attempt: int) -> float:
    told = found.headers.get("retry-after", "") if found is not None else ""
    return min(LONGEST, float(told)) if told.isdigit() else 0.1 * 2**attempt


def _read(found: Any) -> Any:
    try:
        told = found.json()
    except ValueError:
        raise KgrecError(f"{found.url} answered {found.status_code} and no JSON; is it a kgrec service?") from None
    if found.status_code >= 400:
        raise KgrecError(told.get("detail", f"{found.url} answered {found.status_code}"))
    return told
