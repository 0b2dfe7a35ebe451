"""A published run learns from later rows: next week's orders, answered questions, newly labelled news; nothing old is forgotten unseen.

    found = update(kgrec_core.open_run("runs/shop"), [Path("orders_week_12.csv")])
    found.published, found.reason, found.figures["buys"]["new"]["select"]["gain"]

What the run held out stays held out, whoever learns later: the parts of all edges are kept with the graph, in the columns `part` and
`update` of a task's relation, and the new run's [split] reads them. Of the new rows some are learned, some choose, some test. Old
queries are asked of both runs on what was known before, so that they tell what was forgotten; new ones are asked of each as it would serve.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.calibration.confidence import as_table, save_calibration
from kgrec_core.comparison import Chain, learn_retrieval
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.interval import Interval, intervals
from kgrec_core.graph import Dataset, Graph, Queries, Relation, Task, View
from kgrec_core.later import Update
from kgrec_core.limits import sampled
from kgrec_core.pipeline import Job, fine_tuned, sections, write
from kgrec_core.recipe.binding import tree
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.referee import TELL
from kgrec_core.results import asked_values
from kgrec_core.run import carry, reopened
from kgrec_core.run import folder as run_folder
from kgrec_core.run.origin import manifest
from kgrec_core.run.run import open_run
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.split import split
from kgrec_core.split.parts import TEST, TRAIN, VALIDATION, hold_out
from kgrec_core.stages import Progress, Stages
from kgrec_core.verbs import silent

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

PARTS = {TRAIN: "train", VALIDATION: "validation", TEST: "test"}
LEAST = 10  # new queries below which none is held out, and the old ones decide alone


class Updated(NamedTuple):
    """published: whether it took the run's place; folder: where it is. reason: why, in a sentence.

    figures: task -> "old" or "new" queries -> "select" (which decided) or "test" -> before, after, gain, each with its interval.
    learned: task -> rows that were learned; skipped: task -> rows that were not, by reason.
    """

    published: bool
    folder: str
    reason: str
    figures: dict[str, dict[str, dict[str, dict[str, Interval]]]]
    learned: dict[str, int]
    skipped: dict[str, dict[str, Any]]


def update(run: Run, data: Sequence[Path], progress: Progress = silent, rule: Update | None = None) -> Updated:
    """Learn from files with the columns of the run's own events. Killed, the same call goes on where it was.

    rule: in place of the recipe's [update]. Raises KgrecError where no row of the files can be learned, and where another process writes the run. A run that is worse than the
    old one by [update] is kept as RUN.update; the old run and who reads it are not disturbed.
    """
    registry, stages, folder = Registry.discover(), Stages(progress), run.folder
    rule, (how, options, limits) = rule or run.recipe.section("update", Update), sections(run.recipe, registry)
    with run_folder.workspace(folder) as work:
        with stages("loading data"):
            old, new = (open_run(folder, run.recipe.foreign, registry).snapshot for _ in range(2))  # the second one learns
            rows, skipped = _labelled(run.recipe, registry, old, data)
            graph = run_folder.load_graph(folder / "knowledge")  # without edits, which are carried over when it is published
            dataset, number = _joined(Dataset(graph, run.tasks), rows, skipped, rule, how)
            recipe = Recipe({**run.recipe.tree, "split": tree({**_plain(how), "by": "column", "column": "part"}, Path.cwd(), "update")})
            views = sampled(split(dataset, recipe.section("split", type(how))), limits, how.seed)
            fingerprint = run_folder.fingerprint(dataset.graph)
        learning = {**views, "train": _replayed(views["train"], run.tasks, number, rule, how.seed)}
        options = replace(
            options, epochs=rule.epochs, contrastive=0.0, objectives={}, teacher=None,
            lr=options.lr * rule.rate, head_lr=options.head_lr * rule.rate,
        )  # fmt: skip
        purpose = hashlib.sha256((recipe.dumps() + fingerprint + run.manifest["data"]).encode()).hexdigest()
        with stages("fine-tuning"):
            new.model.refresh(views["train"].graph)
            history = fine_tuned(new.model, learning, options, Job(work / "checkpoint.pt", purpose), progress)
        chain = Chain(new.model, new.retrievals)
        with stages("retrieval"):
            calibrations = learn_retrieval(chain, views)
        figures, decided = _compared(Chain(old.model, old.retrievals), chain, views, dataset, number, stages, how.seed)
        published, reason = _verdict(decided, rule)
        with stages("building with all known edges"):
            chain.build(dataset.graph)
        progress("publishing", 0, 0)
        found = Updated(
            published, str(folder if published else _beside(folder)), reason, figures, _counted(dataset, run.tasks, number), skipped
        )
        told = {"number": number, "files": [file.name for file in data], **{k: v for k, v in found._asdict().items() if k != "folder"}}
        metrics = {**run.metrics, "updates": [*run.metrics.get("updates", ()), told], "stages": stages.costs}
        made = write(work / "run", recipe, dataset, new.sources, chain, metrics, [*run.history, *history])
        for name, calibration in {**old.calibrations, **calibrations}.items():
            asked = as_table(views["adjust"].queries[name]) if name in calibrations else None
            save_calibration(made / "calibration", name, calibration, asked)
        reopened.check(made, recipe, registry, dataset, chain.model, chain.retrievals)
        carry.publish(made, Path(found.folder), manifest(dataset, recipe, fingerprint, options.seed, registry), dataset, new.model.heads)
        shutil.rmtree(work)
    return found


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.update")


def _plain(how: Any) -> dict[str, Any]:
    """What of a split stays true where its parts are written out."""
    return {"known_only": how.known_only, "rebuild": how.rebuild, "seed": how.seed}


# --- the new rows -----------------------------------------------------------------------------------------------------
def _labelled(recipe: Recipe, registry: Registry, old: Snapshot, data: Sequence[Path]) -> tuple[dict[str, pl.DataFrame], dict[str, dict]]:
    """task -> rows of ids: source, target, perhaps time and text; and what a task could not read."""
    part = recipe.data(registry)
    if not hasattr(part, "labelled"):
        raise KgrecError(f"update: the data part '{recipe.tables['data'].get('use')}' reads no further files; give it a method `labelled`")
    for file in data:
        if not file.is_file():
            raise KgrecError(f"update: there is no file {file}; name files with the columns of the run's own events")
    found, skipped, faults = {}, {}, []
    for task in old.tasks:
        try:
            tables = [part.labelled(task.relation.name, file) for file in data]
            found[task.name] = pl.concat(tables, how="diagonal_relaxed").drop_nulls(["source", "target"]).unique(maintain_order=True)
        except KgrecError as fault:
            faults.append(fault)
            skipped[task.name] = {"reason": str(fault)}
    if not found:
        raise faults[0]
    return found, skipped


def _joined(
    dataset: Dataset, rows: Mapping[str, pl.DataFrame], skipped: dict[str, dict[str, Any]], rule: Update, how: Any
) -> tuple[Dataset, int]:
    """The data with the new rows, every edge with its part and the number of the update that brought it; and this one's number."""
    graph, tasks = dataset
    alone = len({task.relation for task in tasks}) == 1
    parts = {task.relation: hold_out(graph, task, how, alone).part for task in tasks}
    tables = {r: graph.relations[r] for r in graph.relations}
    number = 1 + max([int(t["update"].max() or 0) for t in tables.values() if "update" in t.columns], default=0)
    for task in tasks:
        if task.name in rows:
            graph = _with_sources(graph, task.relation.source, rows[task.name])
    learned = 0
    for task in tasks:
        relation, table = task.relation, tables[task.relation]
        known = table.drop([c for c in ("part", "update") if c in table.columns]).with_columns(
            pl.Series("part", [PARTS.get(int(p)) for p in parts[relation]], pl.String),
            table["update"] if "update" in table.columns else pl.lit(0, pl.UInt16).alias("update"),
        )
        if task.name in rows:
            fresh, counts = _edges(graph, task, rows[task.name], known)
            skipped[task.name], learned = counts, learned + len(fresh)
            fresh = fresh.with_columns(part=_parts(fresh, rule, how.seed), update=pl.lit(number, pl.UInt16))
            known = pl.concat([known, fresh], how="diagonal_relaxed").select(known.columns).cast(known.schema)
        tables[relation] = known
    if not learned:
        counts = "; ".join(
            f"{task}: {', '.join(f'{n:,} {what}' for what, n in of.items())}" for task, of in skipped.items() if "reason" not in of
        )
        raise KgrecError(f"update: no row of the files is new to the run ({counts.replace('_', ' ')})")
    return Dataset(graph.with_edges(tables), tasks), number


def _with_sources(graph: Graph, kind: str, rows: pl.DataFrame) -> Graph:
    """The graph with the sources that it does not know: by their text, where the kind has texts."""
    texts = "text" in graph.columns(kind)
    if texts and "text" not in rows.columns:
        return graph
    new = rows.select(id="source", **({"text": "text"} if texts else {})).unique("id", maintain_order=True)
    new = new.filter(pl.col("text").fill_null("") != "") if texts else new
    new = new.filter(pl.Series(graph.rows(kind, new["id"]) < 0))
    return graph.join(Graph({kind: new})) if len(new) else graph


def _edges(graph: Graph, task: Task, rows: pl.DataFrame, known: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """New rows as edges, and how many were left out for which reason."""
    relation, dated = task.relation, "time" in known.columns
    if dated and "time" not in rows.columns:
        raise KgrecError(f"update: {relation} is dated, and the rows have no time; give files with the same columns as the run's own")
    table = rows.select(
        pl.Series("source", graph.rows(relation.source, rows["source"])), pl.Series("target", graph.rows(relation.target, rows["target"])),
        *(["time"] if dated else []),
    )  # fmt: skip
    counts = {"unknown_sources": table.filter(pl.col("source") < 0).height, "unknown_targets": table.filter(pl.col("target") < 0).height}
    table = table.filter(pl.col("source") >= 0, pl.col("target") >= 0).cast({"source": pl.UInt32, "target": pl.UInt32})
    keys = ["source", "target", *(["time"] if dated else [])]
    unseen = table.join(known.select(keys), on=keys, how="anti").unique(maintain_order=True)
    return unseen, {**counts, "known_rows": table.height - unseen.height}


def _parts(fresh: pl.DataFrame, rule: Update, seed: int) -> pl.Series:
    """Of dated rows the latest are held out, of others those of some sources; of very few none."""
    rank = fresh["time"].rank("max").to_numpy() / max(1, len(fresh)) if "time" in fresh.columns else None
    sources = fresh["source"].to_numpy()
    if len(np.unique(sources)) < LEAST:
        return pl.Series("part", ["train"] * len(fresh), pl.String)
    if rank is None:
        rows, place = np.unique(sources, return_inverse=True)
        rank = (np.random.default_rng([seed, len(rows)]).permutation(len(rows)) + 1)[place] / len(rows)
    part = np.where(rank > 1 - rule.held_out / 2, TEST, np.where(rank > 1 - rule.held_out, VALIDATION, TRAIN))
    return pl.Series("part", [PARTS[int(p)] for p in part], pl.String)


# --- learning and comparing -------------------------------------------------------------------------------------------
def _fresh(graph: Graph, relation: Relation, number: int) -> pl.DataFrame:
    return graph.relations[relation].filter(pl.col("update") == number)


def _of(queries: Queries, relation: Relation, fresh: pl.DataFrame) -> NDArray[np.bool_]:
    """(targets,) which of the queries' targets are among these edges."""
    width = queries.nodes.graph.size(relation.target)
    new = fresh["source"].cast(pl.Int64).to_numpy() * width + fresh["target"].cast(pl.Int64).to_numpy()
    return np.isin(queries.nodes.rows[queries.targets.owner] * width + queries.targets.rows, new)


def _replayed(view: View, tasks: Sequence[Task], number: int, rule: Update, seed: int) -> View:
    """The training queries that are new, and a sample of the others."""
    found = {}
    for task in tasks:
        queries = view.queries[task.name]
        new = np.zeros(len(queries.nodes), bool)
        new[queries.targets.owner[_of(queries, task.relation, _fresh(view.graph, task.relation, number))]] = True
        old = np.flatnonzero(~new)
        kept = np.random.default_rng([seed, number]).permutation(old)[: round(rule.replay * new.sum())]
        found[task.name] = queries.take(np.sort(np.concatenate([np.flatnonzero(new), kept])))
    return View(view.graph, found)


def _compared(
    before: Chain, after: Chain, views: Mapping[str, View], dataset: Dataset, number: int, stages: Stages, seed: int
) -> tuple[dict[str, Any], dict[str, dict[str, NDArray[np.float64]]]]:
    """Figures, and task -> "old" or "new" -> what the select queries gain, one by one."""
    tasks = dataset.tasks
    figures: dict[str, Any] = {task.name: {"old": {}, "new": {}} for task in tasks}
    decided: dict[str, dict[str, NDArray[np.float64]]] = {task.name: {} for task in tasks}
    for part in ("select", "test"):
        whole = views[part].graph
        then = whole.with_edges(
            {r: t.filter(pl.col("update") != number) if "update" in t.columns else t for r, t in whole.relations.items()}, whole.as_of
        )
        values: dict[tuple[str, str, str], NDArray[np.float64]] = {}
        for name, chain, graphs in (("before", before, {"old": then, "new": then}), ("after", after, {"old": then, "new": whole})):
            built = None
            for which, graph in graphs.items():
                if graph is not built:
                    with stages(f"{part} queries ({name})"):
                        chain.build(graph)
                    built = graph
                for task in tasks:
                    queries = views[part].queries[task.name]
                    fresh = _of(queries, task.relation, _fresh(dataset.graph, task.relation, number))
                    kept = Queries(queries.nodes, queries.targets.keep(fresh if which == "new" else ~fresh)).on(graph)
                    kept = kept.take(np.flatnonzero(kept.targets.counts > 0))
                    if len(kept.nodes):
                        values[task.name, which, name] = asked_values(task, chain.model, chain.retrievals[task.name], kept)
        for task in tasks:
            for which in ("old", "new"):
                if (task.name, which, "after") in values:
                    one, other = values[task.name, which, "before"], values[task.name, which, "after"]
                    figures[task.name][which][part] = intervals({"before": one, "after": other, "gain": other - one}, seed)
                    if part == "select":
                        decided[task.name][which] = other - one
    return figures, decided


def _verdict(decided: Mapping[str, Mapping[str, NDArray[np.float64]]], rule: Update) -> tuple[bool, str]:
    """Whether it is published, and why."""
    if rule.publish != "not-worse":
        return rule.publish == "always", f'update.publish = "{rule.publish}"'
    worse, told = [], []
    for task, of in decided.items():
        for which, gain in of.items():
            gain = gain[~np.isnan(gain)]
            if not len(gain):
                continue
            error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else 0.0
            said = f"{task}, {len(gain):,} {which} validation queries: {gain.mean():+.4f} ± {error:.4f}"
            margin = rule.margin * (2 if len(gain) < TELL else 1)
            (worse if gain.mean() < -margin * error else told).append(said)
    if worse:
        return False, f"worse: {'; '.join(worse)}"
    return True, f"not worse: {'; '.join(told) or 'there was nothing to ask'}"


def _counted(dataset: Dataset, tasks: Sequence[Task], number: int) -> dict[str, int]:
    return {t.name: _fresh(dataset.graph, t.relation, number).filter(pl.col("part") == "train").height for t in tasks}
