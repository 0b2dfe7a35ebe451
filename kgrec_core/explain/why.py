"""Explanations of what a built retrieval answers: the parts of every score, and the paths of the graph that they stand on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kgrec_core.explain.evidence import channels_of, part
from kgrec_core.explain.explanation import Explanation, Language
from kgrec_core.explain.own import lost_without
from kgrec_core.explain.paths import Met, Paths, Weights, met_by
from kgrec_core.explain.sentences import language_of
from kgrec_core.graph import Nodes, Ragged, Relation, Task
from kgrec_core.interfaces import Filter, Retrieval
from kgrec_core.model import Model

MOST, TOGETHER, DEPTH = 5, 256, 100  # paths that are named; queries asked at once; how deep an answer is looked for


def explanations(
    model: Model,
    retrieval: Retrieval,
    task: Task,
    nodes: Nodes,
    k: int,
    allowed: Filter | None = None,
    exclude: Ragged | None = None,
    language: Language | None = None,
    most: int = MOST,
    only: NDArray[np.int64] | None = None,
) -> list[list[Explanation]]:
    """Of the k best answers to each query, as `retrieval.search` finds them. language: None = as the query, else the answer, is written.

    only: rows (n, m), those of the answers that are explained; None = all.
    """
    hits, parts = retrieval.explain(nodes, model.vectors(task, nodes), k, allowed, exclude)
    met = [met_by(task, nodes.take([i])) for i in range(len(nodes))]
    lost = _influence(model, retrieval, task, nodes, met, hits.rows, hits.scores, allowed, exclude)
    own = lost_without(model, retrieval, task, nodes, hits.rows, hits.scores, allowed, exclude)
    channels, found = channels_of(retrieval), []
    for i in range(len(nodes)):
        paths = Paths(task, nodes.take([i]), met[i], lost[i], {relation: of[i] for relation, of in own.items()}, retrieval.relation_weights)
        answers = []
        for place, row in enumerate(hits.rows[i].tolist()):
            if row < 0:
                break
            if only is not None and row not in only[i]:
                continue
            features = {name: float(values[i, place]) for name, values in parts.items() if values[i, place]}
            groups, weights = _grouped(features, channels, retrieval.evidence)
            item = paths.node(task.relation.target, row)
            ways = paths.to(row, place, weights, most)
            answers.append(
                Explanation(
                    item, float(hits.scores[i, place]), ways, groups, features, language or language_of(paths.source.text, item.text)
                )
            )
        found.append(answers)
    return found


def _grouped(features: Mapping[str, float], channels: Mapping[str, str], whole: str) -> tuple[dict[str, float], Weights]:
    """The parts of a score by channel or group, the largest first; and what speaks for the answer by what it stands on."""
    groups, weights = defaultdict(float), defaultdict(float)
    for name, value in features.items():
        of = part(name, channels, whole)
        groups[of.group] += value
        weights[of.evidence, of.relation] += value
    ordered = dict(sorted(groups.items(), key=lambda pair: -abs(pair[1])))
    return ordered, {key: value for key, value in weights.items() if value > 0}


def _influence(
    model: Model,
    retrieval: Retrieval,
    task: Task,
    nodes: Nodes,
    met: Sequence[Met],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    allowed: Filter | None,
    exclude: Ragged | None,
) -> list[NDArray[np.float64]]:
    """(things met, answers) of every query: what the score of the answer loses when the query does not know the thing; 0 where it gains."""
    owner = np.repeat(np.arange(len(nodes)), [len(of.rows) if len(of.rows) > 1 else 0 for of in met])
    hidden = np.concatenate([np.zeros(0, np.int64), *(of.rows for of in met if len(of.rows) > 1)]).astype(np.int64)
    lost = [np.ones((len(of.rows), rows.shape[1])) for of in met]
    place = np.concatenate([np.arange(len(of.rows)) for of in met]) if met else np.zeros(0, np.int64)
    place = place[np.repeat([len(of.rows) > 1 for of in met], [len(of.rows) for of in met])]
    for start in range(0, len(owner), TOGETHER):
        block = np.arange(start, min(start + TOGETHER, len(owner)))
        asked = without(nodes.take(owner[block]), task, Ragged.of(np.arange(len(block)), hidden[block], len(block)))
        gone, of = None if exclude is None else exclude.take(owner[block]), rows[owner[block]]
        pairs = Ragged.of(*np.nonzero(of >= 0), len(block))._replace(rows=of[of >= 0])
        now = np.full(of.shape, np.nan)
        now[of >= 0] = retrieval.again(asked, model.vectors(task, asked), pairs, allowed, gone)
        least = np.fmin.reduce(now, axis=1, initial=np.inf, keepdims=True)
        now = np.where(np.isnan(now), np.where(np.isfinite(least), least, 0.0), now)
        for j, one in enumerate(block):
            lost[owner[one]][place[one]] = np.maximum(0, np.where(of[j] >= 0, scores[owner[one]] - now[j], 0))
    return lost


def without(nodes: Nodes, task: Task, hidden: Ragged) -> Nodes:
    """The queries, each not knowing some of what it met, by whatever relation of the task's."""
    relations: list[Relation] = [r for r in (task.relation, *task.history) if r.target == task.relation.target]
    hide = dict(nodes.hide or {})
    for relation in relations:
        before = hide.get(relation)
        hide[relation] = hidden if before is None else _both(before, hidden)
    return replace(nodes, hide=hide)


def _both(one: Ragged, other: Ragged) -> Ragged:
    n = len(one.indptr) - 1
    return Ragged.of(np.concatenate([one.owner, other.owner]), np.concatenate([one.rows, other.rows]), n)
