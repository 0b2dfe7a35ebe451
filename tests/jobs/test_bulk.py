"""A verb in bulk: what is written, what is refused, and that a killed job goes on where it was. The verb is a toy, a file of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.jobs import bulk as bulk_job
from kgrec_core.jobs.bulk import BLOCK, bulk
from kgrec_core.recipe.components import Verb

ROOT = Path(__file__).parents[2]
TOY = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kgrec_core.errors import KgrecError


@dataclass(frozen=True)
class Ask:
    """Toys for a child.

    user: who. k: how many. text: what for.
    """

    user: str
    k: int = 2
    text: str | None = None

    def __post_init__(self):
        if self.k < 0:
            raise KgrecError(f"k = {self.k} must not be below 0")


class Toy(NamedTuple):
    id: str
    text: str | None
    columns: dict


def answer(snapshot, requests):
    time.sleep(float(os.environ.get("TOY_SLEEP", 0)))
    if "TOY_LOG" in os.environ:
        with open(os.environ["TOY_LOG"], "a") as log:
            log.writelines(f"{request.user}\\n" for request in requests)
    return [
        KgrecError("nobody is called 'x'") if r.user == "x" else [Toy(f"{r.user}-{i}", r.text, {"sure": i / 2}) for i in range(r.k)]
        for r in requests
    ]
'''
VERB = Verb("toy_verb:Ask", "toy_verb:answer", opens=False)
IN_A_PROCESS = (
    "import sys\nfrom kgrec_core.jobs.bulk import bulk\nfrom kgrec_core.recipe.components import Verb\n"
    "print(bulk(Verb('toy_verb:Ask', 'toy_verb:answer', opens=False), None, sys.argv[1], sys.argv[2]))"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "toy_verb.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("toy_verb", None)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_lines_have_what_was_asked_and_the_result_or_the_error(folder):
    rows = write(folder / "rows.csv", "user,k\na,1\nx,\nb,0\n,\nc,-1\nd,many\ne,1,2\n\nf,\n")
    done = bulk(VERB, None, folder / "out.jsonl", rows)
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    toy = lambda user, i: {"id": f"{user}-{i}", "text": None, "columns": {"sure": i / 2}}  # noqa: E731
    assert [line["result"] for line in lines] == [[toy("a", 0)], None, [], None, None, None, None, [toy("f", 0), toy("f", 1)]]
    assert [line["error"] for line in lines] == [
        None,
        "nobody is called 'x'",
        None,
        "Ask needs user: who.",
        "k = -1 must not be below 0",
        'k = "many": it takes int',
        "rows.csv line 8: 3 fields where the header has 2",
        None,
    ]
    assert (lines[0]["user"], lines[0]["k"]) == ("a", "1") and "k" not in lines[1]
    assert (done.rows, done.refused, len(done.reasons)) == (8, 5, 3)
    assert "3 rows answered, 5 refused" in str(done) and "nobody is called 'x'" in str(done)
    assert not list(folder.glob("*.part*"))


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_tables_have_a_row_for_each_answer(folder, form):
    """Columns are the union over blocks, also where the first block holds errors only and none of the results' columns."""
    users = ["x"] * BLOCK + ["a", 'b,"c"']
    pl.DataFrame({"user": users, "text": [None] * BLOCK + ["é", None]}).write_parquet(folder / "rows.parquet")
    bulk(VERB, None, folder / f"out.{form}", folder / "rows.parquet", {"k": 2})
    found = pl.read_csv(folder / "out.csv", infer_schema_length=None) if form == "csv" else pl.read_parquet(folder / "out.parquet")
    assert found.columns == ["user", "text", "place", "id", "result.text", "columns.sure", "error"]
    assert found.height == BLOCK + 4 and found["error"].null_count() == 4
    assert found.tail(4).rows() == [
        ("a", "é", 1, "a-0", "é", 0.0, None),
        ("a", "é", 2, "a-1", "é", 0.5, None),
        ('b,"c"', None, 1, 'b,"c"-0', None, 0.0, None),
        ('b,"c"', None, 2, 'b,"c"-1', None, 0.5, None),
    ]


def test_no_cell_of_a_csv_file_is_a_formula(folder):
    rows = write(folder / "rows.csv", "user,k,text\n=cmd|x,1,@a\n-7,1,-1.5\n")
    bulk(VERB, None, folder / "out.csv", rows)
    found = pl.read_csv(folder / "out.csv", infer_schema=False)
    assert found["user"].to_list() == ["'=cmd|x", "-7"] and found["id"].to_list() == ["'=cmd|x-0", "'-7-0"]
    assert found["result.text"].to_list() == ["'@a", "-1.5"]


def test_json_lines_and_numbers_as_ids(folder):
    rows = write(folder / "rows.jsonl", '{"user": 7}\n\nno json\n[1]\n{"user": "8", "k": 1, "colour": "red"}\n')
    bulk(VERB, None, folder / "out.jsonl", rows)
    lines = [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]
    assert lines[0]["result"][1]["id"] == "7-1"
    assert [line["error"] and line["error"][:20] for line in lines] == [
        None,
        "rows.jsonl line 3 is",
        "rows.jsonl line 4: w",
        "no field of Ask is c",
    ]


def test_killed_it_goes_on_where_it_was(folder):
    """SIGKILL while it answers: no output yet; the same command asks what was not asked, and the file is that of an undisturbed job."""
    rows = write(folder / "rows.csv", "user\n" + "".join(f"u{i}\n" for i in range(6 * BLOCK + 7)))
    undisturbed = bulk(VERB, None, folder / "whole.csv", rows)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]), "TOY_LOG": "log"}
    command = [sys.executable, "-c", IN_A_PROCESS, "out.csv", "rows.csv"]
    job = subprocess.Popen(command, cwd=folder, env={**environment, "TOY_SLEEP": "0.3"}, stdout=subprocess.DEVNULL)
    while len(list(folder.glob("out.csv.partial/*.jsonl"))) < 2:
        assert job.poll() is None
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    kept = len(list(folder.glob("out.csv.partial/*.jsonl")))
    assert not (folder / "out.csv").exists() and 2 <= kept < 6
    (folder / "log").unlink()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert f"{6 * BLOCK + 7:,} rows answered, 0 refused" in done.stdout and undisturbed.rows == 6 * BLOCK + 7
    assert (folder / "out.csv").read_bytes() == (folder / "whole.csv").read_bytes()
    assert (folder / "log").read_text().split() == [f"u{i}" for i in range(kept * BLOCK, 6 * BLOCK + 7)]
    assert not (folder / "out.csv.partial").exists()


def test_what_was_begun_with_something_else_is_not_gone_on_with(folder):
    rows = write(folder / "rows.csv", "user\na\n")
    (folder / "out.csv.partial").mkdir()
    bulk(VERB, None, folder / "other.csv", rows)
    write(folder / "out.csv.partial" / "job.json", json.dumps({"given": {"k": 5}, "rows": "another file"}))
    with pytest.raises(KgrecError, match=r"out.csv.partial was begun with another .*given.*rows.* remove it to begin anew"):
        bulk(VERB, None, folder / "out.csv", rows)
    assert not (folder / "out.csv").exists()


def test_mistakes_are_told_before_anything_is_asked(folder):
    rows, pipe = write(folder / "rows.csv", "usr\na\n"), folder / "pipe.csv"
    (folder / "folder.csv").mkdir()
    os.mkfifo(pipe)
    for out, what, said in (
        ("out.csv", rows, "no field of Ask is called 'usr'; did you mean 'user'"),
        ("out.xls", rows, "no format of --out is called '.xls'"),
        ("out.csv", folder / "absent.csv", "no file in"),
        ("out.csv", None, "asked by no id that a run knows; give rows with --in"),
        ("folder.csv", rows, "folder.csv is a folder; name another file with --out"),
        ("usr.csv", write(folder / "usr.csv", "user\na\n"), "usr.csv is the file that is read; name another file with --out"),
        ("out.csv", write(folder / "nobody.csv", "user,k\n"), "nobody.csv: the table has no rows; nothing was written"),
        ("out.jsonl", write(folder / "nothing.jsonl", ""), "nothing.jsonl: the table has no rows"),
        ("out.csv", folder / "folder.csv", "--in = .*folder.csv is a folder; name a file in it"),
        ("out.csv", pipe, "--in = .*pipe.csv is a pipe or a device, which is read once only"),
        ("absent/out.csv", write(folder / "twice.csv", "user,user\na,b\n"), "column 'user' stands twice"),
    ):
        with pytest.raises(KgrecError, match=said):
            bulk(VERB, None, folder / out, what)
    assert not list(folder.glob("out*"))


def test_an_article_may_be_a_book(folder):
    bulk(VERB, None, folder / "out.jsonl", write(folder / "rows.csv", f"user,k,text\na,0,{'long ' * 200_000}\n"))
    assert json.loads((folder / "out.jsonl").read_text())["error"] is None


def test_where_every_row_is_refused_it_is_an_error_and_the_file_says_why(folder):
    with pytest.raises(KgrecError, match="none of 2 rows could be answered \\(nobody is called 'x'\\)"):
        bulk(VERB, None, folder / "out.csv", write(folder / "rows.csv", "user\nx\nx\n"))
    assert (folder / "out.csv").read_text() == "user,error\nx,nobody is called 'x'\nx,nobody is called 'x'\n"


def test_half_a_character_that_json_can_hold_stops_no_job(tmp_path):
    bulk_job._write(tmp_path / "block.jsonl", iter([{"text": "half \ud83d", "result": None, "error": None}]))
    assert (tmp_path / "block.jsonl").read_text("utf-8") == '{"text": "half ?", "result": null, "error": null}\n'
