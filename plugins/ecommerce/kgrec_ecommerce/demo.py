"""What `kgrec ecommerce demo` fits and shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kgrec_core.domain import columns, one
from kgrec_ecommerce.shop import Recommend, recommend, table

if TYPE_CHECKING:
    from kgrec_core.domain import Answer, Run

FEW = {"train": {"steps": 16, "validations": 1}, "retrieval": {"buys": {"windows": 1}}}  # minutes, not the best figures


@dataclass(frozen=True)
class Demo:
    """Fit the embedded order book of a gift shop, show what was gained over a strong baseline, and recommend.

    Example: kgrec ecommerce demo --run runs/demo train.epochs=1
    """

    def layer(self) -> dict[str, Any]:
        return FEW

    def shown(self, run: Run) -> dict[str, Any]:
        user = _regular(run)
        return {"user": user, "recommended": _recommended(run, user, 10)}

    def told(self, run: Run, shown: dict[str, Any]) -> str:
        user, relation, graph = shown["user"], run.tasks[0].relation, run.graph
        met = graph.adjacent(relation, graph.rows(relation.source, [user]), last=8).rows[::-1]
        bought = columns([(f"  {row['id']}", row.get("text") or "") for row in graph.gather(relation.target, met).to_dicts()])
        return (
            f"Customer {user} bought lately:\n{bought}\n\nRecommended:\n{table(_recommended(run, user, 8))}\n\nrun folder: {run.folder}\n"
            f"next: kgrec ecommerce recommend --run {run.folder} --user {user} --where 'price < 5'\n"
            f"      kgrec ecommerce report --run {run.folder}"
        )


def _recommended(run: Run, user: str, k: int) -> list[Answer]:
    return one(recommend(run.snapshot, [Recommend(user=user, k=k)]))


def _regular(run: Run) -> str:
    """The customer with the median number of events among those with at least ten: neither a stranger nor a wholesaler."""
    import numpy as np

    relation = run.tasks[0].relation
    events = run.graph.degree(relation, np.arange(run.graph.size(relation.source)))
    order = np.argsort(events, kind="stable")
    order = order[events[order] >= min(10, events.max())]
    return run.graph.gather(relation.source, [order[len(order) // 2]], "id").item()
