"""What happens to a question: it is answered, asked back, handed to a person or refused, by a calibrated probability and its budget.

The rules, in their order:
1. refuse     no readable word in the question, or P(in scope) below `Thresholds.scope`
2. hand over  nothing was found, or what was found has no text
3. answer     P(the first answer is right) >= `Thresholds.answer`, what the calibration gives for the budget of wrong answers
4. clarify    two or three answers of different texts hold, together, a probability >= `Thresholds.clarify`
5. hand over  everything else
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from kgrec_core import KgrecError
from kgrec_core.domain import Answer, Calibration
from kgrec_core.parts import units

Outcome = Literal["answer", "clarify", "hand over", "refuse"]
SHOWN, LABEL = 3, 90  # alternatives at most; characters of one
CLOSE = 0.05  # of a probability: an alternative with less is not worth a line
UNREADABLE = 0.3  # share of control, private and replacement characters
TEXTS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "clarify": "I am not sure which of these you mean:",
        "hand over": "I do not know the answer. A colleague will take over.",
        "empty": "I could not read a question. Please write it in a few words.",
        "scope": "This is outside of what I can help with here.",
    },
    "zh": {
        "clarify": "请问您想问的是以下哪一个？",
        "hand over": "这个问题我无法确定答案，将为您转接人工客服。",
        "empty": "没有看到您的问题，请用几个词描述一下。",
        "scope": "这个问题不在我能回答的范围内。",
    },
}


class Thresholds(NamedTuple):
    """answer: P from which on an answer is given (above 1 = never). clarify: P that one of the alternatives must hold together;
    .5 = more often than not the customer finds the right one. scope: P(in scope) below which a question is refused.
    promise: what the calibration says of `answer`, for the operator. conditional: it has seen no question without an answer, so every P is of
    one that has."""

    answer: float
    clarify: float = 0.5
    scope: float = 0.05
    promise: str = ""
    conditional: bool = False

    @classmethod
    def of(cls, calibration: Calibration, budget: float | None = None, *, clarify: float = 0.5, scope: float = 0.05) -> Thresholds:
        """From a run's calibration. budget: share of the answers that may be wrong, e.g. .03; None = the calibration's own."""
        found = calibration.guarantee(budget)
        told = f"the calibration {found}" if found.tested else "nothing was tested here, so nothing is promised"
        return cls(found.threshold, clarify, scope, told, found.share is None)


class Decision(NamedTuple):
    """outcome; text: for the customer; reason: one sentence for the operator; answers: the one given, or the alternatives shown, else
    none; probability: that the first answer is right."""

    outcome: Outcome
    text: str
    reason: str
    answers: list[Answer]
    probability: float

    def to_json(self) -> dict[str, Any]:
        answers = [{"id": a.id, "text": a.text, "score": a.score} for a in self.answers]
        return {**self._asdict(), "answers": answers}


def decide(
    answers: Sequence[Answer],
    probability: float | Sequence[float],
    thresholds: Thresholds,
    scope: float | None = None,
    *,
    question: str | None = None,
    label: str = "title",
    language: str = "auto",
) -> Decision:
    """Decide about one question.

    answers: best first. probability: calibrated P(the first is right), or one for each answer. With one alone, a further answer is
    given its part of it by closeness: P * (s - s_last) / (s_first - s_last): ask for ten, so that the last one is a far one.
    scope: P(in scope), None = not known, then only P(right) speaks. question: None = not looked at, it was read before.
    label: attribute that names an alternative to the customer; without it the answer's beginning does.
    language: "en", "zh", or "auto": Chinese where the question (without one, the first answer) has a Han character.
    Raises KgrecError for a probability that is none, or for as many of them as there are not answers.
    """
    each = _chances(answers, probability)
    first = each[0] if each else 0.0
    texts = TEXTS.get(language) or TEXTS["zh" if is_chinese(question or (answers and answers[0].text) or "") else "en"]

    def made(outcome: Outcome, text: str, reason: str, given: Iterable[Answer] = ()) -> Decision:
        return Decision(outcome, text, reason, list(given), first)

    if question is not None and not readable(question):
        return made("refuse", texts["empty"], "The question has no readable word.")
    if scope is not None and not 0 <= scope <= 1:
        raise KgrecError(f"decide: scope = {scope} is no probability; give P(in scope) between 0 and 1, or None")
    if scope is not None and scope < thresholds.scope:
        return made("refuse", texts["scope"], f"P(in scope) = {scope:.3f} is below {thresholds.scope:.3f}.")
    if not any(a.text for a in answers):
        return made("hand over", texts["hand over"], "Nothing was found." if not answers else "The answers found have no text.")
    if first >= thresholds.answer and answers[0].text:
        promise = f"; {thresholds.promise}" if thresholds.promise else ""
        return made(
            "answer", answers[0].text, f"The answer is right with P = {first:.2f}, {thresholds.answer:.2f} is needed{promise}.", answers[:1]
        )
    below = f"The answer is right with P = {first:.2f} only, {thresholds.answer:.2f} is needed"
    if thresholds.answer > 1:
        below = "No threshold keeps the budget, so nothing is answered"
    shown = _alternatives(answers, each)
    mass = min(1.0, sum(each[place] for place in shown))
    if len(shown) >= 2 and mass >= thresholds.clarify:
        given = [answers[place] for place in shown]
        lines = [f"{n}. {named(answer, label)}" for n, answer in enumerate(given, 1)]
        provided = ", if there is an answer here" if thresholds.conditional else ""
        reason = f"{below}, but one of {len(given)} alternatives is right with P = {mass:.2f}{provided}."
        return made("clarify", "\n".join([texts["clarify"], *lines]), reason, given)
    return made("hand over", texts["hand over"], f"{below}.")


def readable(question: str) -> bool:
    """Whether it has a word (in any script) and is not mostly control or replacement characters."""
    text = question.strip()
    odd = sum(c == "\ufffd" or (unicodedata.category(c) in ("Cc", "Co", "Cn", "Cs") and c not in "\t\r\n") for c in text)
    return bool(units(text)) and odd <= UNREADABLE * len(text)


def named(answer: Answer, label: str = "title") -> str:
    """One line that names an answer: its attribute `label`, else its text, cut at a word."""
    text = " ".join(str(answer.attributes.get(label) or answer.text or answer.id).split())
    if len(text) <= LABEL:
        return text
    cut = text[: LABEL - 1]
    return (cut.rpartition(" ")[0] if " " in cut[LABEL // 2 :] else cut).rstrip(" ,;:.") + "…"


def _chances(answers: Sequence[Answer], probability: float | Sequence[float]) -> list[float]:
    if isinstance(probability, Sequence) or getattr(probability, "ndim", 0):
        each = [float(p) for p in probability]
        if len(each) != len(answers):
            raise KgrecError(f"decide: {len(each)} probabilities for {len(answers)} answers; give one for each, or only the first's")
    else:
        first = float(probability)
        scores = [answer.score for answer in answers]
        spread = scores[0] - scores[-1] if scores else 0.0
        each = [first, *(first * (score - scores[-1]) / spread if spread > 0 else first for score in scores[1:])]
    if wrong := [p for p in each if not 0 <= p <= 1]:
        raise KgrecError(f"decide: {wrong[0]} is no probability; give what Calibration.probability returns, and the answers best first")
    return each[: len(answers)]


def _alternatives(answers: Sequence[Answer], each: Sequence[float]) -> list[int]:
    """Places of the most probable answers of different texts, each of them worth a line."""
    seen: set[tuple[str, ...]] = set()
    found = []
    for place in sorted(range(len(answers)), key=lambda i: -each[i]):
        words = tuple(units(answers[place].text or ""))
        if each[place] >= CLOSE and words and words not in seen and len(found) < SHOWN:
            seen.add(words)
            found.append(place)
    return found


def is_chinese(text: str) -> bool:
    return bool(re.search("[\u4e00-\u9fff]", text))
