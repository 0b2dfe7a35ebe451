"""What an explanation is: data first; a sentence is made from it, in English or Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from kgrec_core.graph import Relation

Evidence = Literal["habit", "graph", "behaviour", "text", "examples", "own"]
Language = Literal["en", "zh"]


class Node(NamedTuple):
    """An entity; text: as people know it, None where it has none."""

    kind: str
    id: str
    text: str | None = None

    @property
    def name(self) -> str:
        return self.text or self.id


class Edge(NamedTuple):
    """An edge by the ids of its ends."""

    relation: Relation
    source: str
    target: str


@dataclass(frozen=True)
class Path:
    """One way from the query to the answer.

    evidence: "graph": what was met shares an end with the answer, or what is above an end of each: the nodes between are then these ends
        and, between them, what is above both (or is one of them);
        "own": the query's own end leads to it, or others with that end chose it; "behaviour": others have both; "text": words in common; "habit": it was
        met itself; "examples": a known query like this one leads to it. nodes: from what was met (or the known query) to the answer.
    relations: the names between them. weight: its part of the score. count: so many like it, where it stands for several. words: in common.
    edges: those it is made of that are the query's, the answer's or of what was met.
    """

    evidence: Evidence
    nodes: tuple[Node, ...]
    relations: tuple[str, ...]
    weight: float
    count: int = 1
    words: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Why this answer. `str()` says it in a sentence.

    paths: the best ones, the weightiest first. channels: what each channel, and each group of the ranker's other columns, adds to the score;
    features: the same by single column. The numbers of either sum to `score`. language: of the sentence.
    """

    item: Node
    score: float
    paths: tuple[Path, ...]
    channels: Mapping[str, float]
    features: Mapping[str, float]
    language: Language = "en"

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All that the paths name, each once."""
        return tuple(dict.fromkeys(edge for path in self.paths for edge in path.edges))

    def __str__(self) -> str:
        from kgrec_core.explain.sentences import sentence

        return sentence(self)

    def to_json(self) -> dict[str, Any]:
        """Plain values; edges as [source, relation, target]."""
        paths = [
            {
                "evidence": path.evidence,
                "nodes": [node._asdict() for node in path.nodes],
                "relations": list(path.relations),
                "weight": path.weight,
                "count": path.count,
                "words": list(path.words),
                "edges": [[edge.source, edge.relation.name, edge.target] for edge in path.edges],
            }
            for path in self.paths
        ]
        return {
            "item": self.item._asdict(),
            "score": self.score,
            "sentence": str(self),
            "paths": paths,
            "channels": dict(self.channels),
            "features": dict(self.features),
        }
