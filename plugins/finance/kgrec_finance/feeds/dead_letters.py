"""What of a feed is refused, and why: no line stops the stream."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from kgrec_core import KgrecError

log = logging.getLogger("kgrec")


def refuse_place(what: str, path: Path) -> None:
    """Raises KgrecError where no file can be made."""
    if path.is_dir() or not path.parent.is_dir():
        why = "it is a folder" if path.is_dir() else "it has no folder"
        raise KgrecError(f"{what}: {path} cannot be written ({why}); name a file in a folder that is there")


class DeadLetters:
    """A JSONL file of what was refused: source, at (byte), reason, line (its first 2,000 characters). None counts only.

    What was refused after the last offset that was kept is met again after a restart; what the file has already is not written twice.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path, self.count, self._known = path, 0, set()
        if path is not None:
            refuse_place("dead letters", path)
        if path is not None and path.is_file():
            with path.open("rb") as file:
                self._known = {hash(line) for line in file}

    def add(self, source: str, at: int, reason: str, line: str) -> None:
        """Raises KgrecError where the file cannot be written."""
        self.count += 1
        log.log(logging.WARNING if self.count == 1 else logging.INFO, "%s at byte %s: refused, %s", source, at, reason)
        if self.path is None:
            return
        text = json.dumps({"source": source, "at": at, "reason": reason, "line": line[:2000]}, ensure_ascii=False) + "\n"
        row = text.encode("utf-8", "backslashreplace")
        if hash(row) in self._known:
            return
        try:
            with self.path.open("ab") as file:
                file.write(row)
        except OSError as error:
            raise KgrecError(f"dead letters: {self.path} cannot be written ({error.strerror}); make room or name another file") from None
        self._known.add(hash(row))
