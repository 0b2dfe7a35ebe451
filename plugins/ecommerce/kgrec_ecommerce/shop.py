"""What a shop asks of a run, in its own words: recommend and similar."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from kgrec_core.domain import KgrecError, Rules, columns, grouped, told_why, with_reasons

if TYPE_CHECKING:
    from kgrec_core.domain import Answer, Snapshot

log = logging.getLogger("kgrec")
COUNT = {"option": ("-k", "--top")}
WHERE = {"metavar": "SQL"}
WIDE = 60  # letters of a text in a table


@dataclass(frozen=True, kw_only=True)
class Recommend(Rules):
    """Recommend products for a customer, a history, words, or any of these together.

    user: a customer; one that the run does not know is a stranger. history: products chosen so far, oldest first; after those of the customer. text: what is looked for, in
    words. k: how many products. where: only products for which this SQL condition holds, e.g. 'price < 5'. exclude: products left
    out. new: only products that nobody has bought yet. explain: say why, product by product. language: of the reasons, en or zh; without
    it, as the request is written.

    Among all products a new one comes late for shoppers with a history, since what they know is more probable.
    Of a run whose fit published what knows behaviour alone, words beside a history only order what that says the same of.

    Example: kgrec ecommerce recommend --history 22423,21212 -k 5 --where 'price < 5'
    """

    user: str | None = field(default=None, metadata={"metavar": "ID", "known": "source"})
    history: tuple[str, ...] = field(default=(), metadata={"metavar": "ID,ID"})
    text: str | None = field(default=None, metadata={"metavar": "WORDS"})
    k: int = field(default=10, metadata=COUNT)
    where: str | None = field(default=None, metadata=WHERE)
    exclude: tuple[str, ...] = field(default=(), metadata={"metavar": "ID,ID"})
    new: bool = False
    explain: bool = False
    language: Literal["en", "zh"] | None = None

    def __post_init__(self) -> None:
        _check_k(self.k)
        self.check()
        if not self.query:
            raise KgrecError(
                "recommend needs something to go by: a customer (--user), products chosen so far (--history) or words (--text)"
            )

    @property
    def query(self) -> dict[str, Any]:
        """As a run is asked."""
        query = {"id": self.user, "history": list(self.history), "text": self.text}
        return {key: value for key, value in query.items() if value}


@dataclass(frozen=True)
class Similar:
    """Show the products most like one product, by their vectors; itself left out.

    item: the product's id. k: how many products. where: only products for which this SQL condition holds, e.g. 'price < 5'.

    Example: kgrec ecommerce similar 22423 -k 5
    """

    item: str = field(metadata={"argument": True, "known": "target"})
    k: int = field(default=10, metadata=COUNT)
    where: str | None = field(default=None, metadata=WHERE)

    def __post_init__(self) -> None:
        _check_k(self.k)


def recommend(snapshot: Snapshot, requests: Sequence[Recommend]) -> list[list[Answer] | KgrecError]:
    """The k best products for each request, best first."""
    strangers: dict[str, None] = {}

    def answer(alike: list[Recommend]) -> list[list[Answer]]:
        k, where, exclude, new, explain, language, _ = _limits(alike[0])
        asked = _queries(snapshot, alike)
        strangers.update({request.user: None for request, query in zip(alike, asked, strict=True) if request.user and "id" not in query})
        queries, gone = snapshot.put(asked), [*exclude, *(_sold(snapshot) if new else ())]
        answers = snapshot.answer(queries, None, k, where, gone, alike[0])
        return with_reasons(answers, snapshot.explain(queries, None, k, where, gone, alike[0], language)) if explain else answers

    found = grouped(requests, _limits, answer)
    if strangers:
        more = f" and {len(strangers) - 3:,} more" if len(strangers) > 3 else ""
        log.warning("answered as strangers, since this run does not know them: %s%s", ", ".join(map(_cut, islice(strangers, 3))), more)
    return found


def similar(snapshot: Snapshot, requests: Sequence[Similar]) -> list[list[Answer] | KgrecError]:
    """The k products most like each one."""
    return grouped(
        requests, lambda r: (r.k, r.where), lambda alike: snapshot.similar([r.item for r in alike], k=alike[0].k, where=alike[0].where)
    )


def table(answers: Sequence[Answer], request: Any = None) -> str:
    """Products for people: score, text and why first, then those of their columns that are no dates of the catalogue."""
    names = list(dict.fromkeys(name for answer in answers for name in answer.attributes if name not in ("since", "until")))
    why = any(answer.reason for answer in answers)
    rows = [("", "id", "score", "text", *(["why"] if why else []), *names)]
    for place, answer in enumerate(answers, 1):
        attributes = [_written(answer.attributes.get(name)) for name in names]
        reason = [answer.reason] if why else []
        rows.append((str(place), answer.id, f"{answer.score:.3f}", _cut(answer.text or ""), *reason, *attributes))
    return "\n".join([columns(rows), *told_why(answers)])


def _queries(snapshot: Snapshot, requests: Sequence[Recommend]) -> list[dict[str, Any]]:
    """As the run is asked. A customer that it does not know has met nothing but what the request says."""
    users = [request.user or "" for request in requests]
    known = snapshot.graph.rows(snapshot.tasks[0].relation.source, users) >= 0
    queries = []
    for request, here in zip(requests, known, strict=True):
        query = request.query
        if request.user and not here:
            query = {**query, "history": list(request.history)}
            del query["id"]
        queries.append(query)
    return queries


def _limits(request: Recommend) -> tuple:
    return request.k, request.where, request.exclude, request.new, request.explain, request.language, request.key


def _sold(snapshot: Snapshot) -> list[str]:
    import numpy as np

    graph, relation = snapshot.graph, snapshot.tasks[0].relation
    sold = graph.degree(relation, np.arange(graph.size(relation.target)), inverse=True) > 0
    if not (graph.alive(relation.target) & ~sold).any():
        raise KgrecError("recommend: every product has been bought by somebody; leave --new out, or add products with add-items")
    return graph.gather(relation.target, np.flatnonzero(sold), "id")["id"].to_list()


def _check_k(k: int) -> None:
    if k < 1:
        raise KgrecError(f"k = {k} must be at least 1")


def _cut(text: str) -> str:
    return text if len(text) <= WIDE else text[: WIDE - 1] + "…"


def _written(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
