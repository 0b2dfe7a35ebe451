"""What an editor's hand or another program writes by mistake: read as it is meant, or refused in one line; nothing is made of it in silence."""

from __future__ import annotations

import gzip
import json

import kgrec_support
import pytest
from kgrec_support.asked import asked, beside
from kgrec_support.upkeep import export

from kgrec_core import KgrecError, open_run

LINE = json.dumps({"time": 1, "question": "zorb?", "answer_id": "ID", "verdict": "up"}) + "\n"


@pytest.fixture
def run(bank):
    return open_run(bank.run)


def test_an_id_with_blanks_around_it_is_the_entrys(run):
    first, *_ = before = [entry.id for entry in kgrec_support.list(run)]
    assert kgrec_support.edit(run, f" {first} ", questions=["zorb?"]).id == first
    assert [entry.id for entry in kgrec_support.list(run)] == before, "no entry of its own"
    assert kgrec_support.remove(run, [f"{first}\n", first]) == [first]
    with pytest.raises(KgrecError, match="an entry's id has 201 characters; give a name of at most 200"):
        kgrec_support.add(run, "Who?", "Nobody here.", id="x" * 201)


def test_an_faq_is_written_whole_and_as_what_it_is_called(run, tmp_path):
    with pytest.raises(KgrecError, match=r"no format of an FAQ that is written is called '.parquet'; known: .csv"):
        export(run.snapshot, tmp_path / "faq.parquet")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(KgrecError, match=r"folder\.csv is a folder; name another place"):
        export(run.snapshot, tmp_path / "folder.csv")
    export(run.snapshot, tmp_path / "faq.csv")
    assert {file.name for file in tmp_path.glob("f*")} == {"faq.csv", "folder.csv"}


def test_a_file_of_thumbs_in_another_encoding(run, tmp_path):
    line = LINE.replace("ID", kgrec_support.list(run)[0].id)
    for name, data in (
        ("bom.jsonl", b"\xef\xbb\xbf" + line.encode()),
        ("packed.jsonl.gz", gzip.compress(line.replace("zorb", "zurb").encode())),
    ):
        (tmp_path / name).write_bytes(data)
        assert kgrec_support.feedback(run, tmp_path / name)[:2] == (1, 1)
    for name, data, told in (
        ("wide.jsonl", line.encode("utf-16"), "wide.jsonl is in UTF-16; save it as UTF-8"),
        ("mac.jsonl", line.strip().encode() + b"\r" + line.strip().encode(), "mac.jsonl has the line ends of old Macs"),
        ("thumbs.jsonl.gz", b"no archive", "thumbs.jsonl.gz is damaged, it cannot be unpacked"),
        ("thumbs.jsonl", b"PK\x03\x04", "thumbs.jsonl is no text but an Excel workbook"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(KgrecError) as caught:
            kgrec_support.feedback(run, tmp_path / name)
        assert told in str(caught.value)


def test_what_another_wrote_into_the_log_of_questions_is_left_out(tmp_path):
    good = {"question": "Where?", "answer_id": None, "probability": 0.5}
    odd = [
        {"question": 5},
        {"question": "x", "answer_id": [1]},
        {"question": "x", "answer_id": None, "probability": "much"},
        None,
        [],
        good,
    ]
    beside(tmp_path / "run", "asked").write_text("[" * 100_000 + "\n" + "".join(json.dumps(line) + "\n" for line in odd))
    assert [tuple(one) for one in asked(tmp_path / "run")] == [("Where?", None, 0.5)]
