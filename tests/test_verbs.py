"""A verb from Python: a function with a real signature, and many requests of which a faulty one spoils no other."""

from __future__ import annotations

import inspect
import pydoc
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Relation, Task
from kgrec_core.recipe.components import Domain, Verb
from kgrec_core.verbs import call, each, grouped, one, words


@dataclass(frozen=True)
class Ask:
    """Ask somebody.

    who: a name. k: how many. tags: of it.

    Example: kgrec DOMAIN ask 7
    """

    who: str
    k: int = 3
    tags: tuple[str, ...] = field(default=(), metadata={"option": "--tag"})


def answer(source, requests):
    return [KgrecError(f"nobody is called '{r.who}'") if r.who == "x" else (source, r) for r in requests]


def work(run, request, progress):
    progress("working", 1, 2)
    if request.k == 0:
        raise KgrecError("k = 0 is no work")
    return run, request.k


def short(source, requests):
    return []


class Run:
    snapshot = "a snapshot"


@pytest.fixture
def shop(monkeypatch):
    """A domain's package, as its __init__ makes it."""
    here = __name__
    verbs = {
        "ask-him": Verb(f"{here}:Ask", f"{here}:answer", help="Ask."),
        "change": Verb(f"{here}:Ask", f"{here}:answer", "edit"),
        "work": Verb(f"{here}:Ask", f"{here}:work", "job"),
        "alone": Verb(f"{here}:Ask", f"{here}:work", "job", opens=False),
        "perhaps": Verb(f"{here}:Ask", f"{here}:work", "job", opens=None),
        "short": Verb(f"{here}:Ask", f"{here}:short"),
    }
    module = types.ModuleType("toy_shop", "A shop of toys.")
    domain = Domain("shop", "toy_shop:recipe.toml", verbs=verbs)
    monkeypatch.setitem(sys.modules, "toy_shop", module)
    vars(module).update(zip(("__getattr__", "__dir__", "__all__"), words("toy_shop", domain, {"absent": "Absent"}), strict=True))
    return module


def test_an_ask_reads_the_snapshot_and_an_edit_the_run(shop):
    run = Run()
    assert shop.ask_him(run, "a", tags=["b"]) == ("a snapshot", Ask("a", 3, ("b",)))
    assert shop.ask_him("already one", who=7) == ("already one", Ask("7"))
    assert shop.change(run, "a", k="5") == (run, Ask("a", 5))


def test_a_job_gets_progress_and_perhaps_a_run(shop):
    told = []
    assert shop.work("run", "a", progress=lambda *given: told.append(given)) == ("run", 3) and told == [("working", 1, 2)]
    assert shop.work("run", "a") == ("run", 3)
    assert shop.alone("a", 4) == (None, 4)
    assert shop.perhaps(who="a") == (None, 3) and shop.perhaps("run", "a") == ("run", 3)


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda shop: shop.ask_him("run", "x"), KgrecError, "nobody is called 'x'"),
        (lambda shop: shop.work("run", "a", 0), KgrecError, "k = 0 is no work"),
        (lambda shop: shop.ask_him("run"), TypeError, "missing a required argument: 'who'"),
        (lambda shop: shop.ask_him("run", "a", kk=1), TypeError, "unexpected keyword argument 'kk'"),
        (lambda shop: shop.short("run", "a"), KgrecError, "gives 0 results for 1 requests"),
        (lambda shop: shop.sell, AttributeError, "module 'toy_shop' has no attribute 'sell'"),
    ],
)
def test_what_is_wrong_is_raised(shop, ask, error, said):
    with pytest.raises(error, match=said):
        ask(shop)


def test_help_shows_signature_and_text(shop):
    assert str(inspect.signature(shop.ask_him)) == "(run: 'Run', who: str, k: int = 3, tags: tuple[str, ...] = ())"
    assert "progress" in inspect.signature(shop.work).parameters and "run" not in inspect.signature(shop.alone).parameters
    page = pydoc.plain(pydoc.render_doc(shop.ask_him))
    for text in ("Ask somebody.", "who: a name.", "k: how many."):
        assert text in page
    assert {"evaluate", "report", "fit"} <= set(dir(shop)) and "data: labelled rows" in shop.evaluate.__doc__
    assert "ask_him" in dir(shop) and "Absent" in shop.__all__ and "__all__" in dir(shop)
    assert shop.ask_him is shop.ask_him


def test_one_bad_request_never_spoils_the_others():
    asked = [list(range(n)) for n in (0, 1, 5, 9)]
    seen: list[list[int]] = []

    def parity(numbers):
        seen.append(numbers)
        if bad := [n for n in numbers if n in (3, 4, 7)]:
            raise KgrecError(f"{bad[0]} is refused")
        return [10 * n for n in numbers]

    for numbers in asked:
        found = grouped(numbers, lambda n: n % 2, parity)
        assert [str(f) if isinstance(f, KgrecError) else f for f in found] == [
            f"{n} is refused" if n in (3, 4, 7) else 10 * n for n in numbers
        ]
    assert all(len({n % 2 for n in group}) == 1 for group in seen)
    seen.clear()
    assert grouped([0, 2, 6, 8], lambda n: n % 2, parity) == [0, 20, 60, 80] and seen == [[0, 2, 6, 8]]


def test_each_and_one():
    @each
    def half(source, n):
        """Half of it."""
        if n % 2:
            raise KgrecError(f"{n} is odd")
        return n // 2

    assert half.__doc__ == "Half of it."
    found = half(None, [2, 3, 4])
    assert found[0] == 1 and found[2] == 2 and str(found[1]) == "3 is odd"
    assert one(found[:1]) == 1
    with pytest.raises(KgrecError, match="3 is odd"):
        one(found[1:2])


def test_many_requests_of_a_verb(shop):
    found = call(Verb(f"{__name__}:Ask", f"{__name__}:answer"), Run(), [Ask("a"), Ask("x"), Ask("b")])
    assert [isinstance(f, KgrecError) for f in found] == [False, True, False]


@dataclass(frozen=True)
class Files:
    """faq: questions and their answers."""

    faq: str | None = None

    def layer(self):
        return {"data": {"file": self.faq}} if self.faq else {}


def test_fit_takes_layers_and_the_domains_own_files(shop, monkeypatch):
    from kgrec_core.jobs import fit as jobs

    seen = []
    monkeypatch.setattr(jobs, "fitted", lambda domain, folder, layers, progress: seen.append((folder, layers)) or jobs.Fitted("run", ""))
    fit = jobs.fit_word(Domain("shop", "toy_shop:recipe.toml", files=f"{__name__}:Files"))
    assert fit("runs/a", {"train": {"steps": 1}}, faq="faq.csv") == "run" and fit("runs/b") == "run"
    assert seen == [(Path("runs/a"), ({"data": {"file": "faq.csv"}}, {"train": {"steps": 1}})), (Path("runs/b"), ({},))]
    assert str(inspect.signature(fit)).startswith("(run, *layers, faq: str | None = None, progress=")
    assert "faq: questions and their answers." in fit.__doc__
    assert "faq" not in inspect.signature(shop.fit).parameters


def test_a_verb_that_needs_another_kind_of_run_says_so():
    graph = Relation("user", "buys", "item")
    run = types.SimpleNamespace(folder=Path("runs/shop"), tasks=(Task("buys", graph),))
    verb = Verb("kgrec_core.jobs.standard:Report", "kgrec_core.jobs.standard:report", "job", needs=("answered_by", "has_intent"))
    with pytest.raises(
        KgrecError, match=r"runs/shop predicts buys; this needs a run that predicts answered_by or has_intent: name another"
    ):
        call(verb, run, [None])
