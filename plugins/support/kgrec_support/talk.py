"""A conversation with one customer: earlier turns, slot values and what was asked back are kept from line to line."""

from __future__ import annotations

from kgrec_core.run.run import Answer, Run
from kgrec_support.desk import Reply, ask, filled
from kgrec_support.slots import recognise

TURNS, SHORT = 6, 60  # turns that are read before a question; characters of a line that is taken whole as a slot's value


class Talk:
    """say(line) -> Reply. A number chooses among alternatives; a line after "What is your order number?" fills the slot."""

    def __init__(self, run: Run, budget: float = 0.03) -> None:
        self.run, self.budget = run, budget
        self.turns: list[str] = []
        self.values: dict[str, str] = {}
        self.last: Reply | None = None

    def say(self, line: str) -> Reply:
        """What is said to one line of the customer."""
        line = line.strip()
        self.values |= recognise(line)
        entry = self._chosen(line) or self._waiting(line)
        if entry is not None:
            reply = filled(self.run, self.last, entry, [*self.turns, line], self.values)
            reply = reply._replace(reason=f"Chosen by the customer: entry {entry.id}.") if not reply.missing else reply
        else:
            reply = ask(self.run, line, self.turns, self.budget, values=self.values)
            if self.turns and reply.outcome in ("hand over", "clarify") and not reply.missing:  # perhaps another subject
                alone = ask(self.run, line, (), self.budget, values=self.values)
                reply = alone if alone.outcome == "answer" or alone.missing else reply
        self.turns = [*self.turns, line, reply.text][-TURNS:]
        self.last = reply
        return reply

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
