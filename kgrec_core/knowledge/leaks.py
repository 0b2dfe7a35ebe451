"""A linter for leaks: what of the data already tells the held-out edges, under another name, in a text, by a twin or by the order of rows.

It reads the views of a split; seconds, on at most 2,000 test queries of a task. Every check compares the held-out edges with what chance
would give: the same queries with the targets of others. What `knowledge.disguise` refuses is not looked for again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Dataset, Graph, Queries, Relation, Task, View
from kgrec_core.knowledge.told import Encode, by_candidates, by_queries
from kgrec_core.split import Split

ASKED = 2_000  # test queries of a task that are looked at
MIRRORS = re.compile(
    r"also[_ -]?(bought|viewed|rated|liked)|(bought|purchased|viewed|seen)[_ -]?together|co[_ -]?(purchase|view|click|buy)|buy[_ -]?after"
)
RATE, LIFT, MOST = 0.02, 5.0, 0.5  # of the held-out edges that a relation tells, and so many times or so much more than chance
MORE, SURE, NEARER = 0.05, 3.0, 0.62  # what a text tells beyond what is known, as AUC; standard errors; AUC against what is most alike
FEW, READ, ENCODED, MET = 50, 1_000, 300, 20  # texts that say something; that are read; that are encoded; of what each met last
TWINS, TIES, NAMED = 0.02, 0.1, 0.01  # shares of test queries
SEEN, MANY, ALIKE = 8, 20, 0.75  # met by those who may have a twin, of it looked at, in common


class Leak(NamedTuple):
    """kind: what was found; where: the relation or the text; said: in a sentence, with figures. grade: "leak" or "doubt"."""

    kind: str
    where: str
    said: str
    grade: Literal["leak", "doubt"] = "leak"

    def __str__(self) -> str:
        return f"{self.grade}: {self.where}: {self.said}"


def leaks(
    dataset: Dataset, views: Mapping[str, View], how: Split, derived: Iterable[str] = (), seed: int = 0, encode: Encode | None = None
) -> list[Leak]:
    """What is found, for every task of the data set. derived: relations that were made from texts and columns here, and mirror nothing.
    encode: texts -> unit vectors, of a language model; costs what it costs for a few thousand texts, and few written ones need it."""
    found: dict[tuple[str, str], Leak] = {}
    for task in dataset.tasks:
        queries = views["test"].queries[task.name]
        index = np.flatnonzero(queries.targets.counts)
        index = np.random.default_rng(seed).permutation(index)[: 20 * ASKED]
        index = np.sort(index[np.argsort(_silent(queries.take(index)), kind="stable")][:ASKED])
        if len(index):
            asked = _Asked(task, queries.take(index), seed, encode)
            behaviour = {r for t in dataset.tasks for r in (t.relation, *t.history)}
            for leak in _all(dataset.graph, asked, behaviour, how, frozenset(derived)):
                found.setdefault((leak.kind, leak.where), leak)
        judges = views["select"].queries[task.name]
        judges = judges.take(np.flatnonzero(judges.targets.counts)[:ASKED])
        if len(judges.nodes) and "text" in dataset.graph.columns(task.relation.source):
            for leak in _same_texts(_Asked(task, judges, seed, None), "judges", "validation queries, which choose what is published,"):
                found.setdefault((leak.kind, leak.where), leak)
    return list(found.values())


def _silent(queries: Queries) -> NDArray[np.bool_]:
    """(n,) whether a query has no text of its own; those that have one are asked first."""
    return np.array([not text for text in _texts(queries.nodes.graph, queries.nodes.kind, queries.nodes.rows)])


class _Asked:
    """Test queries, each with one of its held-out targets, one that is another's, and what it met before."""

    def __init__(self, task: Task, queries: Queries, seed: int, encode: Encode | None) -> None:
        draw, self.encode = np.random.default_rng(seed), encode
        self.task, self.nodes, self.graph = task, queries.nodes, queries.nodes.graph
        self.targets = queries.targets
        self.right = queries.targets.rows[queries.targets.indptr[:-1] + draw.integers(0, queries.targets.counts)]
        self.other = self.right[draw.permutation(len(self.right))]
        self.met = queries.nodes.read(task.relation)
        has = self.met.counts > 0
        self.last = np.full(len(self.right), -1)
        self.last[has] = self.met.rows[self.met.indptr[1:][has] - 1]
        self.new = has.copy()  # what was met before is no news
        self.new[self.met.owner[self.met.rows == self.right[self.met.owner]]] = False
        self.kinds = task.relation.source, task.relation.target

    def readings(self, which: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Encode | None]]:
        """Which queries' texts are read by their words, and which by a language model, where there is one."""
        return [(which, None), *([(which[:ENCODED], self.encode)] if self.encode else [])]


def _all(graph: Graph, asked: _Asked, behaviour: set[Relation], how: Split, derived: frozenset[str]) -> Iterator[Leak]:
    for relation in asked.graph.relations:
        if relation not in behaviour and str(relation) not in derived:
            yield from _mirror(asked, relation)
    yield from _ids(asked)
    yield from _written(asked)
    yield from _restated(asked)
    yield from _twins(asked)
    if how.by == "last":
        yield from _ties(graph, asked.task)


def _mirror(asked: _Asked, relation: Relation) -> Iterator[Leak]:
    """A relation between candidates that joins the last thing met with the held-out target; or one that joins query and target."""
    source, target = asked.kinds
    told = "the behaviour of others, collected over all time, by its name"
    if (relation.source, relation.target) == (target, target):
        start = asked.last
    elif {relation.source, relation.target} == {source, target} and source != target:
        start = asked.nodes.rows
    else:
        return
    usable = (start >= 0) & (start != asked.right)
    held, chance = (_joined(asked.graph, relation, start, ends, source)[usable] for ends in (asked.right, asked.other))
    rate, usual = float(held.mean()) if len(held) else 0.0, float(chance.mean()) if len(chance) else 0.0
    figures = f"{rate:.1%} of the held-out edges are among its own, {usual:.1%} by chance"
    if MIRRORS.search(relation.name.lower()):
        yield Leak("mirror", str(relation), f"{told}; {figures}")
    elif rate >= RATE and (rate >= LIFT * max(usual, 1 / max(1, len(chance))) or rate - usual >= MOST):
        yield Leak("mirror", str(relation), f"it was collected with what is held out: {figures}")


def _joined(graph: Graph, relation: Relation, start: NDArray, end: NDArray, source: str) -> NDArray[np.bool_]:
    """(n,) whether an edge joins the two rows, either way round."""
    found = np.zeros(len(start), bool)
    ways = [False, True] if relation.source == relation.target else [relation.source != source]
    for inverse in ways:
        ends = graph.adjacent(relation, start, inverse=inverse)
        hit = ends.owner[ends.rows == end[ends.owner]]
        found[hit] = True
    return found


# --- texts ----------------------------------------------------------------------------------------------------------------
def _texts(graph: Graph, kind: str, rows: NDArray[np.int64]) -> list[str]:
    if "text" not in graph.columns(kind):
        return [""] * len(rows)
    return [(text or "").lower() for text in graph.gather(kind, np.maximum(rows, 0), "text")["text"].to_list()]


def _ids(asked: _Asked) -> Iterator[Leak]:
    """The id of the held-out target in the query's text; ids of other candidates in a candidate's. An id without a digit is a word that anybody may say."""
    source, target = asked.kinds
    ids = [id.lower() for id in asked.graph.gather(target, asked.right, "id")["id"].to_list()]
    own = _texts(asked.graph, source, asked.nodes.rows)
    share = np.mean([_code(id) and id in _words(text) for id, text in zip(ids, own, strict=True)])
    if share >= NAMED:
        yield Leak("ids", f"{source}.text", f"the id of the held-out {target} is in {share:.1%} of the texts of those who are asked")
    every = {id.lower() for id in asked.graph.entities[target]["id"].to_list() if _code(id)}
    named = [bool((_words(text) & every) - {id}) for id, text in zip(ids, _texts(asked.graph, target, asked.right), strict=True)]
    if np.mean(named) >= 5 * NAMED:
        yield Leak("ids", f"{target}.text", f"{np.mean(named):.1%} of the texts name the id of another {target}")


def _written(asked: _Asked) -> Iterator[Leak]:
    """Texts of queries that were written from what is held out, whatever their words."""
    source, target = asked.kinds
    if source == target or "text" not in asked.graph.columns(target):
        return  # who follows whom writes of themselves
    own = np.array(_texts(asked.graph, source, asked.nodes.rows), object)
    which = np.flatnonzero(asked.new & (own != ""))[:READ]
    if len(which) < FEW:
        return
    for some, encode in asked.readings(which):
        met = [asked.met.rows[asked.met.indptr[i] : asked.met.indptr[i + 1]][-MET:] for i in some]
        rows, place = np.unique(np.concatenate([*met, asked.right[some]]), return_inverse=True)
        parts = np.split(place[: -len(some)], np.cumsum([len(of) for of in met])[:-1])
        told = by_queries(own[some].tolist(), parts, place[-len(some) :], _texts(asked.graph, target, rows), encode)
        if told.held - told.usual >= MORE and told.sure >= SURE and told.share >= 0.5:
            said = f"it tells the held-out {target} from another's in {told.held:.0%} of cases, a known one in {told.known:.0%}"
            said = f"{said}, and what is known tells the held-out one in {told.usual:.0%}: written from the whole history"
            yield Leak("written from what is held out", f"{source}.text", said)
            return


def _restated(asked: _Asked) -> Iterator[Leak]:
    """Texts of candidates that tell of their neighbours: that of what was met last is nearer to the held-out one than what is most like it."""
    target = asked.kinds[1]
    which = np.flatnonzero(asked.new)
    if asked.kinds[0] == target or len(which) < FEW or "text" not in asked.graph.columns(target):
        return
    for some, encode in asked.readings(which):
        rows, place = np.unique(np.concatenate([asked.last[some], asked.right[some]]), return_inverse=True)
        nearer, sure = by_candidates(place[: len(some)], place[len(some) :], _texts(asked.graph, target, rows), encode)
        if nearer >= NEARER and sure >= SURE:
            said = f"in {nearer:.0%} of the held-out steps the texts are nearer to each other than to what is most like them: they tell of their neighbours"
            yield Leak("written from what is held out", f"{target}.text", said)
            return


def _code(id: str) -> bool:
    return len(id) > 3 and any(map(str.isdigit, id))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text))


# --- twins and ties ---------------------------------------------------------------------------------------------------------
def _twins(asked: _Asked) -> Iterator[Leak]:
    """Another source that is known to have met nearly all that this one has and hardly more, the held-out target too: the same one under a second
    id. Where all have met most of what there is, those who have another's target are as many."""
    source = asked.kinds[0]
    usable = np.flatnonzero(asked.met.counts >= SEEN)[: ASKED // 4]
    twins, chance = (sum(_known_twice(asked, place, ends[place]) for place in usable) for ends in (asked.right, asked.other))
    if len(usable) >= 20 and twins >= max(5, TWINS * len(usable), LIFT * chance):
        yield Leak("twins", source, f"{twins / len(usable):.1%} of those who are asked are known under another id, with what is held out")
    if "text" in asked.graph.columns(source):
        yield from _same_texts(asked, "twins", "those who are asked")


def _known_twice(asked: _Asked, place: int, end: int) -> bool:
    """Whether another who has met `end` has met nearly all that this query has and, but for it, hardly more."""
    relation, graph = asked.task.relation, asked.graph
    met = np.unique(asked.met.rows[asked.met.indptr[place] : asked.met.indptr[place + 1]])
    having = graph.adjacent(relation, np.array([end, *met[:MANY]]), inverse=True)
    lists = [np.unique(having.rows[having.indptr[i] : having.indptr[i + 1]]) for i in range(len(having.indptr) - 1)]
    others = lists[0][lists[0] != asked.nodes.rows[place]]
    shared = np.sum([np.isin(others, of) for of in lists[1:]], axis=0) if len(others) else np.zeros(0)
    for other in others[shared >= ALIKE * (len(lists) - 1)]:
        own = np.unique(graph.adjacent(relation, [other]).rows)
        if abs(len(own) - len(met) - 1) <= 1 + len(met) // 10 and np.isin(met, own).mean() >= ALIKE:
            return True
    return False


def _same_texts(asked: _Asked, kind: str, who: str) -> Iterator[Leak]:
    """A query whose very text is known of another source with the same target, beyond the chance that a text which many have says nothing."""
    source, relation, graph = asked.kinds[0], asked.task.relation, asked.graph
    own = _texts(graph, source, asked.nodes.rows)
    known = np.unique(graph.relations[relation]["source"].drop_nulls().to_numpy()).astype(np.int64)
    row_of: dict[str, list[int]] = {}
    wanted = {text for text in own if len(text) > 3}
    for row, text in zip(known.tolist(), _texts(graph, source, known), strict=True):
        if text in wanted:
            row_of.setdefault(text, []).append(row)
    same, chance = 0, 0
    for place, text in enumerate(own):
        rows = [row for row in row_of.get(text, ()) if row != asked.nodes.rows[place]]
        found = graph.adjacent(relation, np.array(rows)).rows if rows else ()
        same, chance = same + (asked.right[place] in found), chance + (asked.other[place] in found)
    if same >= max(5, TWINS * len(own), LIFT * chance):
        yield Leak(kind, f"{source}.text", f"{same / len(own):.1%} of {who} are known, word for word, with the same answer")


def _ties(graph: Graph, task: Task) -> Iterator[Leak]:
    """Last edges at the very time of the one before: the order of rows decides which is held out."""
    if not graph.dated(task.relation):
        return
    table = graph.relations[task.relation].drop_nulls(["source", "target"]).sort("source", "time")
    source, time = table["source"].to_numpy(), table["time"].to_numpy()
    last = np.flatnonzero(np.diff(source, append=-1) != 0) if len(source) else np.zeros(0, np.int64)
    last = last[(last > 0)]
    last = last[source[last] == source[last - 1]]
    share = float((time[last] == time[last - 1]).mean()) if len(last) else 0.0
    if share >= TIES:
        yield Leak(
            "ties",
            str(task.relation),
            f"{share:.0%} of the last edges have the time of the one before: the order of rows tells them apart",
            "doubt",
        )
