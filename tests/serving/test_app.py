"""The endpoints of a run: the command's own requests and answers, over HTTP; whatever is wrong is one line and below 500."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import kgrec_core
from kgrec_core.errors import KgrecError, NotSaved
from kgrec_core.requests import as_data
from kgrec_core.run.log import Live
from kgrec_core.serving import batching, repeats
from kgrec_core.serving.access import Access, Caller
from kgrec_core.serving.batching import Batcher
from kgrec_core.serving.body import Limits
from kgrec_core.serving.hosted import hosted
from kgrec_core.serving.metrics import Metrics
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service
from tests.asgi import Asking


@pytest.fixture(scope="module")
def run(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(published, tmp_path_factory.mktemp("served") / "shop"))


@pytest.fixture(scope="module")
def ask(run: Path):
    found = Asking(Service(hosted([run], "ecommerce"), limits=Limits(bytes=20_000, seconds=0.3, requests=20)))
    yield found
    found.close()


RECOMMEND = "/v1/ecommerce/recommend"


def test_an_endpoint_answers_as_the_verb_does(ask, run):
    from kgrec_ecommerce import recommend

    found = ask("POST", RECOMMEND, json={"user": "ruser0", "k": 3, "where": "price < 5"}).json()
    expected = as_data(recommend(kgrec_core.open_run(run), user="ruser0", k=3, where="price < 5"))
    assert found["run"] == "shop" and found["edit"] == 0
    assert [one["id"] for one in found["result"]] == [one["id"] for one in expected]
    assert found["result"][0]["score"] == pytest.approx(expected[0]["score"], rel=1e-5)


def test_many_requests_and_a_bad_one_among_them(ask):
    found = ask("POST", RECOMMEND, json={"requests": [{"user": "ruser0", "k": 1}, {"k": 3}, {"user": "buser1", "k": 1}]}).json()["results"]
    assert [set(one) for one in found] == [{"result"}, {"error"}, {"result"}]
    assert found[1]["error"]["status"] == 400 and "needs something to go by" in found[1]["error"]["detail"]


def test_together_is_as_alone_to_the_bit(ask):
    bodies = [
        {"text": f"{colour} {thing}", "k": 5}
        for colour in ("red", "blue", "a very large red")
        for thing in ("mug", "lamp", "chair for the garden")
    ]
    bodies += [{"user": f"{'rb'[n % 2]}user{n}", "k": 7} for n in range(8)]
    alone = [ask("POST", RECOMMEND, json=body).text for body in bodies]
    before = ask.service.metrics.batch._sum.get()
    assert [found.text for found in ask.together(*((RECOMMEND, body) for body in bodies))] == alone
    calls = ask("GET", "/metrics").text
    assert ask.service.metrics.batch._sum.get() == before + len(bodies) and 'kgrec_batch_size_bucket{le="1.0"}' in calls


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"json": {"kk": 1}}, 400, "no field of recommend is called 'kk'"),
        ({"json": {"user": "ruser0", "k": 0}}, 400, "k = 0 must be at least 1"),
        ({"json": {"user": "ruser0", "k": 10**9}}, 400, "more than a request may ask for"),
        ({"json": {"user": "ruser0", "where": "DROP TABLE x"}}, 400, "where"),
        ({"json": {"user": ["a"]}}, 400, "it takes str"),
        ({"content": b"{"}, 400, "no JSON"),
        ({"content": b"[1]"}, 400, "no JSON object"),
        ({"content": b'{"text": "\xff"}'}, 400, "no UTF-8"),
        ({"content": b'{"k": NaN}'}, 400, "NaN"),
        ({"content": b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}"}, 400, "nested 5001 deep"),
        ({"content": b'{"text": "' + b"a" * 30_000 + b'"}'}, 413, "more than 20,000 bytes"),
        ({"json": {"requests": [{"user": "a"}] * 21}}, 413, "21 requests in one body"),
        ({"json": {"requests": ["a"]}}, 400, "a list of objects"),
        ({"json": {"user": "ruser0"}, "headers": {"X-Deadline-Ms": "soon"}}, 400, "takes milliseconds"),
        ({"json": {"user": "ruser0"}, "params": {"run": "../../etc"}}, 404, "no run is called"),
        ({"json": {"user": "ruser0"}, "params": {"api_key": "x"}}, 400, "does not belong in the address"),
    ],
)
def test_what_is_wrong_is_one_line(ask, given, status, said):
    found = ask("POST", RECOMMEND, **given)
    assert (found.status_code, found.headers["content-type"]) == (status, "application/problem+json")
    assert said in found.json()["detail"] and "\n" not in found.json()["detail"] and "Traceback" not in found.text


def test_a_slow_body_is_not_waited_for(ask):
    async def slowly():
        yield b'{"user": '
        await asyncio.sleep(5)

    assert ask("POST", RECOMMEND, content=slowly()).status_code == 408


def test_unknown_places_and_methods(ask):
    assert ask("POST", "/v1/ecommerce/steal").status_code == 404 and ask("GET", RECOMMEND).status_code == 405
    assert ask("GET", "/health/live").status_code == 200 and ask("GET", "/health/ready").json() == {"ready": True}


def test_the_document_names_every_verb_with_an_example(ask):
    document = ask("GET", "/openapi.json").json()
    paths = document["paths"]
    assert {RECOMMEND, "/v1/ecommerce/similar", "/v1/ecommerce/add-items", "/v1/embeddings"} <= set(paths)
    body = paths[RECOMMEND]["post"]["requestBody"]["content"]["application/json"]
    assert body["example"] == {"history": ["22423", "21212"], "k": 5, "where": "price < 5"}
    assert body["schema"]["anyOf"][0]["properties"]["k"]["description"] == "how many products."


def test_embeddings_are_those_of_the_text_tower(ask):
    found = ask("POST", "/v1/embeddings", json={"input": ["red mug", "blue mug"]}).json()
    assert [len(one["embedding"]) for one in found["data"]] == [384, 384] and found["data"][1]["index"] == 1
    assert ask("POST", "/v1/embeddings", json={"input": []}).status_code == 400


def test_an_edit_is_made_once_and_seen_at_once(ask, run):
    row = {"sku": "r99", "name": "red teapot", "colour": "red", "price": 99}
    add = {"json": {"file": [row]}, "headers": {"Idempotency-Key": "a"}}
    first, again = ask("POST", "/v1/ecommerce/add-items", **add), ask("POST", "/v1/ecommerce/add-items", **add)
    assert first.json()["result"] == {"new": ["r99"], "changed": []} and first.json() == again.json()
    assert again.headers["Idempotent-Replay"] == "true" and first.json()["edit"] == 1
    other = ask("POST", "/v1/ecommerce/add-items", json={"file": [row | {"price": 4}]}, headers={"Idempotency-Key": "a"})
    assert other.status_code == 409 and "another edit" in other.json()["detail"]
    teapot = {"text": "red teapot", "k": 1, "where": "price = 99"}
    assert ask("POST", RECOMMEND, json=teapot).json()["result"][0]["id"] == "r99"
    line = json.loads((run.with_name("shop.serve") / "audit.jsonl").read_text().splitlines()[-1])
    assert line | {"time": 0, "request_id": 0} == {
        "time": 0,
        "caller": "local",
        "what": "add-items",
        "run": "shop",
        "edit": 1,
        "requests": 1,
        "request_id": 0,
    }
    kgrec_core.open_run(run).remove("item", ["r99"])
    assert "no item is left" in ask("POST", RECOMMEND, json=teapot).json()["detail"]


def test_a_full_queue_and_a_missed_deadline_are_said_at_once(run):
    small = Asking(Service(hosted([run], "ecommerce"), access=Access(rate=100), queue=2))
    try:
        found = small.together(*[(RECOMMEND, {"text": f"red {n}"}) for n in range(12)])
        codes = sorted({one.status_code for one in found})
        assert codes == [200, 503] and all(one.headers["Retry-After"] for one in found if one.status_code == 503)
        late = small("POST", RECOMMEND, json={"text": "red lamp of another kind"}, headers={"X-Deadline-Ms": "1"})
        assert late.status_code == 504 and "no answer within" in late.json()["detail"]
    finally:
        small.close()


def test_a_body_that_is_arriving_has_its_place_and_a_slow_one_loses_it(monkeypatch):
    async def places() -> None:
        batcher = Batcher(Metrics(), queue=1)
        with batcher.place(), pytest.raises(Refused), batcher.place():
            raise AssertionError("two bodies had one place")
        monkeypatch.setattr(batching, "HELD", 0.01)
        with batcher.place():
            await asyncio.sleep(0.05)
            with batcher.place():
                pass
        batcher.refuse_beyond(1)

    asyncio.run(places())


def test_where_an_edit_cannot_be_noted_it_is_not_made_and_reading_goes_on(run, tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    shut = Asking(Service(hosted([run], "ecommerce"), state=tmp_path / "state"))
    try:
        before = shut("POST", RECOMMEND, json={"user": "ruser0", "k": 1}).json()["edit"]
        found = shut("POST", "/v1/ecommerce/add-items", json={"file": [{"sku": "n1", "name": "red n", "colour": "red", "price": 1}]})
        assert found.status_code == 503 and "edits wait until it can" in found.json()["detail"]
        assert shut("POST", RECOMMEND, json={"user": "ruser0", "k": 1}).json()["edit"] == before
    finally:
        shut.close()


def test_a_full_disk_refuses_edits_and_not_answers(run, tmp_path, monkeypatch):
    full = Asking(Service(hosted([run], "ecommerce"), state=tmp_path / "state"))
    row, key = {"sku": "f1", "name": "red f", "colour": "red", "price": 1}, {"Idempotency-Key": "f"}
    add = {"json": {"file": [row]}, "headers": key}
    try:
        before = full("POST", RECOMMEND, json={"user": "ruser0", "k": 1}).json()["edit"]
        monkeypatch.setattr(repeats.shutil, "disk_usage", lambda place: SimpleNamespace(free=4096))
        found = full("POST", "/v1/ecommerce/add-items", **add)
        assert found.status_code == 503 and "4,096 bytes left" in found.json()["detail"]
        monkeypatch.undo()
        monkeypatch.setattr(Live, "_writing", no_room)
        found = full("POST", "/v1/ecommerce/add-items", **add)
        assert found.status_code == 503 and "was not saved" in found.json()["detail"]
        assert full("POST", RECOMMEND, json={"user": "ruser0", "k": 1}).json()["edit"] == before
        monkeypatch.undo()
        assert full("POST", "/v1/ecommerce/add-items", **add).json()["edit"] == before + 1
    finally:
        full.close()
        kgrec_core.open_run(run).remove("item", ["f1"])


def no_room(*given):
    raise NotSaved("the edit was not saved (database or disk is full)")


def test_an_edit_that_is_being_made_is_not_made_twice(tmp_path, monkeypatch, caplog):
    of = repeats.Repeats(tmp_path / "repeats.sqlite")
    key = of.key("a", Caller("shop", frozenset()), "add", [{}])
    with of.once(key) as first, pytest.raises(Refused, match="is being made") as caught, of.once(key):
        raise AssertionError("two made it")
    assert caught.value.status == 503 and first.before is None
    with pytest.raises(KgrecError, match="bad"), of.once(key):
        raise KgrecError("bad")
    with of.once(key) as again:  # what came to nothing may be tried again
        again.answer = {"edit": 1}
    with of.once(key) as last:
        assert last.before == {"edit": 1}

    gone = of.key("b", Caller("shop", frozenset()), "add", [{}])
    monkeypatch.setattr(repeats.os, "getpid", lambda: 2**22 + 1)  # one that no process has
    assert of._begun(gone) is None and of._begun(gone) is None
    monkeypatch.undo()
    with of.once(gone) as made:
        made.answer = {"edit": 2}
        monkeypatch.setattr(repeats.sqlite3, "connect", no_disk)
    assert "was not noted" in caplog.text
    of.audit(tmp_path, "shop", "add", "run", 1, 1, "id")  # a folder cannot be written to as a file
    assert "it lacks: " in caplog.text and '"what": "add"' in caplog.text


def no_disk(*given, **named):
    raise sqlite3.OperationalError("database or disk is full")


def test_half_a_character_is_refused_at_every_door(ask):
    for path in ("ecommerce/recommend", "ecommerce/add-items", "embeddings", "feedback"):
        found = ask("POST", f"/v1/{path}", content=b'{"text": ["a \\ud83d"]}')
        assert found.status_code in (400, 404) and (path == "feedback" or "half a character" in found.json()["detail"])
    assert ask("POST", "/v1/ecommerce/recommend", content=b'{"text": "a red mug \\ud83d\\ude00", "k": 1}').status_code == 200


def test_an_id_of_many_letters_is_unknown_at_once(run):
    long = "r1" * 500_000
    began = time.process_time()
    with pytest.raises(KgrecError, match=r"no item of this run .* is called 'r1r1") as error:
        kgrec_core.open_run(run).answer([{"history": [long]}], k=1)
    assert len(str(error.value)) < 500 and time.process_time() - began < 10


def test_an_idempotency_key_is_of_one_run(run, tmp_path):
    other = Path(shutil.copytree(run, tmp_path / "other"))
    service = Asking(Service(hosted([run, other], "ecommerce"), state=tmp_path / "state"))
    try:
        edit = {"json": {"file": [{"sku": "k1", "name": "red k", "colour": "red", "price": 3}]}, "headers": {"Idempotency-Key": "k"}}
        assert service("POST", "/v1/ecommerce/add-items?run=other", **edit).status_code == 200
        assert service("POST", "/v1/ecommerce/add-items?run=shop", **edit).status_code == 409
    finally:
        service.close()
