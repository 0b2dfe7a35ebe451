"""Chains put beside each other: each is fitted, heard by the referee, tested, and what is published among them gets its row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kgrec_core.calibration.calibration import Calibration
from kgrec_core.calibration.confidence import calibrated
from kgrec_core.comparison.referee import Referee, Verdict
from kgrec_core.comparison.results import Results
from kgrec_core.evaluation import rank_tables, variants
from kgrec_core.graph import Graph, Queries, Task, View, candidates
from kgrec_core.interfaces import Hits, Retrieval
from kgrec_core.model import Model
from kgrec_core.retrieval.switch import Switch
from kgrec_core.split import Split
from kgrec_core.stages import Stages


class Chain(NamedTuple):
    """Everything between a query and its answers, of the tasks that have a retrieval."""

    model: Model
    retrievals: Mapping[str, Retrieval]

    def build(self, graph: Graph) -> None:
        self.model.refresh(graph)
        for task in self.tasks:
            self.retrievals[task.name].build(graph, task, candidates(graph, task), self.model.encode(task))

    @property
    def tasks(self) -> list[Task]:
        return [task for task in self.model.tasks if task.name in self.retrievals]


@dataclass(frozen=True)
class Comparison:
    """Puts chains beside each other: a row of every table each. heard: by name, those that may be published, and their calibrations."""

    views: Mapping[str, View]
    results: Mapping[str, Results]
    how: Split
    stages: Stages
    referee: Referee
    heard: dict[str, tuple[Chain, dict[str, Calibration]]] = field(default_factory=dict)

    def add(self, name: str, chain: Chain, blind: bool = False) -> None:
        """Fit the chain's retrieval, let the referee hear it, then test it. The pretrained and the fine-tuned model may be published, and are
        tested alone, too; blind: so may this one, which knows the same but for the graph."""
        own = name in ("before", "after")
        with self.stages(f"retrieval ({shown_as(name)})"):
            unseen = learn_retrieval(chain, self.views)
        if own:
            self.heard[name] = chain, certainty(unseen, self.views)
            with self.stages("referee"):
                self.referee.hear(name, chain.model, chain.retrievals, unseen)
        if blind:
            with self.stages("referee"):
                self.referee.hear_blind(chain.retrievals, chain.model, self.views["select"])
        self.test(name, chain, model_too=own)

    def test(self, name: str, chain: Chain, model_too: bool = False) -> None:
        """Ask the test queries, of what is built again on what may be known then."""
        with self.stages(f"test ({shown_as(name)})"):
            if self.how.rebuild:
                chain.build(self.views["test"].graph)
            for task, retrieval in chain.retrievals.items():
                self.results[task].add(name, chain.model, retrieval, self.views["test"], model_too=model_too)

    def publish(self, verdict: Verdict) -> tuple[Chain, dict[str, Calibration]]:
        """The chain that is published, and its calibrations; it gets its row, and every other contender a figure beside it."""
        heard, calibrations = self.heard[verdict.system]
        model, calibrations = heard.model, dict(calibrations)
        published = {name: choice.published.retrieval for name, choice in verdict.choices.items()}
        new = Chain(model, {name: published[name] for name, choice in verdict.choices.items() if not choice.whole})
        # A switch holds a chain that is fitted already, and its columns are those of whoever answers: no curve holds for all of them.
        plain = Chain(model, {name: part for name, part in new.retrievals.items() if not isinstance(part, Switch)})
        with self.stages("retrieval (published)"):
            for name in new.retrievals:  # another one's would refuse these columns
                calibrations.pop(name, None)
            calibrations |= certainty(learn_retrieval(plain, self.views), self.views)
        if not self.how.rebuild:
            new.build(self.views["train"].graph)
        self.test("published", new)
        for task in heard.tasks:
            if task.name not in new.retrievals:
                self.results[task.name].again("published", verdict.system)
        chain = Chain(model, {**heard.retrievals, **published})
        with self.stages("test (contenders)"):
            self.referee.test(chain.model, chain.retrievals, verdict, self.how.rebuild)
        return chain, calibrations


def shown_as(name: str) -> str:
    """A system as people read it."""
    return name.replace("_", " ")


def learn_retrieval(chain: Chain, views: Mapping[str, View]) -> dict[str, Hits]:
    """Retrieval built on the training view, its ranker fitted on the adjust queries; by task, what is found for these by what has not learned
    from them."""
    chain.build(views["train"].graph)
    asked = {task: views["adjust"].queries[task.name] for task in chain.tasks}
    return {task.name: fitted_hits(chain.model, chain.retrievals[task.name], task, of) for task, of in asked.items() if len(of.nodes)}


def certainty(unseen: Mapping[str, Hits], views: Mapping[str, View]) -> dict[str, Calibration]:
    """P(correct) by what `learn_retrieval` found, of tasks that have enough queries to say it."""
    found = {name: calibrated(hits, views["adjust"].queries[name].targets) for name, hits in unseen.items()}
    return {name: calibration for name, calibration in found.items() if calibration}


def fitted_hits(model: Model, retrieval: Retrieval, task: Task, queries: Queries) -> Hits:
    """What is found for the adjust queries by something that has not learned from them."""
    if retrieval.learns:
        return retrieval.fit(queries, model.vectors(task, queries.nodes))
    return rank_tables.chain_hits(model, retrieval, task, variants.whole(queries, task))
