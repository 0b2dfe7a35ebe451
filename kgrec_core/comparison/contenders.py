"""What could be published for a task in place of the whole chain: its channels, each alone, and the methods of the floor.

A contender is a retrieval as a recipe writes it, so what wins is opened by everybody as any other run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kgrec_core.graph import Graph, Task

Table = Mapping[str, Any]
LAST = 1e-6  # weight of likeness where not even popularity knows a candidate
BY_RELATIONS = "near by"  # what the names of a ranker's columns begin with that look at relations of knowledge
TIE = 0.001  # weight of popularity where a channel says nothing, or the same of two candidates


def parts(chain: Table) -> dict[str, Table]:
    """The channels right below a re-ranker's table."""
    return {name: table for name, table in chain.items() if isinstance(table, Mapping) and "use" in table}


def beside(chain: Table, others: Mapping[str, Table]) -> dict[str, Table]:
    """The channels of a chain, and what else is asked always and is none of them."""
    own = parts(chain)
    return own | {name: table for name, table in others.items() if table not in own.values()}


def references(graph: Graph, task: Task, ranks: bool) -> dict[str, Table]:
    """What is always asked, whatever the recipe has: of a query with a text, its nearest in meaning and in words; of one with a
    history, who met the same.

    ranks: whether the head ranks candidates; else it chooses among classes.
    """
    source, target = ("text" in graph.columns(kind) for kind in (task.relation.source, task.relation.target))
    found: dict[str, Table] = {}
    if ranks and source:
        found["nearest question"] = {"use": "neighbours", "per": "max", "neighbours": 200}
    if ranks and target:
        found["nearest text"] = {"use": "faiss"}
        found["words"] = {"use": "lexical", "asked": True} if source else {"use": "lexical"}
    if not ranks and source:
        found["most frequent"] = {"use": "popular", "days": 0.0}
        found["words, linear"] = {"use": "logistic", "by": "words"}
        found["vectors, linear"] = {"use": "logistic", "by": "vectors"}
    if not ranks and task.history:
        found["what was met, linear"] = {"use": "logistic", "by": "history"}
    return found


def alone(name: str, channel: Table) -> Table:
    """A channel that knows nothing of some candidates, or of some queries, as a whole retrieval: popularity fills its list."""
    if channel["use"].rpartition("/")[2] == "popular":
        return channel
    name = name.replace(" ", "_")
    filled = {"use": "popular", "days": 0.0}
    return {"use": "merge", "by": "score", "weights": {name: 1.0, "filled": TIE}, name: channel, "filled": filled}


def together(of: Mapping[str, Table]) -> Table:
    """Retrievals whose scores are added, each as a share of the query's best (CombSUM, Fox & Shaw 1994)."""
    named = {re.sub(r"\W+", "_", name): table for name, table in of.items()}
    return {"use": "merge", "by": "score", "weights": dict.fromkeys(named, 1.0), **named}


def complete(table: Table, chain: Table) -> Table:
    """A method that knows behaviour alone, to be published: what nobody has chosen yet comes last, the nearest in meaning first."""
    near = next((own for own in parts(chain).values() if own["use"].rpartition("/")[2] in ("faiss", "exact")), {"use": "exact"})
    if table["use"].rpartition("/")[2] != "merge":
        table = {"use": "merge", "by": "score", "weights": {"only": 1.0}, "only": table}
    return {**table, "weights": {**table["weights"], "nearest": LAST}, "nearest": near}


def described(chain: Table) -> Table | None:
    """What answers a text without a history, which is never judged where sources have no text: a chain's channels by meaning and by words."""
    kinds = {"faiss": "meaning", "exact": "meaning", "lexical": "words"}
    found: dict[str, tuple[str, Table]] = {}
    for name, table in _inside(chain):
        found.setdefault(kinds.get(table["use"].rpartition("/")[2], ""), (name, table))
    found.pop("", None)
    return together(dict(found.values())) if found else None


def _inside(chain: Table) -> Iterator[tuple[str, Table]]:
    """All channels of a re-ranker's table, however deep."""
    for name, table in parts(chain).items():
        yield name, table
        yield from _inside(table)


def without_graph(table: Table) -> Table:
    """A retrieval that looks at no relation of knowledge: no channel by them, no column of a ranker; as it was where it did not look at any."""
    blind = [name for name, of in parts(table).items() if of["use"].rpartition("/")[2] == "content" and of.get("by") == "relations"]
    kept = {key: without_graph(of) if key in parts(table) else of for key, of in table.items() if key not in blind}
    for key in ("weights", "unchosen"):
        if isinstance(kept.get(key), Mapping):
            kept[key] = {name: weight for name, weight in kept[key].items() if name not in blind}
    if kept["use"].rpartition("/")[2] == "lambdarank":
        kept["leave_out"] = [*kept.get("leave_out", ()), BY_RELATIONS]
    return kept


def explained(table: Table, chain: Table) -> Table:
    """A classifier to be published, beside it what shows the nearest known sources, without a say."""
    near = {name: own for name, own in parts(chain).items() if own["use"].rpartition("/")[2] == "neighbours"}
    if not near or table in near.values():
        return table
    return {"use": "mixture", "weights": {"only": 1.0, **dict.fromkeys(near, 0.0)}, "only": table, **near}
