"""Does the graph pay, and which relation? The same system, fitted again without it, with a shuffled one, and without each relation.

    found = audit(kgrec_core.open_run("runs/shop"))
    found.pays["buys"]["has_brand"]["cold"]      # {"mean", "low", "high", "n"}: what the relation brings, NDCG@10

Rankers learn anew on the adjust queries, the weights of a merge are chosen anew on them, an encoder that reads knowledge is fine-tuned
anew. The test queries are asked once of each; "beats" is a paired 95 % bootstrap interval above 0.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.comparison.ablation import changed, emptied, knowledge, without_language_model
from kgrec_core.comparison.chains import Chain, learn_retrieval
from kgrec_core.encoder.tower import Tower
from kgrec_core.errors import choices
from kgrec_core.evaluation import class_metrics, rank_tables, slices, variants
from kgrec_core.evaluation.interval import Interval, intervals
from kgrec_core.evaluation.metrics import measure
from kgrec_core.evaluation.ranks import hits_ranks
from kgrec_core.finetuning import SECTIONS, Job, build_model, build_retrievals, fine_tuned, sections
from kgrec_core.graph import Dataset, Graph, Task, View
from kgrec_core.knowledge.leaks import Leak, leaks
from kgrec_core.knowledge.shuffled import shuffled
from kgrec_core.knowledge.told import Encode
from kgrec_core.lifecycle.held_out import loaded_again
from kgrec_core.limits import Budget, sampled
from kgrec_core.model import Model, Silent
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.retrieval.merge import DEPTH, Merge, fuse
from kgrec_core.retrieval.pool import top
from kgrec_core.split import split
from kgrec_core.stages import Progress, silent

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

FULL, NONE, SHUFFLED, NEITHER = "full", "without the graph", "shuffled graph", "without graph and language model"
FACTORS = (0.0, 0.3, 1.0, 3.0)  # of a merge's weights, when they are chosen anew
Slices = dict[str, NDArray[np.float64]]  # slice -> (n,) values, NaN outside


class Audit(NamedTuple):
    """metric: task -> its name. systems: task -> system -> slice -> mean with interval. pays: task -> "graph", "more than shuffled",
    "shuffled", "graph and language model" or a relation -> slice -> what it brings, paired. leaks: what the linter found."""

    metric: dict[str, str]
    systems: dict[str, dict[str, dict[str, Interval]]]
    pays: dict[str, dict[str, dict[str, Interval]]]
    leaks: list[Leak]

    @property
    def leaky(self) -> bool:
        return any(leak.grade == "leak" for leak in self.leaks)

    def to_json(self) -> dict[str, Any]:
        return {"metric": self.metric, "systems": self.systems, "pays": self.pays, "leaks": [leak._asdict() for leak in self.leaks]}


def beside(run: Path) -> Path:
    """Where the audit of a run is kept: RUN.audit.json, as a run is not written to."""
    return run.with_name(f"{run.name}.audit.json")


def audit(run: Run, progress: Progress = silent, relations: Sequence[str] = (), seed: int = 0) -> Audit:
    """Of a published run, by its recipe, its data and its fine-tuned weights; kept beside it, where the report finds it.

    relations: names of those that are dropped, one at a time; none = each. Raises KgrecError where its data cannot be loaded.
    """
    registry = Registry.discover()
    progress("loading data", 0, 0)
    again, made = loaded_again(run, registry)  # its tables may be those of other graphs
    derived = [relation for of in made.found.values() for relation in of["relations"]]
    found = audited(run.recipe, registry, made.dataset, progress, relations, derived, again.model, seed)
    beside(run.folder).write_text(json.dumps({"data": run.manifest.get("data"), **found.to_json()}, indent=1))
    return found


def audited(
    recipe: Recipe,
    registry: Registry,
    dataset: Dataset,
    progress: Progress = silent,
    relations: Sequence[str] = (),
    derived: Sequence[str] = (),
    model: Model | None = None,
    seed: int = 0,
) -> Audit:
    """Of a recipe and its data set. model: its weights, where it was fitted; None = as pretrained, or as it is fine-tuned here."""
    recipe = recipe.check(registry, SECTIONS)
    how, _, limits = sections(recipe, registry)
    views = sampled(split(dataset, how), limits, how.seed)
    every = knowledge(dataset)
    names = {relation.name for relation in every}
    for name in relations:
        if name not in names:
            raise choices("relation of knowledge", name, names)
    dropped = [name for name in sorted(names) if (not relations or name in relations)] if len(names) > 1 or relations else []
    changes: dict[str, Callable[[Graph], Graph]] = {FULL: lambda graph: graph}
    if every:
        changes[NONE] = lambda graph: emptied(graph, every)
        changes[SHUFFLED] = lambda graph: shuffled(graph, [r for r in every if r in graph.relations], seed)
        changes[NEITHER] = changes[NONE]
    for name in dropped:
        changes[f"without {name}"] = lambda graph, name=name: emptied(graph, [r for r in every if r.name == name])
    values: dict[str, dict[str, Slices]] = {task.name: {} for task in dataset.tasks}
    for number, (system, change) in enumerate(changes.items()):
        progress(f"audit: {system}", number, len(changes))
        own = changed(views, change)
        reads = model is not None and model.encoder.reads_knowledge and system != FULL
        if system == NEITHER:
            left = without_language_model(recipe, registry, dataset, own["train"].graph, Budget(0))
            chain = left and learned(left, own)
        else:
            chain = fitted_chain(recipe, registry, dataset, own, None if reads else model)
        if system == FULL:
            encode = _encode(chain.model)
        for task in chain.tasks if chain else ():
            values[task.name][system] = _asked(chain, task, own, how.rebuild)
    progress("audit: leaks", len(changes), len(changes))
    found = leaks(dataset, views, how, derived, seed, encode)
    return _told(values, dropped, {t.name: _metric(recipe, registry, t) for t in dataset.tasks}, found, seed)


def _encode(model: Model) -> Encode | None:
    """The language model of a chain as a function of texts, where it has one."""
    tower = next((part for part in model.encoder.modules() if isinstance(part, Tower)), None)
    return tower and (lambda texts: tower.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False))


def _told(
    values: Mapping[str, Mapping[str, Slices]], dropped: Sequence[str], metric: dict[str, str], found: list[Leak], seed: int
) -> Audit:
    systems, pays = {}, {}
    for task, of in values.items():
        columns = {(system, name): v for system, parts in of.items() for name, v in parts.items()}
        pairs = {"graph": (FULL, NONE), "more than shuffled": (FULL, SHUFFLED), "shuffled": (SHUFFLED, NONE)}
        pairs |= {"graph and language model": (FULL, NEITHER)} if NEITHER in of else {}
        pairs = {name: pair for name, pair in pairs.items() if NONE in of} | {name: (FULL, f"without {name}") for name in dropped}
        gains = {(label, name): of[one][name] - of[other][name] for label, (one, other) in pairs.items() for name in of[one]}
        means = intervals({"|".join(key): v for key, v in {**columns, **gains}.items() if np.isfinite(v).any()}, seed)
        systems[task] = {s: {n: means[f"{s}|{n}"] for n in parts if f"{s}|{n}" in means} for s, parts in of.items()}
        pays[task] = {label: {n: means[f"{label}|{n}"] for n in of[FULL] if f"{label}|{n}" in means} for label in pairs}
    return Audit(metric, systems, pays, found)


# --- the systems ----------------------------------------------------------------------------------------------------------
def fitted_chain(recipe: Recipe, registry: Registry, dataset: Dataset, views: Mapping[str, View], model: Model | None = None) -> Chain:
    """The chain of a recipe as it learns from these views: built on train, fitted on adjust. model: its weights; None = fine-tuned here."""
    recipe = recipe.check(registry, SECTIONS)
    retrievals = build_retrievals(recipe, registry, dataset)
    if model is None and all(part.reads != "vectors" for part in retrievals.values()):
        model = Silent(dataset.tasks)
    if model is None:
        _, options, _ = sections(recipe, registry)
        model = build_model(recipe, registry, dataset.tasks, views["train"].graph)
        with tempfile.TemporaryDirectory() as place:
            fine_tuned(model, views, options, Job(Path(place) / "checkpoint.pt", "audit"), silent)
    return learned(Chain(model, retrievals), views)


def learned(chain: Chain, views: Mapping[str, View]) -> Chain:
    """The chain, its retrievals built on train and fitted on adjust."""
    learn_retrieval(chain, views)
    for task in chain.tasks:
        part = chain.retrievals[task.name]
        if isinstance(part, Merge) and part.by == "score":
            part.weights = _weights(part, chain.model, task, views["adjust"])
    return chain


def _weights(part: Merge, model: Model, task: Task, view: View) -> dict[str, float]:
    """The weights of a merge, chosen by NDCG@10 on the adjust queries, one after the other, twice; on a tie as they were."""
    queries = view.queries[task.name]
    weights = {name: float(part.weights.get(name, 1.0)) for name in part.channels}
    if not queries.targets.counts.any():
        return weights
    case = variants.whole(queries, task)
    found, pool, columns = part._found(queries.nodes, model.vectors(task, queries.nodes), max(DEPTH, part.pool), None, case.exclude)

    def value(given: Mapping[str, float]) -> float:
        hits = top(pool, fuse(pool, found, columns, part.by, given), 10, {})
        return float(np.nanmean(measure(hits_ranks(hits, queries.targets), queries.targets, ("ndcg@10",))["ndcg@10"]))

    best = value(weights)
    for _ in range(2):
        for name in weights:
            for factor in FACTORS:
                other = {**weights, name: weights[name] * factor}
                if any(other.values()) and (now := value(other)) > best:
                    best, weights = now, other
    return weights


# --- what they are asked ----------------------------------------------------------------------------------------------------
def _metric(recipe: Recipe, registry: Registry, task: Task) -> str:
    return "ndcg@10" if recipe.head(registry, task.name).encodes_candidates else "accuracy"


def _asked(chain: Chain, task: Task, views: Mapping[str, View], rebuild: bool) -> Slices:
    """The metric of every test query, in each slice."""
    if rebuild:
        chain.build(views["test"].graph)
    queries, ranks = views["test"].queries[task.name], getattr(chain.model.heads.get(task.name), "encodes_candidates", True)
    cases = {"all": variants.whole(queries, task)}
    if ranks:
        cases |= {"new_only": variants.new_only(queries, task)} if task.repeats else {}
        cases |= {"cold": variants.cold(queries, task, views["train"].graph), "cold_alone": variants.cold_alone(queries, task)}
    found, values = {}, {}
    for name, case in cases.items():
        if case.key not in found:
            found[case.key] = rank_tables.chain_hits(chain.model, chain.retrievals[task.name], task, case)
        if ranks:
            values[name] = rank_tables.chain_values(found[case.key], case)["ndcg@10"]
        else:
            values[name] = class_metrics.right(class_metrics.predicted(found[case.key]), case.queries.targets)
    for name, mask in slices.slices(queries, task).items():
        values[name] = np.where(mask, values["all"], np.nan)
    return values
