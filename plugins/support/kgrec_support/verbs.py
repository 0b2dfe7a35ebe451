"""What can be asked of a support run, each word once: its fields are the options of the command and the keywords in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from kgrec_core import KgrecError

ARGUMENT = {"argument": True}
LOCAL = {"local": True}


@dataclass(frozen=True, kw_only=True)
class Chat:
    """Talk to a run: one question a line, an empty line or the end of the input ends it. With --json, one object a line.

    budget: share of the answers that may be wrong. compose: where no entry answers alone, quote what the entries say about it.
    llm: let this language model write it (hub id, folder, .gguf, package:NAME). endpoint: an OpenAI-compatible server that has llm.
    key: env:NAME of the endpoint's key. log: keep the question for `review` (RUN.asked.jsonl, personal data masked).
    """

    budget: float = 0.03
    compose: bool = False
    llm: str | None = field(default=None, metadata=LOCAL)
    endpoint: str | None = field(default=None, metadata=LOCAL)
    key: str | None = field(default=None, metadata=LOCAL)
    log: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.budget < 1:
            raise KgrecError(f"budget = {self.budget} is no share of wrong answers; give one between 0 and 1, e.g. 0.03")
        if self.endpoint and not self.llm:
            raise KgrecError("--endpoint needs the name of its model: --llm NAME")


@dataclass(frozen=True, kw_only=True)
class Ask(Chat):
    """Answer a question, ask back, hand it over or refuse it; and say why.

    question: what the customer says. context: a turn before it, oldest first.
    where: only entries for which this holds, e.g. "locale = 'en'". values: what is known of the customer, for slots: order_id=AB-1.
    related: only entries that the graph relates so, e.g. product=card; several of one name are any of them, != is none of them.
    k: entries considered. explain: say why, entry by entry. language: of the reasons, en or zh; without it, as the question is written.

    Example: kgrec support ask "Where is my parcel?" --run runs/faq --budget 0.05
    """

    question: str = field(metadata=ARGUMENT)
    context: tuple[str, ...] = field(default=(), metadata={"repeat": True, "metavar": "TURN"})
    where: str | None = None
    values: Mapping[str, str] = field(default_factory=dict, metadata={"option": "--value"})
    k: int = field(default=10, metadata={"option": ("-k", "--top")})
    related: tuple[str, ...] = field(default=(), metadata={"repeat": True, "metavar": "NAME=VALUE"})
    explain: bool = False
    language: Literal["en", "zh"] | None = None


@dataclass(frozen=True, kw_only=True)
class Add:
    """Add an entry: the question is answered by the answer from now on, in every process that has the run open.

    question: how it is asked. answer: what is answered; slots such as {order_id} are filled. variants: a further way to ask it.
    id: the entry's id; without one it is made of the answer's text. category: what it belongs to. locale: e.g. en or zh-TW.

    Example: kgrec support add "Do you deliver on Sundays?" "No, from Monday to Saturday." --run runs/faq
    """

    question: str = field(metadata=ARGUMENT)
    answer: str = field(metadata={"argument": True, "long": True})
    variants: tuple[str, ...] = field(default=(), metadata={"repeat": True, "option": "--variant", "metavar": "QUESTION"})
    id: str | None = None
    category: str | None = None
    locale: str | None = None


@dataclass(frozen=True, kw_only=True)
class Edit:
    """Change the answer of an entry, give it more questions, or both; its id stays.

    id: the entry's. answer: the answer from now on. questions: a further way to ask it.

    Example: kgrec support edit a-1b2c --answer "Yes, until noon." --question "sunday delivery?" --run runs/faq
    """

    id: str = field(metadata=ARGUMENT)
    answer: str | None = field(default=None, metadata={"long": True})
    questions: tuple[str, ...] = field(default=(), metadata={"repeat": True, "option": "--question", "metavar": "TEXT"})


@dataclass(frozen=True, kw_only=True)
class Remove:
    """Remove entries: they are not found from now on; `undo` or `add` brings them back.

    ids: of the entries.

    Example: kgrec support remove a-1b2c --run runs/faq
    """

    ids: tuple[str, ...] = field(metadata=ARGUMENT)


@dataclass(frozen=True, kw_only=True)
class List:
    """List the entries that have all the words in answer, id or a question.

    words: to look for. removed: the removed and expired ones too. history: the edits instead, oldest first.
    faq: write all entries as an FAQ that `fit --faq` reads, to this file.

    Example: kgrec support list parcel --run runs/faq
    """

    words: tuple[str, ...] = field(default=(), metadata=ARGUMENT)
    removed: bool = False
    history: bool = False
    faq: Path | None = field(default=None, metadata={"option": "--out"})


@dataclass(frozen=True, kw_only=True)
class Undo:
    """Take the last edit back, by another edit; undone again, the one before it.

    Example: kgrec support undo --run runs/faq
    """


@dataclass(frozen=True, kw_only=True)
class Review:
    """Show what an editor should look at: entries that say the same, contradict or confuse each other, and what is asked in vain.

    Example: kgrec support review --run runs/faq
    """


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Take thumbs and corrections, one JSON object a line: {time, question, answer_id, verdict, correct_answer_id}.

    file: of the lines; verdict is up, down or correct. Kept in RUN.feedback.jsonl; `fit --feedback` learns from it.

    Example: kgrec support feedback thumbs.jsonl --run runs/faq
    """

    file: Path = field(metadata=ARGUMENT)


@dataclass(frozen=True, kw_only=True)
class Recalibrate:
    """Learn again how sure an answer is, by what the run finds now: after many edits. Seconds; nothing is trained.

    out_of_scope: share of the questions to come that no entry answers, for which budgets are stated from now on.

    Example: kgrec support recalibrate --run runs/faq --out-of-scope 0.3
    """

    out_of_scope: float | None = None

    def __post_init__(self) -> None:
        if self.out_of_scope is not None and not 0 <= self.out_of_scope < 1:
            raise KgrecError(f"out_of_scope = {self.out_of_scope} is no share of the questions; give one from 0 to below 1, e.g. 0.3")
