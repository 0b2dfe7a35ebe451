"""A retrieval that breaks a promise is told so by the kit."""

import numpy as np
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.retrieval.exact import Exact
from kgrec_core.retrieval.repeat import Repeat
from kgrec_core.testing import check_retrieval


class Worse(Exact):
    fault = ""

    def search(self, queries, vectors, k, allowed=None, exclude=None):
        allowed = None if self.fault == "allowed" else allowed
        exclude = None if self.fault == "exclude" else exclude
        if self.fault == "where" and allowed is not None and allowed.where:
            allowed = None
        hits = super().search(queries, vectors, k, allowed, exclude)
        if self.fault == "order":
            return hits._replace(rows=hits.rows[:, ::-1], scores=hits.scores[:, ::-1])
        return hits._replace(rows=hits.rows.astype(np.int32)) if self.fault == "type" else hits

    def score(self, queries, vectors, pairs):
        return super().score(queries, vectors, pairs) + (self.fault == "score")

    def extended(self, graph, new, encode):
        if self.fault == "newcomer":
            return self
        other = super().extended(graph, new, encode)
        if self.fault == "original":
            self.delta_, self.stale_ = other.delta_, other.stale_
        return other


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("allowed", "that is not allowed"),
        ("exclude", "an excluded candidate"),
        ("where", "what its rows allow"),
        ("order", "best first"),
        ("type", "instead of int64"),
        ("score", "must be what search gives it"),
        ("newcomer", "`extended` finds none"),
        ("original", "changes the original"),
    ],
)
def test_a_fault_is_told(fault, told):
    with pytest.raises(AssertionError, match=told):
        check_retrieval(type("Part", (Worse,), {"fault": fault}))


class Vague(Repeat):
    scales = ""


class Knows(Repeat):
    """Says that all queries are alike."""

    reads = "nothing"


class Peeks(Exact):
    """Looks at vectors where it has some."""

    reads = "history"

    def search(self, queries, vectors, k, allowed=None, exclude=None):
        return super().search(queries, np.ones((len(queries), 4), np.float32) if vectors is None else vectors, k, allowed, exclude)


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Vague, "`scales` must say"),
        (Knows, "two queries of one moment"),
        (Peeks, 'reads = "history", but'),
        (object, "derive it from kgrec_core.Retrieval"),
    ],
)
def test_what_a_part_says_of_itself_is_held_against_it(part, told):
    with pytest.raises(AssertionError, match=told):
        check_retrieval(part)


class Plain:
    """The methods, without the base class."""

    def build(self, graph, task, candidates, encode): ...
    def search(self, queries, vectors, k, allowed=None, exclude=None): ...
    def save(self, folder): ...
    def load(self, folder, graph, task): ...


def test_a_recipe_refuses_a_part_without_the_base_class(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Mine:\n    def build(self): ...\n    def search(self): ...\n    def save(self): ...\n    def load(self): ...\n"
    )
    recipe = resolve({"retrieval": {"buys": {"use": f"{tmp_path}/mine:Mine"}}})
    with pytest.raises(KgrecError, match=r"Mine is no retrieval; derive it from kgrec_core.Retrieval$") as error:
        recipe.retrieval(Registry.discover(), "buys")
    assert "\n" not in str(error.value)
