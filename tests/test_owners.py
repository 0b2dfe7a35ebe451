"""What root makes beside a run is its owner's: the service that runs as one goes on with its keys, edits and decisions."""

from __future__ import annotations

import os
import shutil

import pytest

import kgrec_core
from kgrec_core.run import carry, review
from kgrec_core.serving.feedback import Answered, Feedback, FeedbackLog
from kgrec_core.serving.keys import Keys
from kgrec_core.serving.repeats import Repeats

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
OWNER = 61_234


def test_files_beside_a_run_are_its_owners(published, tmp_path):
    state = tmp_path / "state"
    shutil.copytree(published, state / "shop")
    for place in (state, *state.rglob("*")):
        os.chown(place, OWNER, OWNER)
    keys = Keys(state / "keys.json")
    keys.add("one")
    keys.add("two")
    run = kgrec_core.open_run(state / "shop")
    run.remove("item", ["r0"])
    review.decide(run.snapshot, ["r1"], "block", "jo")
    Repeats(state / "shop.serve" / "repeats.sqlite").ready()
    FeedbackLog(state / "shop.serve", 1).keep("", Feedback("a", "shown"), Answered("shop", "", 0))
    assert {"keys.json", "shop.live.sqlite", "shop.review.sqlite", "shop.serve"} <= {place.name for place in state.iterdir()}
    carry.compact(run)
    wrong = [str(place.relative_to(state)) for place in state.rglob("*") if place.stat().st_uid != OWNER]
    assert wrong == []


def test_keys_stay_whose_they_were_in_a_folder_of_anothers(tmp_path):
    keys = Keys(tmp_path / "keys.json")
    keys.add("one")
    os.chown(keys.file, OWNER, OWNER)
    keys.revoke("one")
    assert keys.file.stat().st_uid == OWNER and keys.file.stat().st_mode & 0o777 == 0o600
