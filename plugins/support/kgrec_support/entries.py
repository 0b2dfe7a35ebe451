"""The entries of an open run, edited: durable before a call returns, found by every reader from then on, nothing trained again.

added = kgrec_support.add(run, "Do you deliver on Sundays?", "No, from Monday to Saturday.")
kgrec_support.edit(run, added.id, question=["sunday delivery?"])
kgrec_support.undo(run)
"""

from __future__ import annotations

import re
import time as _clock
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from kgrec_core import Graph, KgrecError, Task
from kgrec_core.domain import Run, Snapshot, each, identity, known
from kgrec_support.assembly import IN_CATEGORY
from kgrec_support.columns import tag
from kgrec_support.decide import readable
from kgrec_support.desk import answering
from kgrec_support.plain import LONGEST, plain
from kgrec_support.verbs import Add, Edit, Remove, Undo

LONGEST_ID = 200  # characters: it stands in lists and beside every answer
_LOCALE = re.compile("[a-z]{2,3}(-[a-z0-9]{2,8})*")


class Edited(NamedTuple):
    """The entry's id, its questions that are new, and those it had."""

    id: str
    new: list[str]
    known: list[str]


class Entry(NamedTuple):
    """One entry; questions: all that lead to it; alive: whether it can be found now; since, until: microseconds UTC, None = open."""

    id: str
    text: str | None
    category: str | None
    locale: str | None
    questions: list[str]
    alive: bool
    since: int | None = None
    until: int | None = None


@each
def add(run: Run, request: Add) -> Edited:
    """A new entry with its questions, or more questions for the entry that has this very answer. A removed one comes back.

    Raises KgrecError where the id has another answer, where a question leads to another entry, for texts without a readable word and for
    a locale that is none.
    """
    task, graph = _editable(run), run.graph
    text = _readable(plain(request.answer, lines=True), "answer")
    id = identity("a", text) if request.id is None else _identifier(request.id)
    columns = {"id": id, "text": text, "since": None, "until": None}
    if request.locale is not None:
        columns["locale"] = tag(pl.Series([request.locale.strip()]))[0]
        if not _LOCALE.fullmatch(columns["locale"]):
            raise KgrecError(f"locale {request.locale!r} is no language tag; write one such as en or zh-TW")
    if request.category is not None:
        columns["category"] = _readable(plain(request.category), "category")
    kind = task.relation.target
    row = graph.rows(kind, [id])
    if row[0] >= 0 and graph.alive(kind)[row[0]]:
        held = graph.gather(kind, row, "text").item()
        if held != text:
            raise KgrecError(f'id "{id}" has another answer: "{(held or "")[:80]}"; use edit to change it, or give a new id')
        columns = {"id": id}
    return _write(run, task, graph, columns, [request.question, *request.variants])


@each
def edit(run: Run, request: Edit) -> Edited:
    """Another text for an entry, more questions, or both; its id stays. Raises KgrecError for an unknown or removed id and as `add`."""
    task, graph = _editable(run), run.graph
    id = _alive(graph, task, request.id)
    if request.answer is None and not request.questions:
        raise KgrecError(f"nothing to change in {id}; give an answer or questions")
    columns = {"id": id} if request.answer is None else {"id": id, "text": _readable(plain(request.answer, lines=True), "answer")}
    return _write(run, task, graph, columns, request.questions)


@each
def remove(run: Run, request: Remove) -> list[str]:
    """Entries that are never found again, until `add` brings them back or `undo` takes this back; returns their ids."""
    task, graph = _editable(run), run.graph
    ids = list(dict.fromkeys(_alive(graph, task, one) for one in request.ids))
    run.remove(task.relation.target, ids)
    return ids


@each
def undo(run: Run, request: Undo) -> int:
    """Take the last edit back, by another edit; returns its number in `run.edits()`. Raises KgrecError where none is left."""
    return run.undo()


def entries(snapshot: Snapshot, words: str | None = None, removed: bool = False) -> list[Entry]:
    """The entries in their order. words: only those that have all of these words in answer, id or a question, in any case.

    removed: the removed and expired ones too.
    """
    task, graph = answering(snapshot), snapshot.graph
    source, kind = task.relation.source, task.relation.target
    alive = graph.alive(kind)
    chosen = np.flatnonzero(alive | removed)
    table = graph.gather(kind, chosen)
    asked = graph.adjacent(task.relation, chosen, inverse=True)
    texts = graph.gather(source, asked.rows, "text")["text"].to_list()
    still = graph.alive(source)[asked.rows]
    found, wanted = [], (words or "").casefold().split()
    for place, entity in enumerate(table.to_dicts()):
        span = range(asked.indptr[place], asked.indptr[place + 1])
        questions = [texts[i] for i in span if still[i] and texts[i]]
        spoken = " ".join([entity["id"], entity.get("text") or "", *questions]).casefold()
        if all(word in spoken for word in wanted):
            about, times = ([entity.get(name) for name in names] for names in (("text", "category", "locale"), ("since", "until")))
            found.append(Entry(entity["id"], *about, questions, bool(alive[chosen[place]]), *times))
    return found


def _write(run: Run, task: Task, graph: Graph, columns: dict[str, str | None], questions: Sequence[str]) -> Edited:
    relation, id = task.relation, columns["id"]
    texts = list(dict.fromkeys(_readable(plain(q)[:LONGEST], "question") for q in questions))
    if not texts and "text" in columns and graph.rows(relation.target, [id])[0] < 0:
        raise KgrecError(f"entry {id} needs at least one question that it answers")
    ids = [identity("q", text) for text in texts]
    fresh = [not _leads(graph, task, question, id, text) for question, text in zip(ids, texts, strict=True)]
    new = [place for place, is_new in enumerate(fresh) if is_new]
    asked = {"id": [ids[i] for i in new], "text": [texts[i] for i in new], "until": [None] * len(new)}
    edges = {"source": pl.Series(range(len(new)), dtype=pl.UInt32), "target": pl.Series([0] * len(new), dtype=pl.UInt32)}
    if relation in graph.relations and graph.dated(relation):
        edges["time"] = pl.Series([int(_clock.time() * 1e6)] * len(new), dtype=pl.Int64)
    schema = {name: pl.Int64 if name in ("since", "until") else pl.String for name in (*columns, *asked)}
    kinds = {relation.target: pl.DataFrame({name: [value] for name, value in columns.items()}, schema={n: schema[n] for n in columns})}
    relations, timeless = {}, set()
    if new:
        kinds[relation.source] = pl.DataFrame(asked, schema={n: schema[n] for n in asked})
        relations[relation] = pl.DataFrame(edges)
    if columns.get("category"):
        kinds["category"] = pl.DataFrame({"id": [columns["category"]], "text": [columns["category"]]})
        relations[IN_CATEGORY] = pl.DataFrame({"source": [0], "target": [0]}, schema={"source": pl.UInt32, "target": pl.UInt32})
        timeless.add(IN_CATEGORY)
    if new or len(columns) > 1:
        run.add(Graph(kinds, relations, frozenset(timeless)))
    return Edited(id, [texts[i] for i in new], [text for text, is_new in zip(texts, fresh, strict=True) if not is_new])


def _leads(graph: Graph, task: Task, question: str, id: str, text: str) -> bool:
    """Whether the question leads to the entry already. Raises KgrecError where it leads to another living one."""
    relation, row = task.relation, graph.rows(task.relation.source, [question])
    if row[0] < 0 or not graph.alive(relation.source)[row[0]]:
        return False
    ends = np.unique(graph.adjacent(relation, row).rows)
    ends = graph.gather(relation.target, ends[graph.alive(relation.target)[ends]], "id")["id"].to_list()
    if ends and id not in ends:
        raise KgrecError(f'"{text[:80]}" is answered by {ends[0]}; edit or remove that entry first')
    return id in ends


def _alive(graph: Graph, task: Task, id: str) -> str:
    """The id of the living entry that is meant, as the entry has it."""
    kind = task.relation.target
    row = known(graph, kind, [id])
    if not graph.alive(kind)[row[0]]:
        raise KgrecError(f"entry {id} is removed or has expired; bring it back with add or undo")
    return graph.gather(kind, row, "id").item()


def _editable(run: Run) -> Task:
    task = answering(run)
    if task.relation.target != "answer":
        raise KgrecError(f"{run.folder} has labelled questions only and no entries to edit; fit with --faq or --dialogues")
    return task


def _identifier(id: str) -> str:
    if not (clean := plain(id)):
        raise KgrecError("an entry's id is empty; give one, or leave it out")
    if len(clean) > LONGEST_ID:
        raise KgrecError(f"an entry's id has {len(clean):,} characters; give a name of at most {LONGEST_ID}")
    return clean


def _readable(text: str, what: str) -> str:
    if not readable(text):
        raise KgrecError(f"the {what} has no readable word; write it in a few words")
    return text
