"""One thing spelled in several ways: "Acme Ltd.", "ACME ltd" and "Acme Limited" become one entity; what is doubtful, a person decides.

Spellings are compared without case, accents and punctuation, "&" as "and", "Limited" as "ltd". Equal ones, and nearly equal ones, are joined; those
between, and those that only a legal form or an article tells apart ("Acme", "Acme Inc."), are written to a review file, whose column `same` the next build
obeys: yes, no, or empty for not yet decided.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from kgrec_core.errors import KgrecError, choices

SURE, DOUBT = 94.0, 84.0  # of rapidfuzz' ratio: joined from the one, shown to a person from the other
BARE = 90.0  # what two count as that differ by a legal form or an article alone
WRITTEN = {"&": " and ", "+": " and ", "'": "", "’": ""}
FORMS = {"limited": "ltd", "incorporated": "inc", "corporation": "corp", "company": "co"}
LEGAL = frozenset(("ltd", "inc", "corp", "co", "llc", "plc", "gmbh", "ag", "sa", "srl", "bv", "oy", "ab", "pty"))
LEGAL_HAN = re.compile(r"(?<=[\u3400-\u9fff]{2})(?:股份有限公司|有限责任公司|有限公司|集团|公司|官方旗舰店|旗舰店)$")
SHORTEST = 5  # characters; below it a letter more is another word
COLUMNS = ("source", "kind", "one", "other", "score", "same")
SAID = {"": None, "yes": True, "no": False, "y": True, "n": False, "true": True, "false": False, "1": True, "0": False}


class Pair(NamedTuple):
    """Two spellings of a kind, and how alike they are, 0 to 100."""

    kind: str
    one: str
    other: str
    score: float


class Linked(NamedTuple):
    """spelling: each value -> the one it is written as. doubtful: pairs that nobody has decided."""

    spelling: dict[str, str]
    doubtful: list[Pair]


def link(kind: str, values: Mapping[str, int], decided: Mapping[tuple[str, str], bool] | None = None) -> Linked:
    """values: spelling -> how often it occurs. The commonest of a group is its spelling, the first in order of the alphabet among equals.

    decided: (one, other), in either order -> whether they are the same. Values whose digits differ are never joined.
    """
    said = {frozenset(pair): same for pair, same in (decided or {}).items()}
    order = sorted(values, key=lambda value: (-values[value], value))
    plain, parent = {value: plain_form(value) for value in order}, {value: value for value in order}

    def root(value: str) -> str:
        while parent[value] != value:
            value = parent[value]
        return value

    doubtful = []
    for one, other, score in _near(order, plain):
        same = said.get(frozenset((one, other)))
        if same or (same is None and score >= SURE):
            first, second = sorted((root(one), root(other)), key=lambda value: (-values[value], value))
            parent[second] = first
        elif same is None:
            doubtful.append(Pair(kind, one, other, round(score, 1)))
    return Linked({value: root(value) for value in order}, [p for p in doubtful if root(p.one) != root(p.other)])


def plain_form(value: str) -> str:
    """
    >>> plain_form("  Café-Noir & Co, Limited ")
    'cafe noir and co ltd'
    """
    bare = "".join(c for c in unicodedata.normalize("NFKD", value).casefold() if not unicodedata.combining(c))
    for sign, word in WRITTEN.items():
        bare = bare.replace(sign, word)
    return " ".join(FORMS.get(word, word) for word in re.sub(r"[^\w]+", " ", bare).split())


def bare_form(plain: str) -> str:
    """Of a plain form, what is left without an article before and legal forms behind; never nothing.

    >>> bare_form("the acme trading co ltd")
    'acme trading'
    """
    words = plain.removeprefix("the ").split()
    while len(words) > 1 and words[-1] in LEGAL | {"and"}:
        words.pop()
    return LEGAL_HAN.sub("", " ".join(words)) or plain


def _near(order: Sequence[str], plain: Mapping[str, str]) -> list[tuple[str, str, float]]:
    """Pairs that are alike enough. Compared are values with the same first two letters or the same last word, so that many cost little."""
    from rapidfuzz import fuzz, process

    groups: dict[str, list[str]] = defaultdict(list)
    for value in order:
        form = plain[value]
        for key in {f"<{form[:2]}", f">{form.rpartition(' ')[2]}", f"={form}", f"~{bare_form(form)}"} if form else ():
            groups[key].append(value)
    found: dict[tuple[str, str], float] = {}
    for key, members in groups.items():
        forms = [plain[value] for value in members]
        if key[0] == "~":
            others = [value for value in members[1:] if plain[value] != forms[0]]
            found |= {(members[0], other): max(BARE, found.get((members[0], other), 0.0)) for other in others}
            continue
        for start in range(0, len(members), 1000):
            scores = process.cdist(forms[start : start + 1000], forms, scorer=fuzz.ratio, score_cutoff=DOUBT, dtype=np.float32)
            for i, j in zip(*np.nonzero(scores), strict=True):
                one, other = members[start + i], members[j]
                if start + i < j and (key[0] == "=" or _comparable(plain[one], plain[other])):
                    found[one, other] = max(float(scores[i, j]), found.get((one, other), 0.0))
    return sorted(((one, other, score) for (one, other), score in found.items()), key=lambda p: (-p[2], p[0], p[1]))


def _comparable(one: str, other: str) -> bool:
    return one == other or (min(len(one), len(other)) >= SHORTEST and re.findall(r"\d+", one) == re.findall(r"\d+", other))


def write_review(pairs: Mapping[str, Sequence[Pair]], file: Path) -> int:
    """Write the doubtful pairs of every source; what the file says already stays. Returns how many are undecided."""
    told = _table(file) if file.is_file() else pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String))
    new = [(source, p.kind, p.one, p.other, f"{p.score:g}", None) for source, of in pairs.items() for p in of]
    table = pl.concat([told, pl.DataFrame(new, dict.fromkeys(COLUMNS, pl.String), orient="row")])
    table = table.unique(["source", "kind", "one", "other"], keep="first", maintain_order=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    table.write_csv(file)
    return table["same"].null_count()


def read_review(file: Path) -> dict[str, dict[tuple[str, str], bool]]:
    """kind -> pair -> whether a person says that they are the same. Raises KgrecError with the row that is no answer."""
    found: dict[str, dict[tuple[str, str], bool]] = defaultdict(dict)
    for number, row in enumerate(_table(file).iter_rows(named=True), 2):
        said = (row["same"] or "").strip().casefold()
        if said not in SAID:
            raise KgrecError(f'{file.name} row {number}: same "{row["same"]}" is no answer; write yes, no, or nothing')
        if SAID[said] is not None:
            found[row["kind"]][row["one"], row["other"]] = SAID[said]
    return dict(found)


def _table(file: Path) -> pl.DataFrame:
    try:
        table = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise KgrecError(f"{file} cannot be read ({str(error).splitlines()[0]}); it is a CSV file with {', '.join(COLUMNS)}") from None
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise choices(f"column in {file.name}", missing[0], table.columns, "it is written by `kgrec graph build`")
    return table.select(COLUMNS)
