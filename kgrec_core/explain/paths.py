"""The paths that lead from a query to its answers, weighted by what each answer's score is made of.

A part of a score that stands on the graph is shared among the paths over the graph, one that stands on behaviour among the paths over
others' choices, and so on. Within its kind a path counts as much as the score falls without the thing it starts from (what was met is
hidden from the query, and the whole chain asked again), times how rare is what the two have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.explain.explanation import Edge, Node, Path
from kgrec_core.explain.own import paths_from
from kgrec_core.explain.ties import Ties
from kgrec_core.explain.words import Rarity
from kgrec_core.graph import Nodes, Relation, Task
from kgrec_core.knowledge.hierarchy import ways_up
from kgrec_core.retrieval.ties import ABOVE

STARTS, EXAMPLES = 30, 500  # of what a query met, the latest, from which paths begin; known queries of an answer that are looked at
Weights = Mapping[tuple[str, str | None], float]  # (evidence, relation of the graph or None) -> part of the score, above 0


class Met(NamedTuple):
    """What a query met: rows (m,) of the target kind, each once, latest last; by: the relation it met each by; times: how often."""

    rows: NDArray[np.int64]
    by: list[Relation]
    times: NDArray[np.int64]


class Paths:
    """Of one query. query: its single node. influence: (m, answers), what the score of each loses without each thing met, 0 or more.

    own: (answers,) what it loses without the query's own edges of a relation. counts: how much a relation does where the graph speaks as a
    whole, by name; 1 where it is not told.
    """

    def __init__(
        self,
        task: Task,
        query: Nodes,
        met: Met,
        influence: NDArray[np.float64],
        own: Mapping[Relation, NDArray[np.float64]] = {},
        counts: Mapping[str, float] = {},
    ) -> None:
        self.own, self.counts = own, counts
        self.task, self.query, self.graph, self.met, self.influence = task, query, query.graph, met, influence
        self.kind = task.relation.target
        self.nodes: dict[tuple[str, int], Node] = {}
        self.source = self.node(task.relation.source, int(query.rows[0]))
        self.known = self._nodes(met.rows)
        self.ties = [r for r in sorted(self.graph.timeless) if self.kind in (r.source, r.target) and len(self.graph.relations[r])]
        self.tied: dict[tuple[Relation, bool], Ties] = {}
        self.having: list[NDArray[np.int64]] | None = None

    def to(self, answer: int, place: int, weights: Weights, most: int) -> tuple[Path, ...]:
        """The best paths to a row, the place-th of the answers."""
        item, found = self.node(self.kind, answer), []
        pull = self.influence[:, place] if len(self.met.rows) else np.zeros(0)
        pull = pull / pull.sum() if pull.sum() > 0 else np.full(len(pull), 1 / max(1, len(pull)))
        for make in (self._habit, self._graph, self._behaviour, self._words, self._examples):
            found += make(item, answer, pull, weights)
        for relation, lost in self.own.items():
            found += paths_from(self.task, self.query, self.source, relation, item, answer, float(lost[place]))
        found = [path for path in found if path.weight > 0]
        return tuple(sorted(found, key=lambda path: -path.weight)[:most])

    def _habit(self, item: Node, answer: int, pull: NDArray, weights: Weights) -> Iterable[Path]:
        here = np.flatnonzero(self.met.rows == answer)
        if len(here):
            by = self.met.by[here[0]]
            yield Path(
                "habit", (item,), (by.name,), weights.get(("habit", None), 0.0), int(self.met.times[here[0]]), (), (self._own(here[0]),)
            )

    def _graph(self, item: Node, answer: int, pull: NDArray, weights: Weights) -> Iterable[Path]:
        """By an end that both have, or that is above an end of either; rare ends count more, as in the ranker's own columns, and
        relations as much as was learned; and by a direct edge."""
        every, general = [], weights.get(("graph", None), 0.0)
        for relation in self.ties:
            for climbs in (False, True):
                own = weights.get(("graph", f"{relation.name}{ABOVE if climbs else ''}"), 0.0)
                if not own + general:
                    continue
                found = list(self._shared(relation, climbs, answer, pull))
                total, weight = sum(share for share, *_ in found) or 1.0, self.counts.get(relation.name, 1.0)
                every += [(weight * share, own * share / total, relation, *rest) for share, *rest in found]
        total = sum(share for share, *_ in every) or 1.0
        for share, own, relation, place, between in every:
            start, inverse, own_part = self.known[place], relation.source != self.kind, own + general * share / total
            nodes = (start, *between, item)
            ends = [self._edge(relation, *((end, of) if inverse else (of, end))) for of, end in ((start, nodes[1]), (item, nodes[-2]))]
            onward = between or answer in self.tied[relation, False].ends[place]
            edges = tuple(dict.fromkeys(ends)) if between else (self._edge(relation, *((start, item) if onward else (item, start))),)
            up = tuple(way.name for way in ways_up(self.graph, relation.target)[:1]) * 2 if len(between) > 1 else ()
            names = (relation.name, *up, relation.name) if between else (relation.name,)
            yield Path("graph", nodes, names, own_part, 1, (), (self._own(place), *edges))

    def _shared(self, relation: Relation, climbs: bool, answer: int, pull: NDArray) -> Iterable[tuple[float, int, tuple[Node, ...]]]:
        """What a shared end counts, the place of what was met, and the nodes between: the end; where it climbs, the ends of either beside it."""
        ties = self._ties(relation, climbs)
        if ties is None:
            return
        (own,), (length,) = ties.of(np.array([answer]))
        for place, (ends, long) in enumerate(zip(ties.ends, ties.length, strict=True)):
            row = int(self.met.rows[place])
            if row == answer:
                continue
            for end in np.intersect1d(own, ends, True).tolist():
                share = float(pull[place] * ties.pull(row, end) * ties.pull(answer, end) / (length * long))
                if not climbs:
                    yield share, place, (self.node(ties.kind, end),)
                elif (low := ties.below(row, end)) != (high := ties.below(answer, end)) or low != end:
                    yield share, place, tuple(self.node(ties.kind, each) for each in (low, end, high))
            if not climbs and relation.source == relation.target == self.kind and (answer in ends or row in own):
                yield float(pull[place]), place, ()

    def _ties(self, relation: Relation, climbs: bool) -> Ties | None:
        """What was met by a relation of the graph; read once, whatever the answers are. None where nothing is above its ends."""
        if climbs and (relation.source != self.kind or relation.target == self.kind or not ways_up(self.graph, relation.target)):
            return None
        if (relation, climbs) not in self.tied:
            self.tied[relation, climbs] = Ties(self.graph, relation, self.kind, self.met.rows, climbs)
        return self.tied[relation, climbs]

    def _behaviour(self, item: Node, answer: int, pull: NDArray, weights: Weights) -> Iterable[Path]:
        """By others who have both, in aggregate: their number over the root of how many have each."""
        own, relation = weights.get(("behaviour", None), 0.0), self.task.relation
        if not own or not len(self.met.rows):
            return
        if self.having is None:
            self.having = self._having(self.met.rows)
        (theirs,), place = self._having(np.array([answer])), np.repeat(np.arange(len(pull)), [len(of) for of in self.having])
        both = np.bincount(place[np.isin(np.concatenate(self.having), theirs)], minlength=len(pull))
        both[self.met.rows == answer] = 0
        share = pull * both / np.sqrt(np.maximum(1, len(theirs) * np.array([len(of) for of in self.having])))
        for place in np.flatnonzero(share):
            crowd = Node(relation.source, "", None)
            nodes, weight = (self.known[place], crowd, item), float(own * share[place] / share.sum())
            yield Path("behaviour", nodes, (relation.name,) * 2, weight, int(both[place]), (), (self._own(place),))

    def _having(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Who else has each of the rows, as far as the query may know."""
        before = None if self.query.before is None else np.full(len(rows), self.query.before[0])
        of = self.graph.adjacent(self.task.relation, rows, before, inverse=True)
        others = of.keep(of.rows != self.query.rows[0])
        return [np.unique(others.rows[start:end]) for start, end in zip(others.indptr[:-1], others.indptr[1:], strict=True)]

    def _words(self, item: Node, answer: int, pull: NDArray, weights: Weights) -> Iterable[Path]:
        """By words that the answer's text has in common with the query's own, or with those of what was met."""
        own = weights.get(("text", None), 0.0)
        if not own or not item.text:
            return
        rarity, found = Rarity.of(self.graph, self.kind), []
        if self.source.text:
            words, alike = rarity.common(self.source.text, item.text)
            found.append((alike, Path("text", (item,), (), 0.0, 1, words)))
        for place, node in enumerate(self.known):
            if node.text and node.id != item.id:
                words, alike = rarity.common(node.text, item.text)
                found.append(
                    (alike * pull[place], Path("text", (node, item), (self.met.by[place].name,), 0.0, 1, words, (self._own(place),)))
                )
        if total := sum(share for share, _ in found):
            yield from (replace(path, weight=own * share / total) for share, path in found)
        elif self.source.text:  # no word in common: only the vectors say so
            yield Path("text", (item,), (), own)
        elif len(found):
            place = int(np.argmax(np.where(self.met.rows == answer, -1.0, pull)))
            yield Path("text", (self.known[place], item), (self.met.by[place].name,), own, 1, (), (self._own(place),))

    def _examples(self, item: Node, answer: int, pull: NDArray, weights: Weights) -> Iterable[Path]:
        """By the known query that leads to the answer and has most words in common with this one."""
        own, relation = weights.get(("examples", None), 0.0), self.task.relation
        if not own or not self.source.text:
            return
        rows = np.unique(self.graph.adjacent(relation, [answer], inverse=True, last=EXAMPLES).rows)
        rarity, known = Rarity.of(self.graph, relation.source), self._nodes(rows[rows != self.query.rows[0]], relation.source)
        alike = [(rarity.common(self.source.text, node.text), node) for node in known if node.text]
        if alike:
            (words, _), node = max(alike, key=lambda found: found[0][1])
            yield Path("examples", (node, item), (relation.name,), own, 1, words, (Edge(relation, node.id, item.id),))

    def _own(self, place: int) -> Edge:
        """The query's edge to what it met."""
        return Edge(self.met.by[place], self.source.id, self.known[place].id)

    def _edge(self, relation: Relation, source: Node, target: Node) -> Edge:
        return Edge(relation, source.id, target.id)

    def node(self, kind: str, row: int) -> Node:
        if (kind, row) not in self.nodes:
            (self.nodes[kind, row],) = self._nodes(np.array([row]), kind)
        return self.nodes[kind, row]

    def _nodes(self, rows: NDArray[np.int64], kind: str = "") -> list[Node]:
        kind = kind or self.kind
        columns = [column for column in ("id", "text") if column in self.graph.columns(kind)]
        return [Node(kind, row["id"], row.get("text")) for row in self.graph.gather(kind, rows, *columns).to_dicts()]


def met_by(task: Task, query: Nodes) -> Met:
    """What a single query met, by the task's relation and its histories among the same kind, the latest `STARTS` of it."""
    times: dict[int, int] = {}
    by: dict[int, Relation] = {}
    for relation in (*task.history, task.relation):
        if relation.target == task.relation.target and relation in query.graph.relations:
            for row in query.read(relation).rows.tolist():
                times[row] = times.pop(row, 0) + 1  # the latest stands last
                by[row] = relation
    rows = list(times)[-STARTS:]
    return Met(np.array(rows, np.int64), [by[row] for row in rows], np.array([times[row] for row in rows], np.int64))
