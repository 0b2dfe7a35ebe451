"""A run's README.md: what it is, what it was made from, how well it did."""

from __future__ import annotations

from typing import Any

from kgrec_core.evaluation.rank_tables import SYSTEMS
from kgrec_core.graph import Dataset
from kgrec_core.report.verdict import verdict


def card(recipe: dict[str, Any], metrics: dict[str, Any], dataset: Dataset) -> str:
    """Markdown of the run's parts, data and test figures."""
    graph = dataset.graph
    lines = [
        "# A kgrec run",
        "",
        "Opened with `kgrec_core.open_run(folder)`; the text tower in `encoder/` (or a folder in it) loads with `SentenceTransformer`.",
        "",
    ]
    lines += ["| part | use |", "|---|---|", f"| data | {recipe['data'].get('use')} |", f"| encoder | {recipe['encoder'].get('use')} |"]
    for task in dataset.tasks:
        lines += [
            f"| head {task.name} | {recipe['head'][task.name].get('use')} |",
            f"| retrieval {task.name} | {recipe['retrieval'][task.name].get('use')} |",
        ]
    lines += ["", "## Data", "", *(f"- {kind}: {len(table):,} entities" for kind, table in graph.entities.items())]
    lines += [f"- {relation}: {len(table):,} edges" for relation, table in graph.relations.items()]
    for name, task in metrics["tasks"].items():
        test = task["test"]
        rows = [(f"floor: {method}", values) for method, values in test["floor"].items()]
        rows += [(system.replace("_", " "), test[system]) for system in SYSTEMS if system in test]
        rows += [(f"gain: {name.replace('_', ' ')}", values) for name, values in test["gain"].items()]
        metric = "accuracy" if "accuracy" in test["after"] else "ndcg@10"
        lines += [
            "",
            f"## Test: {name}",
            "",
            *verdict(name, task),
            "",
            f"| system | {metric} | 95 % interval | queries |",
            "|---|---|---|---|",
        ]
        lines += [f"| {s} | {m['mean']:.4f} | {m['low']:.4f} to {m['high']:.4f} | {m['n']} |" for s, v in rows if (m := v.get(metric))]
    lines += ["", *(f"- {said}" for said in metrics.get("dropped", []))]
    return "\n".join(lines) + "\n"
