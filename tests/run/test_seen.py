"""A run holds a sample of what its queries look like, and what it is asked can be looked at the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import kgrec_core
from kgrec_core.errors import KgrecError
from kgrec_core.run import carry
from kgrec_core.run.folder import MANIFEST, sealed
from kgrec_core.run.seen import joined, script, watched
from kgrec_core.stored import document


def test_scripts():
    assert [script(t) for t in ("red mug", "红色 mug 厨房钟表", "чашка", "12 %", "")] == ["LATIN", "CJK", "CYRILLIC", "", ""]


def test_a_run_has_a_sample_of_its_queries(published: Path):
    found = kgrec_core.open_run(published).seen()
    ways = {how: found.of(how) for how in ("known", "history", "words")}
    assert len(ways["known"]) == len(ways["history"]) > 0 and len(ways["words"]) == 16 and set(ways["words"].given("script")) == {"LATIN"}
    assert (
        np.isfinite(ways["known"].given("near")).all()
        and len(ways["known"].given("letters")) == 0
        and (ways["history"].given("met") > 0).all()
    )
    names = {path.name: path.read_bytes() for path in (published / "seen").iterdir()}
    assert set(names) == {"buys.json", "buys.npy"} and not any(b"user0" in whole for whole in names.values())


def test_it_is_what_a_snapshot_tells_of_the_same_queries(published: Path):
    snapshot, got = kgrec_core.open_run(published).snapshot, []
    with watched(lambda task, found: got.append((task.name, found))):
        snapshot.answer(["ruser0", {"history": ["r1", "r2"]}, {"text": "blue lamp"}], k=3)
    snapshot.answer(["ruser0"])  # nobody watches
    ((task, found),) = got
    assert (task, found.columns["how"].tolist(), found.columns["met"].tolist()) == ("buys", ["known", "history", "words"], [9, 2, 0])
    assert found.columns["letters"][2] == 9 and found.columns["script"].tolist() == [None, None, "LATIN"]
    assert found.vectors.shape[0] == 3 and len(joined([found, found])) == 6
    assert found.columns["label"][0] == snapshot.answer(["ruser0"], k=1)[0][0].id


def test_it_stays_through_a_compaction_and_a_damaged_one_is_named(copy: Path):
    run = kgrec_core.open_run(copy)
    run.remove("item", ["r0"])
    carry.compact(run)
    assert len(kgrec_core.open_run(copy).seen()) == len(run.seen())
    (copy / "seen" / "buys.npy").write_bytes(b"none")
    copy.with_name("run.live.sqlite").unlink()
    sealed(copy, {key: value for key, value in document(copy / MANIFEST).items() if key not in ("format", "files")})
    with pytest.raises(KgrecError, match="seen/buys is damaged"):
        kgrec_core.open_run(copy).seen()
