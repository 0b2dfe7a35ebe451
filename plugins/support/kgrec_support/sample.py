"""`banking`: real questions to an online bank, carried in the package with an answer for every intent, so that the domain runs at once.

See ATTRIBUTION.txt for source and licence of the questions; the answers stand in answers.csv.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from kgrec_core import Dataset
from kgrec_core.domain import choices, read
from kgrec_core.parts import Count, Several, Size
from kgrec_support.assembly import ANSWERED_BY, HAS_INTENT, Source, assemble
from kgrec_support.data import Support
from kgrec_support.faq import ANSWER, ASKED

FOLDER = Path(__file__).parent
QUESTIONS, ANSWERS = FOLDER / "banking.parquet", FOLDER / "answers.csv"


class Banking:
    """13,083 English questions to a bank with their 77 intents (banking77, PolyAI, CC BY 4.0) and one answer of ours per intent.

    per_class: few-shot: only so many training questions an intent; "none" = all 9,000. The validation questions stay as they are,
        so whoever chooses by them has seen more labels.
    intents: only so many of the intents, the first by name; "none" = all 77. seed: draws the questions.

    Tasks `answer` and `intent`; split.by = "column" with column = "split" gives the published test questions (40 an intent).
    """

    def __init__(self, *, per_class: Size | None = None, intents: Several | None = None, seed: Count = 0) -> None:
        self.per_class, self.intents, self.seed = per_class, intents, seed

    def load(self) -> Dataset:
        questions = pl.read_parquet(QUESTIONS)
        if self.intents is not None:
            questions = questions.filter(pl.col("intent").rank("dense") <= self.intents)
        if self.per_class is not None:
            questions = few(questions, self.per_class, self.seed)
        columns = {name: name for name in ("intent", "category", "answer")}
        answers = read(ANSWERS, columns, "data").frame.rename({"intent": "id", "answer": "text"})
        empty = (pl.lit(None, dtype=ANSWER[c]).alias(c) for c in ("since", "until"))
        answers = answers.with_columns(*empty, locale=pl.lit("en")).select(*ANSWER)
        asked = questions.select("text", pl.lit("en").alias("locale"), "split", pl.lit(None).alias("session"), target="intent").cast(ASKED)
        return assemble(Source(asked, answers, asked), duplicates=0.8, mentions=True)

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """Questions of another file with text and label, to score a run on; an answer's id is its intent. See `Support.labelled`."""
        if relation not in (ANSWERED_BY.name, HAS_INTENT.name):
            raise choices("relation with a file", relation, (ANSWERED_BY.name, HAS_INTENT.name))
        return Support().labelled(HAS_INTENT.name, file)


def few(questions: pl.DataFrame, per_class: int, seed: int) -> pl.DataFrame:
    """All validation and test questions, and `per_class` of train an intent drawn by the seed: 5 of a seed are among its 10."""
    train, draw = pl.col("split") == "train", np.random.default_rng(seed).random(len(questions))
    place = pl.col("draw").rank("ordinal").over("intent", "split")
    questions = questions.with_columns(draw=draw)
    return questions.filter(~train | (place <= per_class)).drop("draw")
