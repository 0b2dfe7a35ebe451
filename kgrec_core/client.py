"""Ask a service as one asks a run: the same words, the same fields, the same one-line errors.

from kgrec_core.client import Client

client = Client("http://localhost:8000", key="kg_...")
client.recommend(user="12346", k=3)                      # what kgrec_ecommerce.recommend(run, user="12346", k=3) gives, as plain values
client.recommend([{"user": "12346"}, {"text": "red"}])   # many: a result or a KgrecError each

What is asked and how answers are read is written once, as generators of steps; `Client` and `AsyncClient` only take these.
It needs httpx, which the extra `serve` brings.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any

import httpx

from kgrec_core.errors import KgrecError, choices

AGAIN = (429, 502, 503)  # refused before any work
TRIES, LONGEST = 5, 10.0

Request = tuple[str, str, dict[str, Any]]  # method, path, httpx's keywords
Steps = Generator[float | Request, httpx.Response | httpx.TransportError | None, Any]  # a float: wait for so many seconds


class Client:
    """url: of the service. key: of `kgrec keys`, or a JWT. run: of several, which. seconds: a request's deadline.

    Words are the verbs, "-" as "_"; where two domains share one, write domain.word: `client("support.ask", question="...")`. A refusal for
    want of room, and a connection that breaks, are tried again after a pause; an edit carries an idempotency key, so it is made once.
    """

    _sender: type[httpx.Client] | type[httpx.AsyncClient] = httpx.Client

    def __init__(self, url: str, key: str | None = None, run: str | None = None, seconds: float = 10.0) -> None:
        self.url, self.run, self.seconds = url.rstrip("/"), run, seconds
        self._http = self._sender(base_url=self.url, headers={"Authorization": f"Bearer {key}"} if key else {})
        self._paths: dict[str, str] = {}

    def __getattr__(self, word: str) -> Callable[..., Any]:
        if word.startswith("_"):
            raise AttributeError(word)
        return partial(self, word)

    def __call__(self, word: str, requests: Sequence[Mapping[str, Any]] | None = None, /, **fields: Any) -> Any:
        """The result of one request of keywords, or of many as a list of results and KgrecErrors. Raises KgrecError."""
        return self._taken(self._verb(word, requests, fields))

    def embeddings(self, texts: Sequence[str]) -> Any:
        """A list of floats for each text, by the run's text tower. Raises KgrecError."""
        return self._taken(self._embeddings(texts))

    def runs(self) -> Any:
        """What is served: a list of objects, one a run. Raises KgrecError."""
        return self._taken(self._runs())

    def close(self) -> Any:
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _taken(self, steps: Steps) -> Any:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            try:
                answer = time.sleep(step) if isinstance(step, float) else self._http.request(*step[:2], **step[2])
            except httpx.TransportError as error:
                answer = error

    def _verb(self, word: str, requests: Sequence[Mapping[str, Any]] | None, fields: dict[str, Any]) -> Steps:
        if requests is not None and fields:
            raise KgrecError("give one request as keywords, or many as a list; not both")
        if not self._paths:
            self._paths = _paths((yield from self._answer("GET", "/openapi.json")))
        if (name := word.replace("-", "_")) not in self._paths:
            raise choices("word of this service", word, self._paths)
        body = fields if requests is None else {"requests": [dict(one) for one in requests]}
        found = yield from self._answer("POST", self._paths[name], json=body, params={"run": self.run} if self.run else {})
        if requests is None:
            return found["result"]
        return [KgrecError(one["error"]["detail"]) if "error" in one else one["result"] for one in found["results"]]

    def _embeddings(self, texts: Sequence[str]) -> Steps:
        model = {"model": self.run} if self.run else {}
        return [
            one["embedding"] for one in (yield from self._answer("POST", "/v1/embeddings", json={"input": list(texts), **model}))["data"]
        ]

    def _runs(self) -> Steps:
        return (yield from self._answer("GET", "/v1/runs"))["runs"]

    def _answer(self, method: str, path: str, **given: Any) -> Steps:
        """One idempotency key for all tries: an edit whose answer was lost is not made again."""
        headers = {"X-Deadline-Ms": str(max(1, round(1e3 * self.seconds))), "Idempotency-Key": uuid.uuid4().hex}
        for attempt in range(TRIES):
            found = yield method, path, {"headers": headers, "timeout": self.seconds + 5, **given}
            broken, last = isinstance(found, Exception), attempt == TRIES - 1
            if broken and last:
                raise KgrecError(f"{self.url} does not answer ({found}); is `kgrec serve` running there?")
            if not broken and (found.status_code not in AGAIN or last):
                return _read(found)
            told = "" if broken else found.headers.get("retry-after", "")
            yield min(LONGEST, float(told)) if told.isdigit() else 0.1 * 2**attempt


class AsyncClient(Client):
    """`Client` for asyncio: `await client.recommend(user="12346")`; so are `embeddings`, `runs` and `close`."""

    _sender = httpx.AsyncClient

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()

    async def _taken(self, steps: Steps) -> Any:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                return end.value
            try:
                answer = await (asyncio.sleep(step) if isinstance(step, float) else self._http.request(*step[:2], **step[2]))
            except httpx.TransportError as error:
                answer = error


def _paths(document: dict[str, Any]) -> dict[str, str]:
    """word -> path; a word that two domains have is known with its domain only."""
    found: dict[str, list[str]] = {}
    for path in document["paths"]:
        if path.startswith("/v1/") and path.count("/") == 3:
            _, _, domain, word = path.split("/")
            for name in (word, f"{domain}.{word}"):
                found.setdefault(name.replace("-", "_"), []).append(path)
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def _read(found: httpx.Response) -> Any:
    try:
        told = found.json()
    except ValueError:
        raise KgrecError(f"{found.url} answered {found.status_code} and no JSON; is it a kgrec service?") from None
    if found.status_code >= 400:
        raise KgrecError(told.get("detail", f"{found.url} answered {found.status_code}"))
    return told
