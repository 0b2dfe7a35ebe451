"""What was read from a support team's files -> the graph and its tasks.

question -answered_by-> answer -in_category-> category, answer -mentions-> entity, question -has_intent-> intent
"""

from __future__ import annotations

import logging
import re
import time
from typing import NamedTuple

import polars as pl

from kgrec_core import Dataset, Graph, Relation, Task
from kgrec_core.domain import identity
from kgrec_core.parts import near_duplicates
from kgrec_support.mentions import mentions as found_in

log = logging.getLogger("kgrec")
ANSWERED_BY = Relation("question", "answered_by", "answer")
HAS_INTENT = Relation("question", "has_intent", "intent")
IN_CATEGORY = Relation("answer", "in_category", "category")
MENTIONS = Relation("answer", "mentions", "entity")


class Source(NamedTuple):
    """What files say: questions with the id of their answer (ASKED), the answers (ANSWER), questions with their intent (ASKED)."""

    asked: pl.DataFrame
    answers: pl.DataFrame
    labelled: pl.DataFrame


def assemble(source: Source, duplicates: float, mentions: bool) -> Dataset:
    """The graph of what files say. Edges to entries that have expired are left out: no question can be asked for them."""
    asked, answers, labelled = source
    questions = _questions(pl.concat([asked, labelled]), duplicates)
    number = questions.select("text", row=pl.int_range(pl.len(), dtype=pl.UInt32))
    entities, relations, tasks = {"question": questions}, {}, []
    if len(asked):
        entities["answer"] = answers
        gone = answers.filter(pl.col("until") <= int(time.time() * 1e6))["id"]
        if len(gone):
            log.info("%s of %s answers have expired", f"{len(gone):,}", f"{len(answers):,}")
            asked = asked.filter(~pl.col("target").is_in(gone.implode()).fill_null(False))
        relations[ANSWERED_BY] = _edges(asked, number, answers["id"])
        tasks.append(Task("answer", ANSWERED_BY, repeats=True))  # a known question is answered as it was before
    if len(labelled):
        labels = labelled["target"].drop_nulls().unique(maintain_order=True).alias("id")
        entities["intent"] = pl.DataFrame([labels, pl.Series("text", map(readable, labels), pl.String)])
        relations[HAS_INTENT] = _edges(labelled, number, labels)
        tasks.append(Task("intent", HAS_INTENT, repeats=True))
    timeless = {}
    if answers["category"].null_count() < len(answers):
        names = answers["category"].drop_nulls().unique(maintain_order=True)
        entities["category"] = pl.DataFrame({"id": names, "text": names})
        timeless[IN_CATEGORY] = pl.DataFrame({"source": _range(len(answers)), "target": _rows(answers["category"], names)}).drop_nulls()
    if mentions:
        things, names = found_in(answers["text"].to_list())
        if names:
            entities["entity"] = pl.DataFrame({"id": [name.casefold() for name in names], "text": names})
            pairs = pl.DataFrame({"source": _range(len(answers)), "target": pl.Series(things, dtype=pl.List(pl.UInt32))})
            timeless[MENTIONS] = pairs.explode("target").drop_nulls()
    return Dataset(Graph(entities, relations | timeless, frozenset(timeless)), tuple(tasks))


def readable(label: str) -> str:
    """A label as words.

    >>> readable("card_arrival"), readable("TopUpFailed"), readable("orders/Refund-status?")
    ('card arrival', 'Top Up Failed', 'orders Refund status?')
    """
    return " ".join(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_/.:-]+", " ", label).split()) or label


def _questions(rows: pl.DataFrame, duplicates: float) -> pl.DataFrame:
    """id, text, locale, split (where any row has one) and group of the distinct questions, by first appearance."""
    parts = pl.Enum(["train", "validation", "test"])
    found = rows.group_by("text", maintain_order=True).agg(
        pl.col("locale").drop_nulls().first(), pl.col("split").cast(parts).max(), pl.col("split").drop_nulls().n_unique().alias("parts")
    )
    torn = (found["parts"] > 1).sum()
    if torn:
        log.warning("%s questions stand in several parts of the split; each is kept in the last of them only", f"{torn:,}")
    ids = [identity("q", text) for text in found["text"]]
    group = pl.Series("group", near_duplicates(found["text"].to_list(), duplicates))
    found = found.with_columns(pl.Series("id", ids, pl.String), pl.col("split").cast(pl.String), group)
    found = found.join(_together(rows, found), on="group", how="left", maintain_order="left")
    found = found.with_columns(group=pl.coalesce("with", "group").cast(pl.String))
    return found.select("id", "text", "locale", *(["split"] if found["split"].null_count() < len(found) else []), "group")


def _together(rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
    """group, with: for groups that one session alone has, the first of that session's groups."""
    of = rows.select("text", "session").join(found.select("text", "group"), on="text").unique(["session", "group"])
    alone = of.filter(pl.col("session").n_unique().over("group") == 1).drop_nulls("session")
    return alone.select("group", pl.col("group").min().over("session").alias("with"))


def _edges(asked: pl.DataFrame, number: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """Distinct edges; a null target where nothing answers the question."""
    rows = asked.join(number, on="text", how="left", maintain_order="left")
    return pl.DataFrame({"source": rows["row"], "target": _rows(rows["target"], ids)}).unique(maintain_order=True)


def _rows(values: pl.Series, ids: pl.Series) -> pl.Series:
    return values.cast(pl.Enum(ids)).to_physical().cast(pl.UInt32)


def _range(n: int) -> pl.Series:
    return pl.Series(range(n), dtype=pl.UInt32)
