"""A newly published run is loaded beside the old one and swapped; one that does not open is not shown; and there is a way back."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

import pytest
from asgi import Asking

import kgrec_core
from kgrec_core.errors import KgrecError
from kgrec_core.run import carry
from kgrec_core.serving import hosted as hosted_module
from kgrec_core.serving.hosted import domain_of, hosted
from kgrec_core.serving.problem import Refused
from kgrec_core.serving.service import Service


@pytest.fixture
def service(copy: Path, tmp_path: Path) -> Service:
    return Service(hosted([copy], "ecommerce"), state=tmp_path / "state")


def publish_again(folder: Path) -> None:
    """The same run with an edit baked in: another manifest."""
    run = kgrec_core.open_run(folder)
    run.remove("item", ["r0"])
    carry.compact(run)


def finds(snapshot) -> bool:
    return any(answer.id == "r0" for answer in snapshot.answer(["ruser0"], k=16)[0])


def test_reload_and_back(service: Service, copy: Path):
    of = service.named(None)
    old = of.published
    service.look()
    assert of.published == old and finds(of.snapshot)
    publish_again(copy)
    before = of.snapshot  # with the other process's edit, and as long as the new run is not loaded
    assert not finds(before)
    service.look()
    assert of.published != old and not finds(of.snapshot) and of.run.folder == copy
    new = of.published
    service.back(of)
    assert of.published == old and of.snapshot is before and of.rolled_back
    with pytest.raises(Refused, match="was rolled back and takes no edits"):
        _ = of.run
    service.look()
    assert of.published == old
    with pytest.raises(Refused, match="nothing to go back to"):
        service.back(of)
    assert service.reload(of) and of.published == new and not of.rolled_back and not service.taken()


def test_every_worker_goes_back(service: Service, copy: Path):
    other = Service(hosted([copy], "ecommerce"), state=service.state)
    publish_again(copy)
    service.look(), other.look()
    service.back(service.named(None))
    other.look()
    assert other.named(None).rolled_back and other.named(None).published == service.named(None).published


def test_a_damaged_run_is_not_shown(service: Service, copy: Path, tmp_path: Path):
    of, old = service.named(None), service.named(None).published
    publish_again(copy)
    vectors = next(p for p in (copy / "retrieval").rglob("*") if p.is_file())
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-1])
    service.look()
    assert of.published == old and not finds(of.snapshot)
    with pytest.raises(KgrecError):
        service.reload(of)
    vectors.write_bytes(whole)
    assert service.reload(of) and of.published != old
    os.rename(copy, tmp_path / "away")  # between the renames of a publish, or for good
    service.look()
    assert of.snapshot.answer(["ruser0"], k=1)[0]


def test_names_and_domains(copy: Path, tmp_path: Path):
    shutil.copytree(copy, tmp_path / "other" / "run")
    with pytest.raises(KgrecError, match="have one name"):
        hosted([copy, tmp_path / "other" / "run"], "ecommerce")
    with pytest.raises(KgrecError, match="no domain is called 'shop'"):
        hosted([copy], "shop")
    assert domain_of(kgrec_core.open_run(copy), {"e": _domain("e", ()), "s": _domain("s", ("answered_by",))}).name == "e"
    with pytest.raises(KgrecError, match=r"predicts buys; say whose words it answers with --domain a or b"):
        domain_of(kgrec_core.open_run(copy), {"a": _domain("a", ()), "b": _domain("b", ())})


def _domain(name, needs):
    from kgrec_core.recipe.components import Domain, Verb

    return Domain(name, "", verbs={"ask": Verb("", "", needs=needs)})


def told_once(caplog, text: str) -> None:
    assert [of.message for of in caplog.records if "is not shown" in of.message] == [of for of in caplog.messages if text in of] != []
    assert len(caplog.records) == 1
    caplog.clear()


def test_a_run_that_is_copied_file_by_file_is_shown_when_it_is_whole(service: Service, copy: Path, tmp_path: Path, caplog):
    of, old = service.named(None), service.named(None).published
    publish_again(copy)
    whole, late = shutil.copytree(copy, tmp_path / "whole"), next((copy / "retrieval").rglob("*.*"))
    late.unlink()
    for _ in range(3):
        service.look()
    told_once(caplog, f"{late.relative_to(copy)} is missing")
    late.write_bytes(b"half")
    service.look()
    assert not caplog.records  # it still grows
    shutil.copyfile(whole / late.relative_to(copy), late)
    service.look(), service.look()
    assert of.published != old and not caplog.records


def test_a_run_of_something_else_or_that_breaks_is_not_shown(service: Service, copy: Path, monkeypatch, caplog):
    of, old = service.named(None), service.named(None).published
    publish_again(copy)
    opened = hosted_module.open_run

    def other(*given):
        run = opened(*given)
        run.tasks = ()
        return run

    monkeypatch.setattr(hosted_module, "open_run", other)
    service.look(), service.look()
    told_once(caplog, "has no task buys, which the run of before answers")
    with pytest.raises(KgrecError, match="has no task buys"):
        service.reload(of)
    monkeypatch.undo()
    monkeypatch.setattr(hosted_module, "smoke", lambda snapshot: [][0])
    os.utime(copy / "manifest.json")
    for _ in range(3):
        service.look()
    told_once(caplog, "IndexError: list index out of range")
    with pytest.raises(KgrecError, match="IndexError"):
        service.reload(of)
    monkeypatch.undo()
    assert of.published == old and service.reload(of) and of.published != old


def test_the_watch_goes_on_after_a_fault(service: Service, monkeypatch, caplog):
    seen = []
    monkeypatch.setattr(service, "look", lambda: seen.append(1) or 1 / 0)
    service.watch_every = 0.01

    async def some():
        with suppress(TimeoutError):
            await asyncio.wait_for(service.watch(), 0.5)

    asyncio.run(some())
    assert len(seen) > 1 and "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("harm", [lambda file: os.truncate(file, 5000), lambda file: file.write_bytes(b""), Path.unlink])
def test_with_a_damaged_log_answers_go_on_and_edits_wait(copy: Path, tmp_path: Path, caplog, harm):
    kgrec_core.open_run(copy).remove("item", ["r0"])
    file = copy.with_name("run.live.sqlite")
    whole = file.read_bytes()
    with closing(Asking(Service(hosted([copy], "ecommerce"), state=tmp_path / "state"))) as ask:
        edit = {"file": [{"sku": "n1", "name": "a red jug", "price": 1, "colour": "red"}]}

        def answered():
            found = ask("POST", "/v1/ecommerce/recommend", json={"user": "ruser0", "k": 16})
            return found.status_code, found.json().get("edit"), found.json().get("result")

        before = answered()
        harm(file)
        assert before[:2] == (200, 1) and answered() == before
        refused = ask("POST", "/v1/ecommerce/add-items", json=edit)
        assert refused.status_code == 503 and "run.live.sqlite" in refused.json()["detail"]
        ask.service.look()
        assert ask("GET", "/health/ready").json() == {"ready": True, "unreadable": ["run"]}
        assert 'kgrec_log_unreadable{run="run"} 1.0' in ask("GET", "/metrics").text
        assert sum("answers go on" in line.message for line in caplog.records) == 1
        file.write_bytes(whole)
        assert answered() == before and ask("POST", "/v1/ecommerce/add-items", json=edit).json()["edit"] == 2
        ask.service.look()
        assert ask("GET", "/health/ready").json() == {"ready": True}
        assert 'kgrec_log_unreadable{run="run"} 0.0' in ask("GET", "/metrics").text
