"""`support`: an FAQ, labelled questions and dialogue logs as one graph, from a support team's own files.

[data]
use = "support"
faq = "faq.csv"                     # question, answer; also id, variants, category, locale, valid_from, valid_until
dialogues = "chats.csv"             # session, role, text; also time, locale
[data.columns]
question = "Frage"                  # where a column is not recognised by its name

question -answered_by-> answer -in_category-> category, answer -mentions-> entity, question -has_intent-> intent
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from kgrec_core import Dataset, KgrecError
from kgrec_core.domain import Summary, choices, column_names, identity, refuse_foreign
from kgrec_core.parts import Count, Share
from kgrec_support.assembly import ANSWERED_BY, HAS_INTENT, Source, assemble
from kgrec_support.columns import NEEDED, Columns, in_locale, match, open_columns, tag
from kgrec_support.dialogues import replies, templates
from kgrec_support.faq import ANSWER, ASKED, DROP, entries, filled
from kgrec_support.slots import unknown
from kgrec_support.thumbs import examples, read

log = logging.getLogger("kgrec")


class Support:
    """Customer service data as a graph; tasks `answer` (with an FAQ or dialogues) and `intent` (with intents).

    faq: table of questions and answers. Rows with the same id, or without ids the same answer, are one entry; "a|b" in `variants` are
        further questions. An entry past its `valid_until` is never found.
    intents: table of text and label, and where there is one `split` (train, validation, test), for split.by = "column".
    dialogues: table of messages with session, role and text; see `roles`.
    columns: our column -> the file's, where its name is not a common one: question = "Frage", or for one file only
        dialogues_text = "Nachricht".
    roles: a word of the role column -> "user", "agent" or "none" (left out), where it is not a common one.
    feedback: JSON lines of thumbs and corrections, see `kgrec_support.thumbs`: what was right is learned, in the training part.
    locale: only rows of this locale, and those without one.
    mask: replace personal data in dialogues by placeholders such as <PHONE>; what was found is logged.
    context: turns before the user's last that become part of a question, at most.
    duplicates: similarity from which two replies are one answer (in its most frequent wording), and two questions one `group`.
    mentions: link answers to the products, acronyms and codes that at least two of them speak of.
    slots: further names in braces that are asked for where an answer has them and nobody has said them, and the question that asks:
        order_date = "When did you order?". Any other name in braces is shown as it is written.
    empty: an FAQ row without an answer or a text without a label is an error ("reject"), has no right answer ("keep": out of scope) or is left
        out ("drop", as is a row without a question).

    time_zone, time_format: of all times; see the part `tables`.

    A question is known by its text: equal texts are one, with all their answers. split.group = "group" keeps its near-duplicates in
    one part, and with it what was asked in the same session, unless other sessions ask it too. Where parts of equal texts differ, test comes before validation before train.
    """

    def __init__(
        self,
        *,
        faq: Path | None = None,
        intents: Path | None = None,
        dialogues: Path | None = None,
        feedback: Path | None = None,
        columns: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
        locale: str | None = None,
        mask: bool = True,
        context: Count = 3,
        duplicates: Share = 0.8,
        mentions: bool = True,
        slots: Mapping[str, str] | None = None,
        empty: Literal["reject", "keep", "drop"] = "reject",
        time_zone: str | None = None,
        time_format: str | None = None,
    ) -> None:
        self.faq, self.intents, self.dialogues, self.feedback = faq, intents, dialogues, feedback
        self.columns, self.roles, self.slots, self.locale, self.mask, self.context = (
            columns or {},
            roles or {},
            slots or {},
            locale,
            mask,
            context,
        )
        self.duplicates, self.mentions, self.empty, self.time_zone, self.time_format = duplicates, mentions, empty, time_zone, time_format

    def load(self) -> Dataset:
        """Read the files. Raises KgrecError that names file, row, column and remedy."""
        self.summary_ = Summary()
        source = self._source()
        if strange := unknown(source.answers["text"], self.slots):
            shown = ", ".join(f"{{{name}}}" for name in strange[:8])
            self.summary_.doubt(f"answers are shown with {shown} as written; if the customer is to be asked for it, declare it: data.slots")
        dataset = assemble(source, self.duplicates, self.mentions)
        if self.feedback is None:
            return dataset
        if not self.feedback.is_file():
            raise KgrecError(f"data.feedback: there is no file {self.feedback}; correct it or leave it out")
        if ANSWERED_BY not in dataset.graph.relations:
            raise KgrecError("data.feedback speaks of answers, and there are none; set data.faq or data.dialogues too")
        refuse_foreign(self.feedback)
        found = read(self.feedback)
        if found.dead:
            self.summary_.doubt(
                f"{len(found.dead):,} lines of {self.feedback.name} are no feedback and are left out: {found.dead[0].error}"
            )
        learned = examples(found.records, dataset.graph)
        log.info("%s: %s lead to an answer, %s left out", self.feedback, *map(len, (learned.delta.entities["question"], learned.skipped)))
        new = learned.delta.entities["question"].with_columns(group="id", split=pl.lit("train"))
        kept = new if "split" in dataset.graph.columns("question") else new.drop("split")
        graph = dataset.graph.join(replace(learned.delta, entities={**learned.delta.entities, "question": kept}))
        return dataset._replace(graph=graph)

    def labelled(self, relation: str, file: Path) -> pl.DataFrame:
        """The questions of another file: ids `source` and `target` (null = none), and their `text`.

        relation: "has_intent" reads text and label; "answered_by" dialogues, or question with answer or the answer's id. An answer that
        is worded nearly as a known one is that one.
        """
        if relation == HAS_INTENT.name:
            rows = _labels(self._new(file, "intents"), keep_empty=True)
        elif relation == ANSWERED_BY.name:
            rows = self._answered(Path(file), self._source().answers)
        else:
            raise choices("relation with a file", relation, (ANSWERED_BY.name, HAS_INTENT.name))
        ids = pl.Series("source", [identity("q", text) for text in rows["text"]], pl.String)
        return rows.select(ids, "target", "text").unique(maintain_order=True)

    def _source(self) -> Source:
        paths = {"faq": self.faq, "intents": self.intents, "dialogues": self.dialogues}
        if not any(paths.values()):
            raise KgrecError(f"data: support needs a file; set one of data.{', data.'.join(paths)}")
        if self.context < 0:
            raise KgrecError(f"data.context = {self.context} is no number of turns; give 0 or more")
        files = {file: self._open(path, file) for file, path in paths.items() if path}
        if (summary := getattr(self, "summary_", None)) is not None:
            for columns in files.values():
                summary.read(columns.table)
        files = in_locale(files, self.locale)
        if self.empty == "drop":
            files = {file: self._filled(columns, file) for file, columns in files.items()}
        asked, answers, labelled = pl.DataFrame(schema=ASKED), pl.DataFrame(schema=ANSWER), pl.DataFrame(schema=ASKED)
        if "faq" in files:
            asked, answers = entries(files["faq"], self.empty == "keep")
        if "dialogues" in files:
            said = replies(files["dialogues"], self.roles, self.mask, self.context)
            target, new = templates(said["reply"], answers, self.duplicates)
            log.info("%s: %s replies are %s answers", files["dialogues"].table.path.name, f"{len(said):,}", f"{target.n_unique():,}")
            said = said.with_columns(target, pl.lit(None).alias("split"))
            asked = pl.concat([asked, said.select(*ASKED).cast(ASKED)])
            answers = pl.concat([answers, new], how="diagonal")
        if "intents" in files:
            labelled = _labels(files["intents"], self.empty == "keep")
        return Source(asked, answers, labelled)

    def _filled(self, columns: Columns, file: str) -> Columns:
        """Without the rows that ask or answer nothing; how many they are is said."""
        if file == "dialogues":
            return columns
        whole = filled(columns) if file == "faq" else columns.texts("text").is_not_null() & columns.words("label").is_not_null()
        if (summary := getattr(self, "summary_", None)) is not None:
            summary.left_out(columns.table.path.name, "empty", int((~whole).sum()))
        return columns.keep(whole)

    def _open(self, path: Path, file: str, needed: tuple[str, ...] | None = None) -> Columns:
        return open_columns(path, file, self.columns, needed).timed(self.time_zone, self.time_format)

    def _new(self, path: Path, file: str, needed: tuple[str, ...] | None = None) -> Columns:
        """As `_open`, the rows of the locale only, where the file has one."""
        columns = self._open(path, file, needed)
        return in_locale({file: columns}, self.locale if "locale" in columns.names else None)[file]

    def _answered(self, file: Path, known: pl.DataFrame) -> pl.DataFrame:
        """text and target (an id of `known` where the answer is one of them, null for none)."""
        names = {kind: match(kind, column_names(file, f"data.{kind}"), self.columns) for kind in ("faq", "dialogues")}
        if set(NEEDED["dialogues"]) <= names["dialogues"].keys():
            said = replies(self._new(file, "dialogues"), self.roles, self.mask, self.context)
            return said.with_columns(templates(said["reply"], known, self.duplicates)[0])
        by_id = "id" in names["faq"] and "answer" not in names["faq"]
        asked, theirs = entries(self._new(file, "faq", ("question",) if by_id else None), keep_empty=True)
        other = theirs.filter(~pl.col("id").is_in(known["id"].implode()), pl.col("text").is_not_null())
        same = templates(other["text"], known, self.duplicates)[0]
        return asked.with_columns(pl.col("target").replace(other["id"], same))


def _labels(intents: Columns, keep_empty: bool) -> pl.DataFrame:
    text, label = intents.texts("text"), intents.words("label").alias("target")
    intents.table.refuse_empty(text, intents.names["text"], None, DROP)
    if not keep_empty:
        intents.table.refuse_empty(label, intents.names["label"], None, f'{DROP}, or "keep": no label is right for them')
    session = pl.Series("session", [None] * len(text), pl.String)
    return pl.DataFrame([text, tag(intents.words("locale")), intents.parts(), session, label]).cast(ASKED)
