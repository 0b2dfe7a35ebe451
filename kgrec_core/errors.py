"""The one exception for mistakes a user can repair: its text names the thing, the choices and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import TracebackType

# What moves a terminal's cursor, turns the direction of writing or is never seen. U+200C and U+200D join letters and emoji.
_RAW = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    """A text as a terminal may have it: whatever is no character that one sees is spelled out; lines and tabs stay."""
    return _RAW.sub(lambda found: ascii(found.group())[1:-1], text)


def line(text: str) -> str:
    """`visible`, in one line."""
    return visible(re.sub(r"[\t\n\r\v\f\u2028\u2029]+", " ", text))


QUOTED = 100  # letters of a name that is quoted, and compared with others: what resembles one of a million letters takes minutes to find


class KgrecError(Exception):
    """A mistake of the user or of a plugin, told in one line of visible characters, whatever names and texts it quotes.

    The command line prints it and exits with code 2.
    """

    def __init__(self, told: object = "") -> None:
        super().__init__(line(str(told)))

    @property
    def every(self) -> list[KgrecError]:
        """The mistakes that it tells of."""
        return [self]


class NotSaved(KgrecError):
    """What was asked for is right, and could not be written down: a full disk, a file that may not be written. Nothing was changed."""


class Unreadable(KgrecError):
    """What is kept beside a run is damaged, gone or another's; what was read of it before holds. Nothing was changed."""


class Conflict(KgrecError):
    """What was asked for is right, and stands against what somebody else did meanwhile. Nothing was changed."""


class Mistakes(KgrecError):
    """Several mistakes; its text is the first and how many more there are."""

    def __init__(self, found: list[KgrecError]) -> None:
        more = f"{len(found) - 1} more mistake{'s' if len(found) > 2 else ''}"
        super().__init__(f"{found[0]} (and {more}, which `check` lists)")
        self.found = found

    @property
    def every(self) -> list[KgrecError]:
        return self.found


class Faults:
    """Goes on after a mistake, so that all are told at once: `with faults: ...` any number of times, then `faults.refuse()`."""

    def __init__(self) -> None:
        self.found: list[KgrecError] = []

    def __enter__(self) -> Faults:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        if isinstance(error, KgrecError):
            self.found += error.every
        return isinstance(error, KgrecError)

    def refuse(self) -> None:
        """Raises what was found."""
        if self.found:
            raise self.found[0] if len(self.found) == 1 else Mistakes(self.found)


@contextmanager
def damage(told: str, remedy: str = "fit again or restore the folder") -> Iterator[None]:
    """What goes wrong while a stored state is read is the state's fault: KgrecError "TOLD (reason); REMEDY"."""
    from safetensors import SafetensorError

    faults = ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError
    try:
        yield
    except (*faults, SafetensorError) as error:
        raise KgrecError(f"{told} ({error}); {remedy}") from error


def choices(what: str, given: str, known: Iterable[str], remedy: str = "") -> KgrecError:
    """An error for an unknown name: says what is known, and what was probably meant.

    >>> print(choices("encoder", "txet", ["text", "gate"]))
    no encoder is called 'txet'; did you mean 'text'? known: gate, text
    """
    names, given = sorted(known), given if len(given) <= QUOTED else f"{given[:QUOTED]}…"
    near = get_close_matches(given, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    listed = ", ".join(names) if names else "none"
    return KgrecError(f"no {what} is called '{given}'{hint} known: {listed}" + (f"; {remedy}" if remedy else ""))


def no_column(asked: str, column: str, of: str, names: Iterable[str]) -> KgrecError:
    """An error for a column that `of` (a file, a kind) does not have. asked: what stands before "is no column"."""
    folded = {name.casefold(): name for name in names}
    near = get_close_matches(column.casefold()[:QUOTED], folded, n=1)
    hint = f"; did you mean '{folded[near[0]]}'?" if near else ";"
    return KgrecError(f"{asked} is no column of {of}{hint} columns: {', '.join(folded.values())}")
