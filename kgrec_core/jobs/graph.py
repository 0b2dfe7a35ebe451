"""`kgrec graph`: build a recipe's graph into a folder, and look at the graph of a folder, a run or a recipe.

from kgrec_core.jobs.graph import build_graph, opened, stats
build_graph([Path("shop.toml")], Path("graphs/shop"))
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation
from kgrec_core.knowledge.exported import triples_of
from kgrec_core.knowledge.linking import write_review
from kgrec_core.limits import Fit
from kgrec_core.loading import known
from kgrec_core.outputs import output
from kgrec_core.recipe.recipe import Layer, resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run import stored_graph
from kgrec_core.stages import Progress
from kgrec_core.stored import document

REVIEW, REPORT = "review.csv", "report.json"


def build_graph(
    layers: Sequence[Layer], out: Path, allow_leak: bool = False, progress: Progress | None = None, registry: Registry | None = None
) -> dict[str, Any]:
    """Load a recipe's data, build its knowledge, and write the graph into folder `out`; returns what is in its report.json.

    OUT/review.csv holds the spellings that a person has to decide; what it says is obeyed. The folder is replaced as a whole.
    Raises KgrecError for every mistake in recipe or data, and where `out` is something else.
    """
    recipe, registry, review = resolve(*layers), registry or Registry.discover(), out / REVIEW
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]) and not (out / "graph.json").exists() and not review.exists():
        raise KgrecError(f"{out} exists and is no graph; choose another --out or move it away")

    sources = recipe.knowledge(registry)
    for source in sources.values():
        if review.is_file() and getattr(source, "review", "") is None:
            source.review = review
    dataset, _, found = known(recipe, registry, sources, True, allow_leak or recipe.section("fit", Fit).allow_leak, progress)
    pairs = {name: source.doubtful for name, source in sources.items() if source.doubtful}
    report = {
        "entities": {kind: len(table) for kind, table in dataset.graph.entities.items()},
        "relations": stats(dataset.graph)["relations"],
        "sources": found,
        "ambiguous": ambiguous(dataset.graph),
        "behaviour": [list(r) for t in dataset.tasks for r in (t.relation, *t.history)],
    }
    if progress:
        progress("writing", 0, 0)
    new = out.with_name(f".{out.name}.partial")
    shutil.rmtree(new, ignore_errors=True)
    stored_graph.save_graph(dataset.graph, new, sources)
    if review.is_file():
        shutil.copyfile(review, new / REVIEW)
    report["doubtful"] = write_review(pairs, new / REVIEW) if pairs or review.is_file() else 0
    (new / REPORT).write_text(json.dumps(report, indent=1, ensure_ascii=False), "utf-8")
    _replace(new, out)
    return report


class Opened(NamedTuple):
    """A graph, which of its relations are behaviour, and of a run how much each of the others counts, by name and 1 in the mean."""

    graph: Graph
    behaviour: set[Relation]
    weights: Mapping[str, float] = {}


def opened(place: Path, allow: Sequence[str] = (), layers: Sequence[Layer] = ()) -> Opened:
    """The graph of a run folder, of a folder that `build_graph` wrote, or of a recipe file."""
    if place.is_file():
        recipe, registry = resolve(*layers, place), Registry.discover()
        dataset, *_ = known(recipe, registry, recipe.knowledge(registry))
        return Opened(dataset.graph, {r for t in dataset.tasks for r in (t.relation, *t.history)})
    if (place / run_folder.MANIFEST).is_file():
        from kgrec_core.run.run import open_run

        run = open_run(place, allow)
        return Opened(run.graph, {r for t in run.tasks for r in (t.relation, *t.history)}, run.snapshot.relation_weights)
    if not (place / "graph.json").is_file():
        raise KgrecError(f"{place} is neither a run, nor a graph that `kgrec graph build` wrote, nor a recipe file")
    try:
        behaviour = {Relation(*map(str, r)) for r in document(place / REPORT)["behaviour"]}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise KgrecError(f"{place / REPORT} is damaged ({error}); build the graph again") from error
    return Opened(stored_graph.load_graph(place), behaviour)


def stats(graph: Graph, weights: Mapping[str, float] = {}) -> dict[str, Any]:
    """entities: kind -> how many, and how many have a name. relations: edges, coverage of the sources, targets, the largest hub, and what it
    counts where `weights` tell."""
    relations = {}
    for relation, table in graph.relations.items():
        degrees = (
            [np.bincount(table[end].drop_nulls().to_numpy()) for end in ("source", "target")] if len(table) else [np.zeros(1, int)] * 2
        )
        hub = int(degrees[1].argmax())
        relations[str(relation)] = {
            "edges": len(table),
            "coverage": round(float(np.count_nonzero(degrees[0])) / max(1, graph.size(relation.source)), 4),
            "targets": int(np.count_nonzero(degrees[1])),
            "several": round(float(np.count_nonzero(degrees[0] > 1)) / max(1, np.count_nonzero(degrees[0])), 4),
            "hub": [graph.gather(relation.target, [hub], "id")["id"][0], int(degrees[1][hub])] if len(table) else None,
            "dated": "time" in table.columns,
        }
        if relation in graph.timeless and relation.name in weights:
            relations[str(relation)]["counts"] = round(weights[relation.name], 3)
    kinds = {}
    for kind, table in graph.entities.items():
        kinds[kind] = {"count": len(table), "named": int((table["text"].fill_null("") != "").sum()) if "text" in table.columns else 0}
    return {"entities": kinds, "relations": relations}


def ambiguous(graph: Graph, most: int = 20) -> dict[str, Any]:
    """Names that entities of several kinds have ("silver": a colour and a material): how many, and those with the most edges."""
    parts = []
    for kind in {r.target for r in graph.timeless}:
        table = graph.entities[kind]
        counts = np.zeros(len(table), np.int64)
        for relation in graph.timeless:
            if relation.target == kind and len(edges := graph.relations[relation]):
                counts += np.bincount(edges["target"].drop_nulls().to_numpy(), minlength=len(table))
        name = table["text"] if "text" in table.columns else table["id"]
        parts.append(pl.DataFrame({"name": name.str.to_lowercase(), "kind": kind, "edges": counts}))
    if not parts:
        return {"names": 0, "most": {}}
    several = pl.concat(parts).filter(pl.col("edges") > 0).group_by("name").agg(pl.col("kind").sort(), pl.col("edges").sum())
    several = several.filter(pl.col("kind").list.n_unique() > 1).sort(["edges", "name"], descending=[True, False])
    return {"names": len(several), "most": {r["name"]: r["kind"] for r in several.head(most).iter_rows(named=True)}}


def export(graph: Graph, behaviour: set[Relation], file: Path) -> int:
    """Write the timeless relations that are no behaviour as triples, TSV or Parquet by the name; `use = "triples"` reads them again."""
    if file.suffix not in (".tsv", ".parquet"):
        raise KgrecError(f"{file}: name a .tsv or a .parquet file")
    table = triples_of(graph, behaviour)
    file.parent.mkdir(parents=True, exist_ok=True)
    with output(file, remedy="name another file") as place:
        table.write_parquet(place) if file.suffix == ".parquet" else table.write_csv(place, separator="\t")
    return len(table)


def _replace(new: Path, out: Path) -> None:
    """Put a folder in place of another."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)
