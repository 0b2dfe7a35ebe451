"""Explanations beside the answers they are of: in a result, and for people at a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kgrec_core.explain.explanation import Explanation

if TYPE_CHECKING:
    from kgrec_core.run.asks import Answer

MOST = 4  # of what adds to a score that is shown


def with_reasons(answers: Sequence[Sequence[Answer]], why: Sequence[Sequence[Explanation]]) -> list[list[Answer]]:
    """Every answer with the explanation of the same candidate for the same query, where there is one."""
    found = []
    for given, reasons in zip(answers, why, strict=True):
        of = {reason.item.id: reason for reason in reasons}
        found.append([answer._replace(explanation=of.get(answer.id)) for answer in given])
    return found


def told_why(answers: Sequence[Answer]) -> list[str]:
    """Two lines for each answer with an explanation: the sentence, and what adds most to the score."""
    lines = []
    for place, answer in enumerate(answers, 1):
        if (why := answer.explanation) is not None:
            parts = ", ".join(f"{name} {value:+.2g}" for name, value in list(why.channels.items())[:MOST])
            lines += [f"{place:>3}  {answer.id}: {why}", f"     {why.score:.3g} = {parts}{', ...' if len(why.channels) > MOST else ''}"]
    return lines
