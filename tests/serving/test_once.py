"""A file of requests is answered line by line, in order, as the endpoints answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.serving.hosted import hosted
from kgrec_core.serving.once import answer_file


def test_a_file_is_answered(copy: Path, tmp_path: Path):
    row = {"sku": "r99", "name": "red teapot", "colour": "red", "price": 3}
    lines = [
        {"verb": "recommend", "request": {"user": "ruser0", "k": 2}},
        {"verb": "recommend", "request": {"user": "buser1", "kk": 2}},
        {"verb": "add-items", "request": {"file": [row]}},
        {"verb": "similar", "request": {"item": "r99", "k": 1}},
        {"verb": "steal", "request": {}},
        {"verb": "similar", "request": {"item": "r1"}, "run": "../x"},
    ]
    asked = tmp_path / "asked.jsonl"
    asked.write_text("\n".join(map(json.dumps, lines)) + "\n\n{")
    runs, out = hosted([copy], "ecommerce"), tmp_path / "answers.jsonl"
    assert answer_file(runs, asked, out) == (7, 4)
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [next(iter(one)) for one in found] == ["result", "error", "result", "result", "error", "error", "error"]
    assert len(found[0]["result"]) == 2 and found[2]["result"] == {"new": ["r99"], "changed": []} and found[3]["result"]
    assert found[4]["error"]["detail"].startswith("asked.jsonl line 5: no verb is called 'steal'")
    with pytest.raises(KgrecError, match="No such file"):
        answer_file(runs, tmp_path / "absent.jsonl", out)
