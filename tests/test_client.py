"""What a client of a service sends, at once and in asyncio: the same requests, tried again where nothing was done yet."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from kgrec_core import client as module
from kgrec_core.errors import KgrecError

PATHS = {"paths": {"/v1/desk/ask": {}, "/v1/shop/ask": {}, "/v1/shop/add-item": {}, "/v1/runs": {}}}


class Service:
    """Answers what is in `answers`, one after the other, a connection that breaks among them; keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | httpx.TransportError) -> None:
        self.answers, self.asked = list(answers), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/openapi.json":
            return httpx.Response(200, json=PATHS)
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.TransportError):
            raise answer
        return answer


@pytest.fixture(params=[module.Client, module.AsyncClient])
def ask(request, monkeypatch):
    """ask(service, word, *requests, **fields): the result, by either client; ask.pauses: how long it waited."""
    pauses = []

    async def asleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr(module.time, "sleep", pauses.append)
    monkeypatch.setattr(module.asyncio, "sleep", asleep)

    def asked(service, word, *requests, **fields):
        client = request.param("http://there/", key="kg_1", run="shop")
        client._http = client._sender(transport=httpx.MockTransport(service), base_url=client.url, headers=client._http.headers)
        found = getattr(client, word)(*requests, **fields)
        return asyncio.run(found) if request.param is module.AsyncClient else found

    asked.pauses = pauses
    return asked


def test_an_edit_is_tried_again_as_the_same_edit(ask):
    busy, found = httpx.Response(429, headers={"retry-after": "3"}, json={}), httpx.Response(200, json={"result": "done"})
    service = Service(busy, httpx.ConnectError("broken"), httpx.Response(503, headers={"retry-after": "900"}, json={}), found)
    assert ask(service, "add_item", id="7") == "done" and ask.pauses == [3.0, 0.2, module.LONGEST]
    assert [json.loads(one.content) for one in service.asked] == [{"id": "7"}] * 4
    assert len({one.headers["idempotency-key"] for one in service.asked}) == 1
    assert {(str(one.url), one.headers["authorization"]) for one in service.asked} == {
        ("http://there/v1/shop/add-item?run=shop", "Bearer kg_1")
    }


def test_tries_end(ask):
    refused = [httpx.Response(503, json={"detail": "no room"}) for _ in range(module.TRIES)]
    with pytest.raises(KgrecError, match=r"^no room$"):
        ask(Service(*refused), "add_item")
    with pytest.raises(KgrecError, match=r"^http://there does not answer \(broken\); is `kgrec serve` running there\?$"):
        ask(Service(*[httpx.ConnectError("broken")] * module.TRIES), "add_item")
    assert len(ask.pauses) == 2 * (module.TRIES - 1)
    with pytest.raises(KgrecError, match="answered 200 and no JSON; is it a kgrec service"):
        ask(Service(httpx.Response(200, text="<html>")), "add_item")


def test_many_requests_and_what_is_no_verb(ask):
    service = Service(httpx.Response(200, json={"results": [{"result": 1}, {"error": {"detail": "row 2: absent"}}]}))
    found = ask(service, "add_item", [{"id": "7"}, {"id": "8"}])
    assert found[0] == 1 and isinstance(found[1], KgrecError) and str(found[1]) == "row 2: absent"
    assert json.loads(service.asked[0].content) == {"requests": [{"id": "7"}, {"id": "8"}]}
    with pytest.raises(KgrecError, match="many as a list; not both"):
        ask(service, "add_item", [{"id": "7"}], id="8")
    with pytest.raises(KgrecError, match="word of this service"):
        ask(service, "ask")  # two domains have one
    assert ask(Service(httpx.Response(200, json={"runs": [{"name": "shop"}]})), "runs") == [{"name": "shop"}]
    service = Service(httpx.Response(200, json={"data": [{"embedding": [0.5]}]}))
    assert ask(service, "embeddings", ["red"]) == [[0.5]] and json.loads(service.asked[0].content) == {"input": ["red"], "model": "shop"}
