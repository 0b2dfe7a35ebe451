"""Who is published: the whole chain, a part of it, or something simple, by what each finds for the select queries.

What learned must earn its place: a retrieval that learned on the adjust queries is published where it gains more than one standard error of
the paired differences over what is simple; a chain that learned nothing gives way where it loses half of that (the rule of Breiman et al. 1984,
section 3.4.3, turned around for paired queries). A mixture, which learns a few numbers under a prior and holds the simple ones, gives way where
it loses two: the best of several simple ones is ahead by luck as often as not. Fine-tuning, which costs nothing when it serves, is published where
it is ahead at all. Nobody here has learned from the select queries but the moment at which fine-tuning was stopped. Where they are few, further
held-out edges count as much, see `evidence`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kgrec_core.comparison.contenders import Table, complete, described, explained, together, without_graph
from kgrec_core.comparison.evidence import Evidence, ahead, build
from kgrec_core.comparison.results import Results
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.interval import intervals, mean_error
from kgrec_core.graph import Task, View
from kgrec_core.interfaces import Hits, Retrieval
from kgrec_core.model import Model
from kgrec_core.recipe.recipe import Recipe
from kgrec_core.recipe.registry import Registry
from kgrec_core.retrieval.switch import Switch
from kgrec_core.split import Split

log = logging.getLogger("kgrec")
WHOLE = {"before": "the chain before fine-tuning", "after": "the chain"}
BLIND = "the chain without the graph"
PAIR = " + "  # between the names of two that are published together
FEW = 5  # met targets from which on a history is not short
TESTED = 1_000  # test queries that all contenders are asked
TELL = 20  # select queries below which a chain without a ranker, which learned from as few, yields to what is better by two standard errors only
ANSWERS = {"strangers": "without_history", "short": "short_history", "described": "text_alone"}  # channels of a switch, by whom they answer
LEAST = 100  # select queries of a kind before they are answered by another than the rest
JUDGED = 0.8  # of the select queries: where another known question leads to fewer of their answers, these alone judge known questions


class Contender(NamedTuple):
    """table: how a recipe writes its retrieval. system: whose vectors it reads, None = nobody's. values: (n,) per select query.
    further: (m,) per further query, NaN where it was not asked.
    """

    name: str
    system: str | None
    table: Table
    retrieval: Retrieval
    values: NDArray[np.float64] = np.zeros(0)
    further: NDArray[np.float64] = np.zeros(0)

    @property
    def known(self) -> NDArray[np.float64]:
        """(n + m,) per query that it can be judged by."""
        return np.concatenate([self.values, self.further])


class Choice(NamedTuple):
    """What is published for a task, and who else could have been with the same vectors. whole: it is a chain as it was heard.

    told: what metrics.json says of it.
    """

    published: Contender
    others: list[Contender]
    whole: bool
    told: dict[str, Any]


class Verdict(NamedTuple):
    """system: whose weights are published."""

    system: str
    choices: dict[str, Choice]


class Referee:
    """Hears every chain when it is built on the training view, then decides."""

    def __init__(self, recipe: Recipe, registry: Registry, views: Mapping[str, View], results: Mapping[str, Results], how: Split) -> None:
        self.recipe, self.registry, self.views, self.results, self.seed = recipe, registry, views, results, how.seed
        self.evidence = Evidence(views, results, how)
        self.heard: dict[str, list[Contender]] = {name: [] for name in results}

    def hear(self, system: str, model: Model, retrievals: Mapping[str, Retrieval], unseen: Mapping[str, Hits]) -> None:
        """The chain of "before" or "after", and what is simple with its vectors; what reads none is heard once. unseen: see `learn_retrieval`."""
        for name, retrieval in retrievals.items():
            view, result, table = self.views["select"], self.results[name], self.recipe.tables["retrieval"][name]
            if not len(view.queries[name].targets.rows):
                continue
            graph, heard, task = self.views["train"].graph, self.heard[name], named(model, name)
            for other, simple in result.simple(graph, table).items():
                if any(c.name == other and c.system is None for c in heard):
                    continue
                try:
                    part = self.made(name, simple)
                    if part.learns:  # it would have to be fitted, which makes it no simple thing
                        continue
                    build(part, task, model, graph)
                    heard.append(self._heard(model, task, Contender(other, system if part.reads == "vectors" else None, simple, part)))
                except KgrecError as error:
                    log.warning("%s: %s is not compared: %s", name, other, error)
            if (pair := self._pair(model, task, [c for c in heard if c.system in (system, None)])) is not None:
                heard.append(pair)
            heard.append(self._heard(model, task, Contender(WHOLE[system], system, table, retrieval), unseen.get(name)))

    def _pair(self, model: Model, task: Task, of: list[Contender]) -> Contender | None:
        """Where queries are few: the two best together, if that gains more than one standard error over the best of them (of ensemble
        selection, Caruana et al. 2004, the first step); a ranking by histories only, as a text has little more than its nearest."""
        text = "text" in self.views["train"].graph.columns(task.relation.source)
        before = [c.name for c in of if PAIR in c.name and c.system is None]
        of = [c for c in of if c.name not in WHOLE.values() and PAIR not in c.name]
        if text or self.results[task.name].metric == "accuracy" or len(of) < 2 or not self.evidence.views_of(task, model.tasks):
            return None
        first = _ahead(of)
        second = _ahead([c for c in of if c is not first])
        if (name := first.name + PAIR + second.name) in before:
            return None
        table = together({c.name: c.table for c in (first, second)})
        part = self.made(task.name, table)
        build(part, task, model, self.views["train"].graph)
        pair = self._heard(model, task, Contender(name, first.system or second.system, table, part))
        mean, error = mean_error(pair.known - first.known)
        return pair if mean > error else None

    def _heard(self, model: Model, task: Task, of: Contender, unseen: Hits | None = None) -> Contender:
        """With what it finds."""
        anew = partial(self.made, task.name, of.table)
        values = self.results[task.name].asked(model, of.retrieval, self.views["select"])
        return of._replace(values=values, further=self.evidence.values(task, of.name, model, of.retrieval, anew, unseen))

    def hear_blind(self, retrievals: Mapping[str, Retrieval], model: Model, view: View) -> None:
        """A chain that was fitted without knowledge, and `view` of the select queries without it; published, it is fitted anew, as it is written then.

        Its vectors are those that fine-tuning left, whichever system is published: it is fitted once for both.
        """
        for name, retrieval in retrievals.items():
            table, heard = self.recipe.tables["retrieval"][name], self.heard[name]
            if (blind := without_graph(table)) != table and heard:
                values = self.results[name].asked(model, retrieval, view)
                systems = {c.system for c in heard if c.name in WHOLE.values()}
                nothing = np.full(len(heard[0].further), np.nan)
                heard += [Contender(BLIND, system, blind, self.made(name, blind), values, nothing) for system in sorted(systems)]

    def made(self, task: str, table: Table) -> Retrieval:
        return self.recipe.with_retrieval(task, table).retrieval(self.registry, task)

    def test(self, model: Model, published: Mapping[str, Retrieval], verdict: Verdict, rebuild: bool) -> None:
        """Every contender's figure on up to 1,000 test queries, and what the published retrieval gains over it; nothing is chosen any more."""
        graph, rng = self.views["test" if rebuild else "train"].graph, np.random.default_rng(self.seed)
        for name, choice in verdict.choices.items():
            result, queries, columns = self.results[name], self.views["test"].queries[name], {}
            index = np.sort(rng.choice(n := len(queries.nodes), min(n, TESTED), replace=False))
            own, view = result.tested("published")[index], View(self.views["test"].graph, {name: queries.take(index)})
            if "judged" in choice.told:
                own = np.where(self._led_to(named(model, name), self.views["test"])[index], own, np.nan)
            for c in choice.others:
                if rebuild and c.retrieval is not published[name]:
                    build(c.retrieval, named(model, name), model, graph)
                values = own if c.retrieval is published[name] else np.where(np.isnan(own), np.nan, result.asked(model, c.retrieval, view))
                columns |= {f"test|{c.name}": values, f"gain|{c.name}": own - values}
            for key, figure in intervals(columns, self.seed).items():
                what, _, other = key.partition("|")
                if figure["n"] or "judged" not in choice.told:
                    choice.told["contenders"][other][what] = figure

    def decide(self, tasks: tuple[Task, ...], last: str, publish: str = "best") -> Verdict:
        """last: the system that was heard last; it is published where no select query has a target, and where the "chain" is wanted."""
        heard = {name: found for name, found in self.heard.items() if found}
        systems = [system for system in WHOLE if any(c.system == system for found in heard.values() for c in found)]
        system = systems[0] if systems and publish == "best" else last
        if len(systems) == 2 and publish == "best":
            seeing = [[c for c in found if c.name != BLIND] for found in heard.values()]
            pairs = [(self._best(found, "after"), self._best(found, "before")) for found in seeing]
            of = [mean_error(after.known - before.known) for after, before in pairs]
            error = np.sqrt(np.sum([error**2 for _, error in of])) / len(of)
            few = all(_few(after.values - before.values) for after, before in pairs)
            if np.mean([mean for mean, _ in of]) > (-2 * error if few else 0):
                system = "after"
        return Verdict(system, {task.name: self._choice(task, tasks, system, publish) for task in tasks if task.name in heard})

    def _best(self, found: list[Contender], system: str, counts: NDArray[np.bool_] | slice = slice(None)) -> Contender:
        """With one system's vectors: the chain, or what is simple and better for the queries that count."""
        of = [c for c in found if c.system in (system, None)]
        whole = next(c for c in of if c.name in WHOLE.values())
        own = whole.known[counts]
        if np.isnan(own).all():
            return whole
        simple = _ahead([c for c in of if c is not whole], counts) or whole
        mean, error = mean_error(own - simple.known[counts])
        learns, anchored = whole.retrieval.learns, whole.retrieval.anchored
        margin = -error / 2 if not learns and system != "after" else error
        margin = -2 * error if anchored or (_few(own) and not learns) else margin
        return whole if mean > margin or simple is whole else simple

    def _choice(self, task: Task, tasks: tuple[Task, ...], system: str, publish: str) -> Choice:
        every = [c for c in self.heard[task.name] if c.system in (system, None)]
        counts = self._judges(task, tasks)
        best = self._best(every, system, counts) if publish == "best" else next(c for c in every if c.name in WHOLE.values())
        of = [c for c in every if c.name != BLIND or c is best]  # that one is fitted only if it is published
        simple = _ahead([c for c in of if c.name not in WHOLE.values()]) or best
        slices = self._slices(task, of, best) if publish == "best" and best.name != BLIND else {}
        told = {"published": best.name, "system": system, "metric": self.results[task.name].metric, "simple": simple.name}
        if not isinstance(counts, slice):
            told["judged"] = int(np.count_nonzero(counts))
        if publish == "best" and best.name in WHOLE.values() and _few(best.known[counts]):
            told["few"] = TELL
        if len(best.further):
            told["further"] = int(max(np.count_nonzero(~np.isnan(c.further)) for c in every))
        select = intervals({c.name: c.values for c in every}, self.seed)
        told["contenders"] = {n: {"select": v} for n, v in sorted(select.items(), key=lambda item: -item[1]["mean"])}
        parts = {"usual": self._whole(task, best)} | {ANSWERS[which]: self._whole(task, other) for which, other in slices.items()}
        told_of = {which: other.name for which, other in slices.items()}
        if self._deaf(task, slices.get("strangers", best)) and (table := described(self.recipe.tables["retrieval"][task.name])):
            parts[ANSWERS["described"]] = Contender("", system, table, self.made(task.name, table))
            told_of["described"] = " and ".join(table["weights"])
        if not told_of:
            return Choice(parts["usual"], of, best.name in WHOLE.values(), told)
        told["slices"] = told_of
        named = {"default": "usual", **{which: ANSWERS[which] for which in told_of}}
        switch = Switch(channels={name: c.retrieval for name, c in parts.items()}, few=FEW, **named)
        table = {"use": "switch", "few": FEW, **named, **{name: c.table for name, c in parts.items()}}
        return Choice(parts["usual"]._replace(table=table, retrieval=switch), of, False, told)

    def _judges(self, task: Task, tasks: tuple[Task, ...]) -> NDArray[np.bool_] | slice:
        """The queries that count: all, or those whose right answer another known question leads to, where others are many.

        An entry that lost its only question to the select queries is found by its own text alone; once published, it has its question again.
        """
        asked = [self.views["select"], *self.evidence.views_of(task, tasks)]
        source = asked[0].graph.columns(task.relation.source)
        if self.results[task.name].metric == "accuracy" or "text" not in source:
            return slice(None)
        counts = np.concatenate([self._led_to(task, view) for view in asked])
        return counts if counts.sum() < JUDGED * sum(np.count_nonzero(v.queries[task.name].targets.counts) for v in asked) else slice(None)

    def _led_to(self, task: Task, view: View) -> NDArray[np.bool_]:
        """(n,) of a view's queries those to whose right answer a known one leads."""
        nodes, targets = view.queries[task.name]
        return targets.keep(nodes.graph.degree(task.relation, targets.rows, inverse=True) > 0).counts > 0

    def _whole(self, task: Task, of: Contender) -> Contender:
        """What was judged, as it is published: it finds every candidate, and of a text still shows what is like it."""
        chooses = self.results[task.name].metric == "accuracy"
        if of.name in WHOLE.values() or (of.system and not chooses):
            return of
        table = (explained if chooses else complete)(of.table, self.recipe.tables["retrieval"][task.name])
        return of if table is of.table else of._replace(table=table, retrieval=self.made(task.name, table))

    def _deaf(self, task: Task, of: Contender) -> bool:
        """Whether it hardly hears the text of a query that has met nothing, and nobody asked it one: sources have no text of their own."""
        graph, hears = self.views["train"].graph, of.name in (*WHOLE.values(), BLIND) or (of.system and PAIR not in of.name)
        ranks, (source, target) = self.results[task.name].metric != "accuracy", (task.relation.source, task.relation.target)
        return bool(ranks and not hears and "text" in graph.columns(target) and "text" not in graph.columns(source))

    def _slices(self, task: Task, of: list[Contender], best: Contender) -> dict[str, Contender]:
        """Those who met nothing or little, where another answers them better by two standard errors."""
        queries = self.views["select"].queries[task.name]
        if self.results[task.name].metric == "accuracy" or "text" in queries.nodes.graph.columns(task.relation.source):
            return {}
        met, found = queries.nodes.read(task.relation, last=FEW).counts, {}
        for which, mask in (("strangers", met == 0), ("short", (met > 0) & (met < FEW))):
            mask &= queries.targets.counts > 0
            if mask.sum() < LEAST or mask.sum() == (queries.targets.counts > 0).sum():
                continue
            other = max(of, key=lambda c: np.nanmean(c.values[mask]))
            mean, error = mean_error(other.values[mask] - best.values[mask])
            if mean > 2 * error:
                found[which] = other
        return found


def named(model: Model, name: str) -> Task:
    return next(task for task in model.tasks if task.name == name)


def _ahead(of: list[Contender], counts: NDArray[np.bool_] | slice = slice(None)) -> Contender | None:
    """The best for the queries that count; begun with whom the select queries place first."""
    of = sorted(of, key=lambda c: -np.nanmean(c.values))
    return of[ahead([c.known[counts] for c in of])] if of else None


def _few(values: NDArray[np.float64]) -> bool:
    return np.count_nonzero(~np.isnan(values)) < TELL
