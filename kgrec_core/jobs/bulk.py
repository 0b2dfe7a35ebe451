"""A verb asked of every row of a file, or of everyone a run knows: in blocks, with one snapshot, to a file that is whole or not there.

    bulk(verb, run, "offers.parquet", rows="customers.csv", given={"k": 5})

Answered blocks wait in `OUT.partial/`, each written whole. The same call goes on with the first block that is missing; the last step
joins them beside OUT and renames. Memory holds one block.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import kgrec_core
from kgrec_core.data.rows import Row, header
from kgrec_core.data.rows import rows as rows_of
from kgrec_core.errors import KgrecError, choices
from kgrec_core.jobs.tables import FORMS, joined
from kgrec_core.outputs import refuse_place
from kgrec_core.recipe.components import Verb
from kgrec_core.recipe.registry import load_target
from kgrec_core.requests import as_data, fields_of, made
from kgrec_core.run.folder import MANIFEST, checksum
from kgrec_core.stages import Progress, silent
from kgrec_core.verbs import call

BLOCK = 512  # requests that are answered and written together
REASONS = 3  # of refusals that are told


class Done(NamedTuple):
    """rows: asked; refused: of them, those with an error; reasons: the first different ones."""

    rows: int
    refused: int
    reasons: list[str]
    out: str

    def __str__(self) -> str:
        why = "".join(f"\n  {reason}" for reason in self.reasons)
        return f"{self.rows - self.refused:,} rows answered, {self.refused:,} refused; written to {self.out}{why}"


def bulk(
    verb: Verb,
    run: Any,
    out: Path | str,
    rows: Path | str | None = None,
    given: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> Done:
    """Ask a verb in bulk. out: .csv, .parquet (a row for each answer, its fields as columns) or .jsonl (a line for each request).

    rows: CSV, TSV, JSONL or Parquet whose columns are fields of the request; None = every known query. given: fields that hold for
    all rows unless a row has them itself. A row that cannot be answered has its reason in the column `error`. Raises KgrecError for
    columns that are no fields, an OUT.partial of something else, and where every row was refused.
    """
    request, out, given = load_target(verb.request, "bulk"), Path(out), dict(given or {})
    if out.suffix not in FORMS:
        raise choices("format of --out", out.suffix, FORMS)
    snapshot = getattr(run, "snapshot", run)
    if out.parent.is_dir():  # else it is made
        refuse_place(out, None if rows is None else Path(rows))
    source, total, known = _everyone(request, snapshot) if rows is None else _of_file(request, Path(rows))
    if (first := next(source, None)) is None:
        raise KgrecError(
            f"{'the run knows nobody to ask it of' if rows is None else f'{Path(rows).name}: the table has no rows'}; nothing was written"
        )
    source = chain([first], source)
    with _workspace(out, _purpose(verb, run, snapshot, given, known)) as work:
        asked, blocks = 0, []
        while block := list(islice(source, BLOCK)):
            blocks.append(work / f"{len(blocks):08}.jsonl")
            if not blocks[-1].exists():
                _write(blocks[-1], _answered(verb, request, snapshot, block, given))
            asked += len(block)
            progress(verb.function.partition(":")[2], asked, total)
        refused = joined(blocks, out, list(fields_of(request)))
    if asked and refused.total() == asked:
        raise KgrecError(f"none of {asked:,} rows could be answered ({next(iter(refused))}); see the column error of {out}")
    return Done(asked, refused.total(), list(refused)[:REASONS], str(out))


def _of_file(request: type, path: Path) -> tuple[Iterator[Row], int, str]:
    """The rows of a file whose columns are known, how many (0 = not known beforehand), and what the file holds, as a checksum."""
    for name in header(path, "--in"):
        if name not in fields_of(request):
            raise choices(f"field of {request.__name__}", name, fields_of(request), f"rename or remove the column in {path.name}")
    return rows_of(path, "--in"), 0, checksum(path)


def _everyone(request: type, snapshot: Any) -> tuple[Iterator[Row], int, str]:
    """A row for each living source or target of the first task, as the request says which."""
    ends = {name: field.how["known"] for name, field in fields_of(request).items() if field.how.get("known")}
    if not ends:
        raise KgrecError(f"{request.__name__} is asked by no id that a run knows; give rows with --in FILE")
    import numpy as np

    (name, end), *_ = ends.items()
    kind, graph = getattr(snapshot.tasks[0].relation, end), snapshot.graph
    living = np.flatnonzero(graph.alive(kind))
    found = ({name: id} for at in range(0, len(living), BLOCK) for id in graph.gather(kind, living[at : at + BLOCK], "id")["id"])
    return found, len(living), f"every {kind}"


def _purpose(verb: Verb, run: Any, snapshot: Any, given: Mapping[str, Any], known: str) -> dict[str, Any]:
    """What the blocks of a job have in common; blocks of another purpose are not gone on with."""
    model = None if run is None else [checksum(run.folder / MANIFEST), snapshot.edit]
    return {"kgrec": kgrec_core.__version__, "verb": verb.function, "run": model, "given": as_data(given), "rows": known, "block": BLOCK}


def _answered(verb: Verb, request: type, snapshot: Any, block: Sequence[Row], given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A record for each row: what was asked, and the result or the error."""
    requests: dict[int, Any] = {}
    errors: dict[int, KgrecError] = {}
    for place, row in enumerate(block):
        try:
            if isinstance(row, KgrecError):
                raise row
            requests[place] = made(request, {**given, **row})
        except KgrecError as error:
            errors[place] = error
    results = dict(zip(requests, call(verb, snapshot, list(requests.values())), strict=True)) if requests else {}
    for place, row in enumerate(block):
        result = errors.get(place) or results.get(place)
        wrong = isinstance(result, KgrecError)
        asked = {} if isinstance(row, KgrecError) else row
        yield {**as_data(asked), "result": None if wrong else as_data(result), "error": str(result) if wrong else None}


def _write(file: Path, records: Iterator[dict[str, Any]]) -> None:
    part = file.with_suffix(".part")
    with open(part, "w", encoding="utf-8", errors="replace") as lines:  # JSON can hold halves of characters, files cannot
        for record in records:
            lines.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        lines.flush()
        os.fsync(lines.fileno())
    part.rename(file)


@contextmanager
def _workspace(out: Path, purpose: dict[str, Any]) -> Iterator[Path]:
    """OUT.partial, held by this process; it goes when all is done, and stays after whatever else happens."""
    work = out.with_name(f"{out.name}.partial")
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = open(work / "job.json", "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise KgrecError(f"{out} cannot be written ({error.strerror}); name another place with --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KgrecError(f"another process is writing {out}; wait for it or choose another --out") from None
        lock.seek(0)
        if begun := lock.read():
            changed = [key for key, value in purpose.items() if json.loads(begun).get(key) != value]
            if changed:
                raise KgrecError(
                    f"{work} was begun with another {' and '.join(changed)}, and is not finished; "
                    "give the same command again, remove it to begin anew, or choose another --out"
                )
        else:
            lock.write(json.dumps(purpose))
            lock.flush()
        yield work
        shutil.rmtree(work)
