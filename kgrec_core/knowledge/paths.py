"""What connects two entities of a graph: the paths between them, those over rare entities first."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from math import ceil, log
from typing import NamedTuple

import numpy as np

from kgrec_core.errors import KgrecError, choices
from kgrec_core.graph import Graph, Relation

Place = tuple[str, int]  # kind, row
HUB = 5_000  # edges; an entity with more is reached, but not gone on from: nearly all is two steps from it
KEPT = 20  # ways to one entity that are followed


class Step(NamedTuple):
    """An edge as it is gone along: against its direction where `inverse`."""

    relation: Relation
    inverse: bool
    to: Place


class Path(NamedTuple):
    """score: product over the entities between the ends of 1 / log2(1 + edges): what few share connects more than what many do."""

    start: Place
    steps: tuple[Step, ...]
    score: float


def find(graph: Graph, told: str) -> Place:
    """The entity that "kind:id" or an id alone names. Raises KgrecError where there is none, or one in several kinds."""
    kind, colon, id = told.partition(":")
    if colon and kind in graph.entities and (row := int(graph.rows(kind, [id])[0])) >= 0:
        return kind, row
    found = [(k, row) for k in graph.entities if (row := int(graph.rows(k, [told])[0])) >= 0]
    if len(found) == 1:
        return found[0]
    if found:
        raise KgrecError(f"'{told}' is in {len(found)} kinds; write {' or '.join(f'{k}:{told}' for k, _ in found)}")
    if colon and kind in graph.entities:
        raise KgrecError(f"no {kind} has the id '{id}'; the kind has {graph.size(kind):,}, e.g. {_some(graph, kind)}")
    if colon and len(kind) < 30:
        raise choices("kind of entity", kind, graph.entities, "write KIND:ID")
    raise KgrecError(f"no entity has the id '{told}'; kinds: {', '.join(f'{k} (e.g. {_some(graph, k)})' for k in graph.entities)}")


def neighbours(
    graph: Graph, place: Place, most: int = 0, over: Collection[Relation] | None = None
) -> Iterator[tuple[Relation, bool, np.ndarray, int]]:
    """relation, inverse, rows of the other ends (the first `most`; 0 = all), and how many there are; for each that the entity has.

    over: only these relations.
    """
    kind, row = place
    for relation in graph.relations if over is None else over:
        for inverse in (False, True):
            if (relation.target if inverse else relation.source) != kind:
                continue
            count = int(graph.degree(relation, [row], inverse=inverse)[0])
            if count:
                rows = np.unique(graph.adjacent(relation, [row], inverse=inverse).rows)
                yield relation, inverse, rows[:most] if most else rows, count


def shared(graph: Graph, one: Place, other: Place, behaviour: Collection[Relation]) -> dict[Relation, int]:
    """How many sources of each of these relations have both entities as targets (customers who bought both); those with any."""
    found = {}
    for relation in behaviour:
        if one[0] == other[0] == relation.target:
            mine, theirs = (np.unique(graph.adjacent(relation, [row], inverse=True).rows) for _, row in (one, other))
            if count := len(np.intersect1d(mine, theirs, assume_unique=True)):
                found[relation] = count
    return found


def paths(graph: Graph, one: Place, other: Place, hops: int = 3, most: int = 10, over: Collection[Relation] | None = None) -> list[Path]:
    """At most `most` paths of at most `hops` edges, no entity twice, best first. Both ends are searched from, so hubs cost little.

    over: only these relations.
    """
    over = list(graph.relations) if over is None else over
    if one == other:
        raise KgrecError("both ends are the same entity")
    degrees: dict[Place, int] = {}
    ahead, behind = _reached(graph, one, other, ceil(hops / 2), degrees, over), _reached(graph, other, one, hops // 2, degrees, over)
    found: dict[tuple[Step, ...], Path] = {}
    for middle in ahead.keys() & behind.keys():
        for there in ahead[middle]:
            for back in behind[middle]:
                steps = there + _turned(back, other)
                met = [one, *(step.to for step in steps)]
                if steps and len(set(met)) == len(met):
                    found[steps] = Path(one, steps, _score(graph, met[1:-1], degrees))
    return sorted(found.values(), key=lambda path: (-path.score, len(path.steps), str(path.steps)))[:most]


def _reached(
    graph: Graph, start: Place, end: Place, depth: int, degrees: dict[Place, int], over: Collection[Relation]
) -> dict[Place, list[tuple[Step, ...]]]:
    """Every entity within `depth` steps, with a few ways to it."""
    found: dict[Place, list[tuple[Step, ...]]] = {start: [()]}
    frontier = [start]
    for _ in range(depth):
        following: dict[Place, None] = {}
        for place in frontier:
            if place != start and (place == end or _degree(graph, place, degrees) > HUB):
                continue
            for relation, inverse, rows, _ in neighbours(graph, place, over=over):
                kind = relation.source if inverse else relation.target
                for to in ((kind, row) for row in rows.tolist()):
                    ways = found.setdefault(to, [])
                    new = [(*way, Step(relation, inverse, to)) for way in found[place] if to != start]
                    if len(ways) < KEPT and new:
                        ways += new[: KEPT - len(ways)]
                        following[to] = None
        frontier = list(following)
    return found


def _turned(steps: tuple[Step, ...], start: Place) -> tuple[Step, ...]:
    """The way from `start`, gone back to it."""
    places = [start, *(step.to for step in steps)]
    return tuple(Step(step.relation, not step.inverse, places[i]) for i, step in reversed(list(enumerate(steps))))


def _degree(graph: Graph, place: Place, degrees: dict[Place, int]) -> int:
    if place not in degrees:
        kind, row = place
        sides = [(r, inverse) for r in graph.relations for inverse in (False, True) if (r.target if inverse else r.source) == kind]
        degrees[place] = sum(int(graph.degree(r, [row], inverse=inverse)[0]) for r, inverse in sides)
    return degrees[place]


def _score(graph: Graph, between: list[Place], degrees: dict[Place, int]) -> float:
    score = 1.0
    for place in between:
        score /= log(1 + max(1, _degree(graph, place, degrees)), 2)
    return score


def _some(graph: Graph, kind: str) -> str:
    return ", ".join(graph.gather(kind, np.arange(min(2, graph.size(kind))), "id")["id"])
