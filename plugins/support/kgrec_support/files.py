"""`kgrec support fit` on a team's own files: the recipe layer that they make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE = {"metavar": "FILE"}


@dataclass(frozen=True, kw_only=True)
class Files:
    """Without a file the embedded sample is learned. A fifth of the questions is the test, unless the file has a column `split`.

    faq: questions and their answers. intents: texts and their labels. dialogues: messages: session, role, text.
    feedback: thumbs and corrections to learn from. locale: only rows of this locale, and those without one.

    Example: kgrec support fit --run runs/faq --faq faq.csv train.epochs=2
    """

    faq: Path | None = field(default=None, metadata=FILE)
    intents: Path | None = field(default=None, metadata=FILE)
    dialogues: Path | None = field(default=None, metadata=FILE)
    feedback: Path | None = field(default=None, metadata=FILE)
    locale: str | None = field(default=None, metadata={"metavar": "TAG"})

    def layer(self) -> dict[str, Any]:
        """Empty where no file is named. Raises KgrecError for options that belong to own files."""
        from kgrec_core import KgrecError
        from kgrec_core.domain import column_names
        from kgrec_support.columns import match

        tables = {name: path.absolute() for name in ("faq", "intents", "dialogues") if (path := getattr(self, name))}
        if not tables:
            if self.feedback or self.locale:
                raise KgrecError("--locale and --feedback belong to your own files; name one with --faq, --intents or --dialogues")
            return {}
        given = {name: str(path) for name, path in tables.items()}
        given |= {"feedback": str(self.feedback.absolute())} if self.feedback else {}
        given |= {"locale": self.locale} if self.locale else {}
        split = {"by": "random", "group": "group", "test": 0.2, "validation": 0.2}
        if any("split" in match(name, column_names(path, f"data.{name}"), {}) for name, path in tables.items() if name != "dialogues"):
            split = {"by": "column", "column": "split"}
        return {"data": {"use": "support", **given}, "split": split}
