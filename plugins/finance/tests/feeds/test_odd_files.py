"""What people point a monitor at by mistake: one line that says what it is and what to do, and no row that is refused in silence."""

from __future__ import annotations

import gzip
import json
import os

import pytest
from kgrec_finance.feeds.dead_letters import DeadLetters
from kgrec_finance.feeds.events import Reader, Refused
from kgrec_finance.feeds.follow import follow
from kgrec_finance.monitoring.scores import stored

from kgrec_core import KgrecError

NOW = "2024-05-01T12:00:00Z"
ROW = json.dumps({"id": "1", "text": "Up.", "time": NOW}) + "\n"
CSV = f"id,time,text\n1,{NOW},Up.\n2,{NOW},Down.\n"
MANY = "".join(json.dumps({"id": str(n), "text": f"Up {n * 7919}.", "time": NOW}) + "\n" for n in range(2000))

GONE = object()
FILES = {
    "UTF-16": ("a.jsonl", ROW.encode("utf-16"), "a.jsonl is in UTF-16; save it as UTF-8, e.g. iconv -f utf-16"),
    "UTF-16 table": ("a.csv", CSV.encode("utf-16-le"), "a.csv is in UTF-16-LE"),
    "old Mac": ("a.csv", CSV.replace("\n", "\r"), "a.csv has the line ends of old Macs"),
    "no archive": ("a.jsonl.gz", ROW, "a.jsonl.gz is damaged, it cannot be unpacked (Not a gzipped file"),
    "cut archive": ("a.jsonl.gz", gzip.compress(MANY.encode())[:-2000], "a.jsonl.gz is damaged, it cannot be unpacked"),
    "Parquet": ("a.parquet", b"PAR1", "a.parquet is none; name a .jsonl, .csv or .xml file, - for JSON lines"),
    "Parquet by another name": ("a.jsonl", b"PAR1", "a.jsonl is no text but a Parquet file"),
    "archive by another name": ("a.csv", gzip.compress(CSV.encode()), "a.csv is no text but packed by gzip"),
    "twice": ("a.csv", CSV.replace("id,", "text,"), 'a.csv row 1: column "text" stands twice in the header'),
    "no time": ("a.csv", CSV.replace("time", "when"), "no column is recognised as time; name it with --column time=...; columns: id, when, text"),
    "no text": ("a.csv", CSV.replace("text", "tale"), "no column is recognised as text; name it with --column text=..."),
    "carriage in a header": ("a.csv", "id,ti\rme,text\n", "row 1: the header cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_feed_is_refused_by_name(tmp_path, name):
    file, data, told = FILES[name]
    (tmp_path / file).write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(KgrecError) as caught:
        list(follow(tmp_path / file, wait=False))
    assert told in str(caught.value), str(caught.value)


def test_a_folder_and_a_pipe_are_no_files(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, told in (("folder.jsonl", "is a folder; name a file in it"), ("pipe.jsonl", "read it from standard input: - <")):
        with pytest.raises(KgrecError, match=told):
            next(follow(tmp_path / name))


def test_a_column_that_is_named_must_be_there(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    assert len(list(follow(tmp_path / "a.csv", wait=False, columns={"title": "text"}))) == 2
    for ours in ("text", "company"):
        with pytest.raises(KgrecError, match=r"no column of .*a.csv is called 'Meldung'; known: id, text, time; correct --column"):
            list(follow(tmp_path / "a.csv", wait=False, columns={ours: "Meldung"}))


def test_a_header_that_is_still_being_written_is_waited_for(tmp_path):
    (tmp_path / "a.csv").write_text("id,ti")
    assert list(follow(tmp_path / "a.csv", wait=False)) == []


# --- one event --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": ["a", "b"]}, 'the text is no text but ["a", "b"]'),
        ({"text": {"en": "Up"}}, 'the text is no text but {"en": "Up"}'),
        ({"text": True}, "the text is no text but true"),
        ({"text": GONE, "tale": "Up"}, "it has no text; name its field with --column text=...; fields: id, time, tale"),
        ({"text": None}, "the text is empty"),
        ({"time": GONE}, "it has no time; name its field"),
        ({"time": None}, "it has no time"),
        ({"time": "1e400"}, "lies outside the years 1 to 9999"),
        ({"time": "-1e400"}, "lies outside the years 1 to 9999"),
        ({"time": "9" * 400}, "lies outside the years 1 to 9999"),
    ],
)
def test_what_is_no_text_or_time_is_told(fields, reason):
    event = {name: value for name, value in ({"id": "1", "text": "Up.", "time": NOW} | fields).items() if value is not GONE}
    with pytest.raises(Refused) as caught:
        Reader(time_format="s" if str(fields.get("time")).endswith("e400") else None).event(event)
    assert reason in str(caught.value)


def test_an_id_is_read_as_at_every_door():
    def ids(*given):
        return [Reader().event({"id": id, "text": "Up.", "time": NOW}).id for id in given]

    assert ids(12, 12.0, " 12 ", "12\u200b") == ["12"] * 4
    assert len(set(ids(None, "", "  ", "nan", float("nan"), "NULL"))) == 1 and ids("  ")[0].startswith("a-"), "words for nothing are no ids"


def test_half_characters_are_mended_at_any_depth():
    event = Reader().event({"text": "Up.", "time": NOW, "company": ["\ud800"], "scores": {"companies": {"\ud800": [0, 1, 0]}}})
    json.dumps(event.raw, ensure_ascii=False).encode()
    assert event.companies == ("?",) and list(stored(event, None).companies) == ["?"]


def test_deep_fields_are_refused():
    deep = [[]]
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(Refused, match="too deep"):
        Reader().event({"text": "Up.", "time": NOW, "deep": deep})


@pytest.mark.parametrize(
    "scores", ['{"companies": {"A": [1%s, 0, 0]}}' % ("0" * 400), '{"topics": {"a": 1%s}}' % ("0" * 400), "[" * 100_000]
)
def test_scores_that_are_none_are_refused(scores):
    with pytest.raises(Refused, match="scores are"):
        stored(Reader().event({"text": "Up.", "time": NOW, "scores": scores}), None)


def test_a_format_that_tells_no_day_is_refused_at_once():
    for form in ("%Q", "nonsense", "", "%H:%M", "%d.%m."):
        with pytest.raises(KgrecError, match="tells no day; write s, ms, us, ns or a format such as"):
            Reader(time_format=form)
    for form in ("s", "%d.%m.%y", "%a %b %d %H:%M:%S %z %Y", "%Y%m%d"):
        Reader(time_format=form)


def test_the_first_refusal_is_said_aloud(tmp_path, caplog):
    (tmp_path / "a.jsonl").write_text('{"text": "Up."}\n' * 3)
    dead = DeadLetters(tmp_path / "dead.jsonl")
    assert list(follow(tmp_path / "a.jsonl", wait=False, dead_letters=dead)) == [] and dead.count == 3
    assert [of.levelname for of in caplog.records].count("WARNING") == 1 and "refused, it has no time" in caplog.text
    with pytest.raises(
        KgrecError, match=r"dead letters: .*absent.* cannot be written .it has no folder.; name a file in a folder that is there"
    ):
        DeadLetters(tmp_path / "absent" / "dead.jsonl")
