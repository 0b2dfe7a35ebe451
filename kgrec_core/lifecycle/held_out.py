"""Ask a published run again what was held out from it, and recompute its test figures from its own data, split and files.

The published run knows every edge, so it cannot be asked what it was tested on. `held_out` gives what it was at its test: the same
weights, ranker and calibrations, and the graph that the test queries may know. Benchmarks ask that, or a run through `unseen`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from kgrec_core.comparison.results import results_of
from kgrec_core.errors import KgrecError
from kgrec_core.graph import View, candidates
from kgrec_core.limits import Fit, sampled
from kgrec_core.loading import Loaded, loaded
from kgrec_core.recipe.registry import Registry
from kgrec_core.run import stored_graph
from kgrec_core.run.asked import Query
from kgrec_core.run.run import open_run
from kgrec_core.run.snapshot import Snapshot
from kgrec_core.split import Split, split

if TYPE_CHECKING:
    from kgrec_core.run.run import Run

EQUAL = 1e-6


class Held(NamedTuple):
    """views: train, select, adjust and test, of the run's own split. snapshot: the run as it was tested; it knows no edge of the test."""

    views: Mapping[str, View]
    snapshot: Snapshot


def held_out(run: Run) -> Held:
    """The run as it was when it was tested, beside the run itself, which goes on undisturbed. Edits that came later are not in it.

    Raises KgrecError where its data cannot be loaded, or are no longer those that it was fitted on, as after an update.
    """
    if updates := run.metrics.get("updates"):
        raise KgrecError(
            f"{run.folder}: the run has learned from later rows ({', '.join(name for of in updates for name in of['files'])}) since its fit, so the "
            "figures of the fit are of weights that are gone, and its own files lack those rows; what the update brought stands in metrics.json "
            '("updates"), and --data FILE asks it rows that it has not seen'
        )
    how = run.recipe.section("split", Split)
    again, made = loaded_again(run, Registry.discover())
    views = sampled(split(made.dataset, how), run.recipe.section("fit", Fit), how.seed)
    graph = views["test" if how.rebuild else "train"].graph
    again.model.refresh(graph)
    for task in run.tasks:
        again.retrievals[task.name].build(graph, task, candidates(graph, task), again.model.encode(task))
    if not how.rebuild:
        again.model.refresh(views["test"].graph)
    return Held(views, replace(again, graph=views["test"].graph, edit=0))


def loaded_again(run: Run, registry: Registry) -> tuple[Snapshot, Loaded]:
    """A snapshot of its own of a run, and its data, loaded again. Raises KgrecError where these are not what it was fitted on."""
    again = open_run(run.folder, allow=run.recipe.foreign, registry=registry).snapshot
    made = loaded(run.recipe, registry, sources=again.sources)
    if stored_graph.fingerprint(made.dataset.graph) != run.manifest["data"]:
        raise KgrecError(f"{run.folder}: the data of its recipe are not those that it was fitted on; put them back, or fit again")
    return again, made


def evaluate_again(run: Run) -> dict[str, Any]:
    """What metrics.json holds of the published system, its model alone and the floors, computed anew; "again" counts what was compared.

    "again": task -> figures (how many are in both), difference (the largest), and differs (the names of those beyond 1e-6).
    """
    (views, snapshot), found = held_out(run), {"tasks": {}, "again": {}}
    how = run.recipe.section("split", Split)
    for task in run.tasks:
        recorded = run.metrics["tasks"][task.name]
        system = "published" if "published" in recorded["test"] else "after"
        weights = recorded.get("referee", {}).get("system", "after")
        result = results_of(task, snapshot.model.heads[task.name], views, how)
        result.add(system, snapshot.model, snapshot.retrievals[task.name], views["test"])
        test = _named(result.table(how.seed), f"encoder_{system}", f"encoder_{weights}")
        pairs = list(_both(recorded["test"], test, ()))
        differs = [".".join(name) for name, one, other in pairs if not abs(one - other) <= EQUAL]
        largest = max((abs(one - other) for _, one, other in pairs), default=0.0)
        found["tasks"][task.name] = {"test": test}
        found["again"][task.name] = {"figures": len(pairs), "difference": largest, "differs": differs}
    return found


def unseen(run: Run | Snapshot, queries: Sequence[Query], task: str | None = None) -> Sequence[Query]:
    """The queries themselves, for who measures. Raises KgrecError where the run knows the answer to one: it would find itself.

    It does where a known source of that id, or of the same text but for case and blanks, has an edge of the task.
    """
    of = run.task(task)
    graph, kind = run.graph, of.relation.source
    sources = graph.relations[of.relation].drop_nulls(["source"])["source"].unique()
    columns = [column for column in ("id", "text") if column in graph.columns(kind)]
    known = graph.gather(kind, sources.to_numpy(), *columns)
    ids = set(known["id"])
    texts = {_plain(text) for text in known["text"].drop_nulls()} if "text" in columns else set()
    for query in queries:
        id, text = (query, None) if isinstance(query, str) else (query.get("id"), query.get("text"))
        if id in ids or (text and _plain(text) in texts):
            raise KgrecError(
                f"{kind} {id or text!r}: this run was built on its answer for task {of.name}, so it would find itself;"
                " ask what `kgrec_core.domain.held_out(run)` gives, or leave it out"
            )
    return queries


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _named(table: Any, old: str, new: str) -> Any:
    return {new if key == old else key: _named(value, old, new) for key, value in table.items()} if isinstance(table, dict) else table


def _both(one: Any, other: Any, name: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float, float]]:
    """The numbers that stand in both under the same name."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() & other.keys():
            yield from _both(one[key], other[key], (*name, key))
    elif isinstance(one, int | float) and isinstance(other, int | float):
        yield name, float(one), float(other)
