"""A published run learns from later rows: next week's orders, answered questions, newly labelled news; nothing old is forgotten unseen.

    found = update(kgrec_core.open_run("runs/shop"), [Path("orders_week_12.csv")])
    found.published, found.reason, found.figures["buys"]["new"]["select"]["gain"]

What the run held out stays held out, whoever learns later: the parts of all edges are kept with the graph, in the columns `part` and
`update` of a task's relation, and the new run's [split] reads them. Of the new rows some are learned, some choose, some test. Old
queries are asked of both runs on what was known before, so that they tell what was forgotten; new ones are asked of each as it would serve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_core.calibration.confidence import as_table
from kgrec_core.comparison.chains import Chain, certainty, learn_retrieval
from kgrec_core.comparison.referee import TELL
from kgrec_core.comparison.results import asked_values
from kgrec_core.evaluation.interval import Interval, intervals
from kgrec_core.finetuning import Job, fine_tuned, sections
from kgrec_core.graph import Dataset, Graph, Queries, Relation, Task, View
from kgrec_core.later import Update
from kgrec_core.lifecycle.later_rows import joined, labelled
from kgrec_core.limits import sampled
from kgrec_core.publishing import Finished, publish
from kgrec_core.recipe.binding import tree
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import folder as run_folder
from kgrec_core.run import stored_graph
from kgrec_core.run.run import open_run
from kgrec_core.split import split
from kgrec_core.stages import Progress, Stages, silent

if TYPE_CHECKING:
    from kgrec_core.run.run import Run


class Updated(NamedTuple):
    """published: whether it took the run's place; folder: where it is. reason: why, in a sentence.

    figures: task -> "old" or "new" queries -> "select" (which decided) or "test" -> before, after, gain, each with its interval.
    learned: task -> rows that were learned; skipped: task -> rows that were not, by reason. measured: what before and after are asked.
    """

    published: bool
    folder: str
    reason: str
    figures: dict[str, dict[str, dict[str, dict[str, Interval]]]]
    learned: dict[str, int]
    skipped: dict[str, dict[str, Any]]
    measured: str = ""


def update(run: Run, data: Sequence[Path], progress: Progress = silent, rule: Update | None = None) -> Updated:
    """Learn from files with the columns of the run's own events. Killed, the same call goes on where it was.

    rule: in place of the recipe's [update]. Raises KgrecError where no row of the files can be learned, and where another process writes the run. A run that is worse than the
    old one by [update] is kept as RUN.update; the old run and who reads it are not disturbed.
    """
    registry, stages, folder = Registry.discover(), Stages(progress), run.folder
    beside = folder.with_name(f"{folder.name}.update")
    run_folder.refuse_other(beside, "a run that became worse would be kept there; move it away")
    with run_folder.workspace(folder) as work:
        with stages("loading data"):
            run, learner = (open_run(folder, run.recipe.foreign, registry) for _ in range(2))  # as it is in place now
            old, new = run.snapshot, learner.snapshot
            rule, (how, options, limits) = rule or run.recipe.section("update", Update), sections(run.recipe, registry)
            rows, skipped = labelled(run.recipe, registry, old, data)
            graph = stored_graph.load_graph(folder / "knowledge")  # without edits, which are carried over when it is published
            dataset, number = joined(Dataset(graph, run.tasks), rows, skipped, rule, how)
            recipe = Recipe({**run.recipe.tree, "split": tree({**_plain(how), "by": "column", "column": "part"}, Path.cwd(), "update")})
            views = split(dataset, recipe.section("split", type(how)))
            relations = {task.name: task.relation for task in run.tasks}

            def apart(task: str, queries: Queries) -> list[NDArray[np.bool_]]:
                fresh = _of(queries, relations[task], _fresh(dataset.graph, relations[task], number))
                return [_with(queries, ~fresh), _with(queries, fresh)]

            views = sampled(views, limits, how.seed, apart)  # so that old and new queries are asked, however few
            fingerprint = stored_graph.fingerprint(dataset.graph)
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
            calibrations = certainty(learn_retrieval(chain, views), views)
        figures, decided = _compared(Chain(old.model, old.retrievals), chain, views, dataset, number, stages, how.seed)
        published, reason = _verdict(decided, rule)
        with stages("building with all known edges"):
            chain.build(dataset.graph)
        progress("publishing", 0, 0)
        place = folder if published else beside
        found = Updated(published, str(place), reason, figures, _counted(dataset, run.tasks, number), skipped, _measured(dataset))
        told = {"number": number, "files": [file.name for file in data], **{k: v for k, v in found._asdict().items() if k != "folder"}}
        metrics = {**run.metrics, "updates": [*run.metrics.get("updates", ()), told], "stages": stages.costs}
        kept = {name: calibration for name, calibration in old.calibrations.items() if name not in calibrations}
        asked = {task: as_table(queries) for task, queries in views["adjust"].queries.items()}
        finished = Finished(recipe, dataset, chain, metrics, [*run.history, *history], new.sources, calibrations, kept, asked)
        publish(finished, work, Path(found.folder), fingerprint, registry)
    return found


def _plain(how: Any) -> dict[str, Any]:
    """What of a split stays true where its parts are written out."""
    return {"known_only": how.known_only, "rebuild": how.rebuild, "seed": how.seed}


# --- learning and comparing -------------------------------------------------------------------------------------------
def _fresh(graph: Graph, relation: Relation, number: int) -> pl.DataFrame:
    return graph.relations[relation].filter(pl.col("update") == number)


def _of(queries: Queries, relation: Relation, fresh: pl.DataFrame) -> NDArray[np.bool_]:
    """(targets,) which of the queries' targets are among these edges."""
    width = queries.nodes.graph.size(relation.target)
    new = fresh["source"].cast(pl.Int64).to_numpy() * width + fresh["target"].cast(pl.Int64).to_numpy()
    return np.isin(queries.nodes.rows[queries.targets.owner] * width + queries.targets.rows, new)


def _with(queries: Queries, targets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) which of the queries have one of these targets."""
    found = np.zeros(len(queries.nodes), bool)
    found[queries.targets.owner[targets]] = True
    return found


def _replayed(view: View, tasks: Sequence[Task], number: int, rule: Update, seed: int) -> View:
    """The training queries that are new, and a sample of the others."""
    found = {}
    for task in tasks:
        queries = view.queries[task.name]
        new = _with(queries, _of(queries, task.relation, _fresh(view.graph, task.relation, number)))
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


def _measured(dataset: Dataset) -> str:
    said = "before and after are asked the same queries"
    if any(dataset.graph.clocked(task.relation) for task in dataset.tasks):  # parts by a column have no one moment at which they begin
        said += ", each at the moment of its own held-out rows; a fit split by time asks all of them when its span begins, so its figures are others"
    return said


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
