"""A linter for leaks: what of the data already tells the held-out edges, under another name, in a text, by a twin or by the order of rows.

It reads the views of a split and learns nothing; seconds, on at most 2,000 test queries of a task. Every check compares the held-out
edges with what chance would give: the same queries with the targets of others. What `knowledge.disguise` refuses is not looked for again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.graph import Dataset, Graph, Queries, Relation, Task, View
from kgrec_core.split import Split

ASKED = 2_000  # test queries of a task that are looked at
MIRRORS = re.compile(
    r"also[_ -]?(bought|viewed|rated|liked)|(bought|purchased|viewed|seen)[_ -]?together|co[_ -]?(purchase|view|click|buy)|buy[_ -]?after"
)
RATE, LIFT, MOST = 0.02, 5.0, 0.5  # of the held-out edges that a relation tells, and so many times or so much more than chance
VERBATIM = 0.25  # of the steps between products whose texts share five rare words in a row
COVERED = 0.15  # of a target's words, beyond chance, that are in its query's own text
TWINS, TIES, NAMED = 0.02, 0.1, 0.01  # shares of test queries
PHRASE, SEEN, MANY, ALIKE = 5, 8, 20, 0.75  # words in a row; met by those who may have a twin, of it looked at, in common


class Leak(NamedTuple):
    """kind: what was found; where: the relation or the text; said: in a sentence, with figures. grade: "leak" or "doubt"."""

    kind: str
    where: str
    said: str
    grade: Literal["leak", "doubt"] = "leak"

    def __str__(self) -> str:
        return f"{self.grade}: {self.where}: {self.said}"


def leaks(dataset: Dataset, views: Mapping[str, View], how: Split, derived: Iterable[str] = (), seed: int = 0) -> list[Leak]:
    """What is found, for every task of the data set. derived: relations that were made from texts and columns here, and mirror nothing."""
    found: dict[tuple[str, str], Leak] = {}
    for task in dataset.tasks:
        queries = views["test"].queries[task.name]
        index = np.flatnonzero(queries.targets.counts)
        index = np.sort(np.random.default_rng(seed).permutation(index)[:ASKED])
        if len(index):
            asked = _Asked(task, queries.take(index), seed)
            behaviour = {r for t in dataset.tasks for r in (t.relation, *t.history)}
            for leak in _all(dataset.graph, asked, behaviour, how, frozenset(derived)):
                found.setdefault((leak.kind, leak.where), leak)
    return list(found.values())


class _Asked:
    """Test queries, each with one of its held-out targets, one that is another's, and what it met before."""

    def __init__(self, task: Task, queries: Queries, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.task, self.nodes, self.graph = task, queries.nodes, queries.nodes.graph
        self.targets = queries.targets
        self.right = queries.targets.rows[queries.targets.indptr[:-1] + draw.integers(0, queries.targets.counts)]
        self.other = self.right[draw.permutation(len(self.right))]
        self.met = queries.nodes.read(task.relation)
        has = self.met.counts > 0
        self.last = np.full(len(self.right), -1)
        self.last[has] = self.met.rows[self.met.indptr[1:][has] - 1]
        self.kinds = task.relation.source, task.relation.target


def _all(graph: Graph, asked: _Asked, behaviour: set[Relation], how: Split, derived: frozenset[str]) -> Iterator[Leak]:
    for relation in asked.graph.relations:
        if relation not in behaviour and str(relation) not in derived:
            yield from _mirror(asked, relation)
    yield from _ids(asked)
    yield from _own_text(asked)
    yield from _verbatim(asked)
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


def _own_text(asked: _Asked) -> Iterator[Leak]:
    """A text of the query that has the words of the held-out target as it has those of what was met: it was written from all of it."""
    source, target = asked.kinds
    usable = np.flatnonzero((asked.last >= 0) & (asked.last != asked.right))
    own = _texts(asked.graph, source, asked.nodes.rows[usable])
    if len(usable) < 20 or not any(own):
        return
    rare = _Rare([_words(text) for text in _texts(asked.graph, target, asked.right)])
    held, chance, met = (
        np.array(
            [rare.covered(_words(text), _words(other)) for text, other in zip(_texts(asked.graph, target, rows[usable]), own, strict=True)]
        )
        for rows in (asked.right, asked.other, asked.last)
    )
    beyond = float(held.mean() - chance.mean())
    if beyond >= COVERED and beyond >= 0.5 * float(met.mean() - chance.mean()):
        said = f"it has {held.mean():.0%} of the words of the held-out {target}, {chance.mean():.0%} of another's: written from the whole history"
        yield Leak("written from what is held out", f"{source}.text", said)


def _verbatim(asked: _Asked) -> Iterator[Leak]:
    """Texts of candidates that quote the held-out neighbour: long phrases in common between what was met last and what is held out."""
    target = asked.kinds[1]
    usable = np.flatnonzero((asked.last >= 0) & (asked.last != asked.right))
    if len(usable) < 20 or "text" not in asked.graph.columns(target):
        return
    texts = {
        name: [_phrases(t) for t in _texts(asked.graph, target, rows[usable])]
        for name, rows in (("last", asked.last), ("held", asked.right), ("chance", asked.other))
    }
    common = Counter(phrase for found in texts["held"] for phrase in found)
    often = {phrase for phrase, n in common.items() if n > max(10, 0.1 * len(usable))}  # what every text says says nothing
    held, chance = (
        np.mean([bool((a & b) - often) for a, b in zip(texts["last"], texts[name], strict=True)]) for name in ("held", "chance")
    )
    if held >= VERBATIM and held >= LIFT * max(chance, 1 / len(usable)):
        said = f"{held:.0%} of the held-out steps join texts with {PHRASE} rare words in a row in common, {chance:.0%} by chance: they quote their neighbours"
        yield Leak("written from what is held out", f"{target}.text", said)


def _code(id: str) -> bool:
    return len(id) > 3 and any(map(str.isdigit, id))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", text))


def _phrases(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[^\W_]+", text)
    return {tuple(words[i : i + PHRASE]) for i in range(len(words) - PHRASE + 1)}


class _Rare:
    """Inverse document frequencies of words."""

    def __init__(self, texts: list[set[str]]) -> None:
        self.n, self.counts = len(texts), Counter(word for words in texts for word in words)

    def covered(self, words: set[str], by: set[str]) -> float:
        """Share of the words' rarity that is in the other text."""
        weight = {word: np.log((1 + self.n) / self.counts.get(word, 1)) for word in words}
        return sum(weight[word] for word in words & by) / (sum(weight.values()) or 1.0)


# --- twins and ties ---------------------------------------------------------------------------------------------------------
def _twins(asked: _Asked) -> Iterator[Leak]:
    """Another source that is known to have met nearly all that this one has and hardly more, the held-out target too: the same one under a second id."""
    source, _ = asked.kinds
    relation, graph = asked.task.relation, asked.graph
    usable, twins = np.flatnonzero(asked.met.counts >= SEEN), 0
    for place in usable[: ASKED // 4]:
        met = np.unique(asked.met.rows[asked.met.indptr[place] : asked.met.indptr[place + 1]])
        having = graph.adjacent(relation, np.array([asked.right[place], *met[:MANY]]), inverse=True)
        lists = [np.unique(having.rows[having.indptr[i] : having.indptr[i + 1]]) for i in range(len(having.indptr) - 1)]
        others = lists[0][lists[0] != asked.nodes.rows[place]]
        shared = np.sum([np.isin(others, of) for of in lists[1:]], axis=0) if len(others) else np.zeros(0)
        others = others[shared >= ALIKE * (len(lists) - 1)]
        twins += bool(len(others) and (np.abs(_breadth(graph, relation, others) - len(met) - 1) <= 1 + len(met) // 10).any())
    n = min(len(usable), ASKED // 4)
    if n >= 20 and twins >= max(5, TWINS * n):
        yield Leak("twins", source, f"{twins / n:.1%} of those who are asked are known under another id, with what is held out")
    if "text" in graph.columns(source):
        yield from _same_texts(asked)


def _breadth(graph: Graph, relation: Relation, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.array([len(np.unique(graph.adjacent(relation, [row]).rows)) for row in rows])


def _same_texts(asked: _Asked) -> Iterator[Leak]:
    """A query whose very text is known of another source with the same target."""
    source, relation, graph = asked.kinds[0], asked.task.relation, asked.graph
    own = _texts(graph, source, asked.nodes.rows)
    known = np.unique(graph.relations[relation]["source"].drop_nulls().to_numpy()).astype(np.int64)
    row_of: dict[str, list[int]] = {}
    wanted = {text for text in own if len(text) > 3}
    for row, text in zip(known.tolist(), _texts(graph, source, known), strict=True):
        if text in wanted:
            row_of.setdefault(text, []).append(row)
    same = 0
    for place, text in enumerate(own):
        rows = [row for row in row_of.get(text, ()) if row != asked.nodes.rows[place]]
        same += bool(rows) and asked.right[place] in graph.adjacent(relation, np.array(rows)).rows
    if same >= max(5, TWINS * len(own)):
        yield Leak(
            "twins", f"{source}.text", f"{same / len(own):.1%} of those who are asked are known, word for word, with the same answer"
        )


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
