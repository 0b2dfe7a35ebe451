"""A file of requests for any verbs of the runs, answered without a server, in the shape that the endpoints answer in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kgrec_core.errors import KgrecError, choices
from kgrec_core.outputs import output
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import as_data
from kgrec_core.serving.batching import WIDTH, answered
from kgrec_core.serving.body import Limits, parsed
from kgrec_core.serving.hosted import Hosted, verbs_of
from kgrec_core.serving.problem import described
from kgrec_core.serving.schema import requests_of
from kgrec_core.verbs import call

Asked = tuple[Hosted, str, Verb, dict[str, Any]] | KgrecError


def answer_file(runs: Mapping[str, Hosted], file: Path, out: Path) -> tuple[int, int]:
    """Answer {"verb": WORD, "request": {...}, ["run": NAME]} of every line; lines of one verb that follow each other share calls.

    Returns how many were asked, and how many of them refused. Raises KgrecError where the file cannot be read or written; `out` is
    whole or not there.
    """
    limits, asked, refused = Limits(bytes=2**24), 0, 0
    try:
        with open(file, "rb") as lines, output(out, file) as place, open(place, "w", encoding="utf-8") as answers:
            together: list[Asked] = []
            for number, line in enumerate(filter(bytes.strip, lines), 1):
                one = _asked(runs, line, limits, f"{file.name} line {number}: ")
                if together and (len(together) == WIDTH or _alike(together[0]) != _alike(one)):
                    refused += _write(answers, together)
                    together = []
                together.append(one)
                asked = number
            refused += _write(answers, together) if together else 0
    except OSError as error:
        raise KgrecError(f"{error.filename or out}: {error.strerror}; name other files with --once and --out") from None
    return asked, refused


def _asked(runs: Mapping[str, Hosted], line: bytes, limits: Limits, place: str) -> Asked:
    try:
        given = parsed(line, limits)
        if stray := set(given) - {"verb", "request", "run"}:
            raise choices("field of a line", sorted(stray)[0], ("verb", "request", "run"))
        name = given.get("run", next(iter(runs)))
        if name not in runs:
            raise choices("run", str(name), runs)
        verbs = verbs_of(runs[name].domain)
        if given.get("verb") not in verbs:
            raise choices("verb", str(given.get("verb")), verbs)
        if not isinstance(given.get("request"), dict):
            raise KgrecError('request takes an object of fields: {"verb": "...", "request": {...}}')
        return runs[name], given["verb"], verbs[given["verb"]], given["request"]
    except KgrecError as error:
        return KgrecError(f"{place}{error}")


def _alike(one: Asked) -> Any:
    return None if isinstance(one, KgrecError) else (id(one[0]), one[1])


def _write(answers: Any, together: list[Asked]) -> int:
    """How many were refused."""
    if isinstance(together[0], KgrecError):
        results: list[Any] = list(together)
    else:
        of, word, verb, _ = together[0]
        with requests_of(load_target(verb.request, word), [one[3] for one in together], word) as asked:
            good = [one for one in asked if not isinstance(one, KgrecError)]
            found = iter(answered(of, verb, good)[0] if verb.kind == "ask" else call(verb, of.run, good))
            results = [one if isinstance(one, KgrecError) else next(found) for one in asked]
    for result in results:
        wrong = isinstance(result, KgrecError)
        answers.write(json.dumps({"error": described(result)} if wrong else {"result": as_data(result)}, ensure_ascii=False) + "\n")
    return sum(isinstance(result, KgrecError) for result in results)
