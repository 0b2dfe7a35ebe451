"""A conversation with one customer: earlier turns, slot values and what was asked back are kept from line to line."""

from __future__ import annotations

from dataclasses import replace

from kgrec_core.domain import Answer, Run, one
from kgrec_support.desk import Reply, ask, filled, finished
from kgrec_support.slots import recognise
from kgrec_support.verbs import Ask

TURNS, SHORT = 6, 60  # turns that are read before a question; characters of a line that is taken whole as a slot's value


class Talk:
    """say(line) -> Reply. A number chooses among alternatives; a line after "What is your order number?" fills the slot."""

    def __init__(self, run: Run, how: Ask | None = None) -> None:
        """how: all but the question and its context, for every line."""
        self.run, self.how = run, how or Ask(question="", log=False)
        self.turns: list[str] = []
        self.values: dict[str, str] = {}
        self.last: Reply | None = None

    def say(self, line: str) -> Reply:
        """What is said to one line of the customer."""
        line, snapshot = line.strip(), self.run.snapshot
        self.values |= recognise(line)
        entry = self._chosen(line) or self._waiting(line)
        if entry is not None:
            reply = filled(snapshot, self.last, entry, [*self.turns, line], self.values)
            reply = reply._replace(reason=f"Chosen by the customer: entry {entry.id}.") if not reply.missing else reply
        else:
            plain = replace(self.how, question=line, values=self.values, compose=False, llm=None, endpoint=None, log=False)
            reply = one(ask(snapshot, [plain]))
            if self.turns and reply.outcome != "answer" and not reply.missing:  # perhaps what was said before makes it clear
                reply = one(ask(snapshot, [replace(plain, context=tuple(self.turns))]))
        self.turns = [*self.turns, line, reply.text][-TURNS:]
        self.last = finished(snapshot, replace(self.how, question=line), reply)
        return self.last

    def _chosen(self, line: str) -> Answer | None:
        """The alternative of that number."""
        if self.last is None or self.last.outcome != "clarify" or self.last.missing or not line.rstrip(".").isdecimal():
            return None
        number = int(line.rstrip("."))
        return self.last.answers[number - 1] if 1 <= number <= len(self.last.answers) else None

    def _waiting(self, line: str) -> Answer | None:
        """The entry whose slot this line fills."""
        if self.last is None or not self.last.missing:
            return None
        missing = [name for name in self.last.missing if name not in self.values]
        if len(missing) == 1 and len(line) <= SHORT and "?" not in line and "？" not in line:
            self.values[missing[0]] = line
            missing = []
        return None if missing else self.last.answers[0]
