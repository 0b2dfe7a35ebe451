"""Ask a model the held-out queries of a classification, and put the figures of all systems side by side; see `ranked`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kgrec_core.evaluation.class_metrics import Rows, best, confusions, figures, gains, per_class, value
from kgrec_core.evaluation.rank_tables import AGAINST
from kgrec_core.evaluation.variants import Case
from kgrec_core.graph import Graph, Ragged, Task, candidates
from kgrec_core.model import Model


def model_classes(model: Model, graph: Graph, task: Task, case: Case) -> Rows:
    """The encoder and its head alone: the class with the highest dot product, by row of the target kind."""
    nodes = candidates(graph, task)
    c, q = model.vectors(task, nodes).T, model.vectors(task, case.queries.nodes)
    return best(lambda part: q[part] @ c, len(q), nodes.rows, case.exclude)


def table(
    systems: Mapping[str, Rows], floors: Mapping[str, Rows], targets: Ragged, graph: Graph, task: Task, seed: int = 0
) -> dict[str, Any]:
    """What metrics.json holds for the task: means with 95 % intervals of all systems, of the floors and of the gains of "after".

    systems, floors: name -> (n,) predicted rows, for the same queries as `targets`. "classes" (by id) and "confusions" are of
    "after"; confusions name ids, None = no answer.
    """
    found: dict[str, Any] = {"floor": {name: figures(rows, targets, seed) for name, rows in floors.items()}, "gain": {}}
    found |= {name: figures(rows, targets, seed) for name, rows in systems.items()}
    against = {name: systems[name] for name in AGAINST if name in systems}
    if floors:
        found["best_floor"] = max(floors, key=lambda name: value(floors[name], targets, "macro_f1"))
        against["floor"] = floors[found["best_floor"]]
    if "after" not in systems:
        return found
    after = systems["after"]
    found["gain"] = {f"after-{label}": gains(after, rows, targets, seed) for label, rows in against.items()}

    def ids(rows: Any) -> list[str]:
        return graph.gather(task.relation.target, rows, "id")["id"].to_list()

    classes = per_class(after, targets)
    numbers = zip(classes.precision.tolist(), classes.recall.tolist(), classes.f1.tolist(), classes.support.tolist(), strict=True)
    named = zip(ids(classes.row), numbers, strict=True)
    found["classes"] = {id: dict(zip(("precision", "recall", "f1", "support"), of, strict=True)) for id, of in named}
    found["confusions"] = [
        {"true": ids([pair.true])[0], "predicted": ids([pair.predicted])[0] if pair.predicted >= 0 else None, "n": pair.n}
        for pair in confusions(after, targets)
    ]
    return found
