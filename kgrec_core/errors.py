"""The one exception for mistakes a user can repair: its text names the thing, the choices and the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class KgrecError(Exception):
    """A mistake of the user or of a plugin. The command line prints it as one line and exits with code 2."""


def choices(what: str, given: str, known: Iterable[str], remedy: str = "") -> KgrecError:
    """An error for an unknown name: says what is known, and what was probably meant.

    >>> print(choices("encoder", "txet", ["text", "gate"]))
    no encoder is called 'txet'; did you mean 'text'? known: gate, text
    """
    names = sorted(known)
    near = get_close_matches(given, names, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ";"
    listed = ", ".join(names) if names else "none"
    return KgrecError(f"no {what} is called '{given}'{hint} known: {listed}" + (f"; {remedy}" if remedy else ""))
