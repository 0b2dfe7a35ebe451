"""What may be shown of a run, as its operator writes it in RUN.safety.toml: read, and refused where it is none.

kind = "item"                            # of what; without it the first task's candidates
[block]                                  # never shown
ids = ["22423"]
words = ["knife", "酒"]                   # in their text
where = "category = 'weapons'"           # an SQL condition on their columns
[hold]                                   # shown only when somebody has allowed it: ids, words, where
words = ["adult"]
[age]                                    # the youngest age of each, by a column of numbers; callers by the names of their keys
column = "min_age"
others = 18
callers = { kids = 12 }
[classifier]                             # a run that tells texts apart, asked by `kgrec review RUN --scan`
run = "../moderation"
label = "unsafe"
block = 0.9
hold = 0.5
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kgrec_core.errors import KgrecError, choices
from kgrec_core.run.decisions import fingerprint

KEYS = {
    "block": ("ids", "words", "where"),
    "hold": ("ids", "words", "where"),
    "age": ("column", "others", "callers"),
    "classifier": ("run", "label", "block", "hold"),
}


@dataclass(frozen=True, eq=False)
class Policy:
    """RUN.safety.toml, checked. there: whether there is one. block, hold: ids, words, where. ages: caller -> age, "" = all others. classifier: its table."""

    there: bool = False
    kind: str | None = None
    block: Mapping[str, Any] = field(default_factory=dict)
    hold: Mapping[str, Any] = field(default_factory=dict)
    column: str | None = None
    ages: Mapping[str, float] = field(default_factory=dict)
    classifier: Mapping[str, Any] = field(default_factory=dict)


def parsed(file: Path) -> Policy:
    """The rules of a file; none where there is none. Raises KgrecError that names the table, the key and what it takes."""
    try:
        told = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Policy()
    except (OSError, ValueError) as error:
        raise KgrecError(f"{file} cannot be read ({error}); write TOML, or move it away") from None
    for name in told:
        if name not in (*KEYS, "kind"):
            raise choices(f"table of {file.name}", name, (*KEYS, "kind"))
    for name, keys in KEYS.items():
        table = told.setdefault(name, {})
        if not isinstance(table, dict):
            raise KgrecError(f"{file.name}: {name} takes a table: [{name}]")
        for key in table:
            if key not in keys:
                raise choices(f"key of [{name}] in {file.name}", key, keys)
    if not isinstance(told.get("kind", ""), str):
        raise KgrecError(f'{file.name}: kind takes the name of what is answered, such as kind = "item"')
    for name in ("block", "hold"):
        for key in ("ids", "words"):
            listed = told[name].get(key, [])
            if not isinstance(listed, list) or not all(isinstance(one, str) and one.strip() for one in listed):
                raise KgrecError(f"{file.name}: {key} of [{name}] takes a list of texts")
        if not isinstance(told[name].get("where", ""), str):
            raise KgrecError(f"{file.name}: where of [{name}] takes an SQL condition as text")
    age, classifier = told["age"], told["classifier"]
    callers = age.get("callers", {})
    callers = callers if isinstance(callers, dict) else {"": callers}
    ages = {**callers, **({"": age["others"]} if "others" in age else {})}
    none = [f"; {caller or 'others'} = {of!r} is no age" for caller, of in ages.items() if not (_number(of) and of >= 0)]
    if none or "" in callers or (age and not (ages and isinstance(age.get("column"), str))):
        takes = '[age] takes column = "NAME", others = 18 and callers = { name = 12 }'
        raise KgrecError(f"{file.name}: {takes}{none[0] if none else ''}")
    if classifier:
        faulty = [key for key in ("run", "label") if not isinstance(classifier.get(key), str)]
        faulty += [key for key in ("block", "hold") if not (_number(classifier.get(key, 1)) and 0 < classifier.get(key, 1) <= 1)]
        if faulty:
            raise KgrecError(
                f"{file.name}: [classifier] takes run and label as texts, block and hold as shares above 0; {faulty[0]} is none"
            )
        if "hold" in classifier and classifier["hold"] > classifier.get("block", 1):
            raise KgrecError(f"{file.name}: hold = {classifier['hold']} is above block = {classifier['block']}, so nothing would be held")
        classifier = {**classifier, "run": str((file.parent / classifier["run"]).resolve())}
    return Policy(True, told.get("kind"), told["block"], told["hold"], age.get("column"), ages, classifier)


def named(rules: Policy) -> str:
    """What a classifier's scores are kept under: another run, or another fit of it, has said nothing yet."""
    try:
        run = Path(rules.classifier["run"])
        return f"{run}\n{rules.classifier['label']}\n{fingerprint((run / 'manifest.json').read_text('utf-8'))}"
    except (OSError, ValueError) as error:
        raise KgrecError(f"the classifier {rules.classifier['run']} is no run ({error}); name the folder of one") from None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
