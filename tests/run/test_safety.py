"""What may be shown: rules and decisions hold in every verb, at once and after the next fit, and never by mistake."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

import kgrec_core
from kgrec_core.cli.review import review as command
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph
from kgrec_core.run import safety
from kgrec_core.run.decisions import Decisions, fingerprint
from kgrec_core.run.policy import named
from kgrec_core.run.review import decide, decided, export, queue
from kgrec_core.run.safety import _word

RULES = """
[block]
ids = ["r0"]
words = ["lamp"]
[hold]
words = ["CHAIR"]
where = "price = 8"
[age]
column = "price"
others = 6
callers = { kids = 3 }
"""


@pytest.fixture(scope="module")
def opened(published: Path, tmp_path_factory: pytest.TempPathFactory):
    """A run under rules, opened once; what was decided is cleared by each test that decides."""
    folder = Path(shutil.copytree(published, tmp_path_factory.mktemp("safe") / "run"))
    folder.with_name("run.safety.toml").write_text(RULES)
    return kgrec_core.open_run(folder)


@pytest.fixture
def run(opened):
    yield opened
    opened.folder.with_name("run.review.sqlite").unlink(missing_ok=True)
    opened.folder.with_name("run.safety.toml").write_text(RULES)


def shown(snapshot) -> set[str]:
    """Everything that it answers, to whatever is asked."""
    lists = [
        *snapshot.answer(["ruser0"], k=50),
        *snapshot.similar(["r2"], k=50),
        *(of.answers for of in snapshot.judged([{"text": "red"}], k=50)),
    ]
    why = snapshot.explain(["ruser0"], k=50)[0]
    assert {of.item.id for of in why} <= {answer.id for answer in lists[0]}
    lists += [[node for path in of.paths for node in path.nodes if node.kind == "item"] for of in why]  # it bought what may not be named
    return {answer.id for answers in lists for answer in answers}


def test_what_is_blocked_held_or_for_older_people_is_in_no_answer(run):
    found = shown(run.snapshot)  # 0 blocked, 1 lamp, 3 chair, 7 costs 8; for the others' age 6: prices to 6
    assert found == {f"{colour}{n}" for colour in "rb" for n in (0, 2, 4, 5)} - {"r0"}
    assert shown(replace(run.snapshot, caller="kids")) == {"b0", "r2", "b2"}
    assert [(of.id, of.why) for of in queue(run.snapshot)] == [
        ("r3", "the word chair"),
        ("r7", "price = 8"),
        ("b3", "the word chair"),
        ("b7", "price = 8"),
    ]
    with pytest.raises(KgrecError, match="hold back all that the question leaves"):
        run.answer(["ruser0"], where="price = 8")


def test_an_edit_or_a_decision_is_judged_by_itself(run, monkeypatch, tmp_path):
    """Words of the whole catalogue are looked through once; then only of what came or changed. The result is as if anew."""
    copy = kgrec_core.open_run(Path(shutil.copytree(run.folder, tmp_path / "run")))
    (tmp_path / "run.safety.toml").write_text(RULES)
    rows, judged = [], safety._judged
    monkeypatch.setattr(safety, "_judged", lambda table, *given: rows.append(len(table)) or judged(table, *given))
    size = len(shown(copy.snapshot)) and copy.graph.size("item")
    told = {"id": ["n1", "n2", "r2"], "text": ["a red lamp", "a red chair", "red chair 2"], "price": [1.0, 1.0, 2.0]}
    copy.add(Graph({"item": pl.DataFrame(told)}, {}))
    decide(copy.snapshot, ["n2", "b3"], "allow", by="jo")
    found = shown(copy.snapshot)
    assert "n1" not in found and "r2" not in found and {"n2", "b3"} <= found
    assert rows[0] == size and max(rows[1:]) == 3
    again = kgrec_core.open_run(copy.folder)
    assert shown(again.snapshot) == found and queue(again.snapshot) == queue(copy.snapshot)


def test_a_decision_holds_at_once_in_other_processes_and_after_another_fit(run, published):
    other = kgrec_core.open_run(run.folder)
    decide(run.snapshot, ["r3", "r2"], "allow", by="jo", why="harmless")
    decide(run.snapshot, ["r2", "b2"], "block", by="jo")
    assert {"r3"} <= shown(other.snapshot) and not {"r2", "b2"} & shown(other.snapshot)
    assert [of.id for of in queue(other.snapshot)] == ["r7", "b3", "b7"]
    decide(run.snapshot, ["b2"], "open", by="jo")
    assert "b2" in shown(other.snapshot) and [of.verdict for of in decided(run.snapshot)] == ["block", "allow"]
    shutil.rmtree(run.folder)
    shutil.copytree(published, run.folder)
    assert not {"r2", "r0"} & shown(kgrec_core.open_run(run.folder).snapshot)


def test_a_file_that_found_no_room_for_the_first_decision_is_no_damage(tmp_path):
    of = Decisions(tmp_path / "none.review.sqlite")
    of.file.touch()
    assert of.latest() == {} and of.scores("model") == {}
    of.decide({"a": "red"}, "allow", "me")
    assert of.latest()["a"].verdict == "allow"


def test_a_text_that_changes_waits_again(run):
    decide(run.snapshot, ["r3"], "allow", by="jo")
    assert "r3" in shown(run.snapshot)
    import polars as pl

    run.add(kgrec_core.Graph({"item": pl.DataFrame({"id": ["r3"], "text": ["red chair of nails"]})}))
    assert "r3" not in shown(run.snapshot) and "r3" in {of.id for of in queue(run.snapshot)}
    run.undo()


def test_a_classifier_holds_what_it_has_not_seen(run):
    run.folder.with_name("run.safety.toml").write_text('[classifier]\nrun = "run"\nlabel = "bad"\nblock = 0.9\nhold = 0.5')
    safety = run.snapshot.safety
    assert len(queue(run.snapshot)) == 16 and "--scan" in queue(run.snapshot)[0].why
    texts = run.graph.entities["item"]["text"].to_list()
    safety.decisions.score(
        named(safety.state.rules), {fingerprint(text): 0.1 for text in texts} | {fingerprint("red mug"): 0.95, fingerprint("red bowl"): 0.6}
    )
    assert [(of.id, of.why) for of in queue(run.snapshot)] == [("r2", "bad 0.60")] and shown(run.snapshot) == {
        f"{colour}{n}" for colour in "rb" for n in range(8)
    } - {"r0", "r2"}


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ("[blok]", "did you mean 'block'"),
        ("[block]\nwrods = ['a']", "did you mean 'words'"),
        ("[block]\nwords = 'a'", "words of [block] takes a list of texts"),
        ("[block]\nwhere = 3", "takes an SQL condition"),
        ("[age]\nothers = 3", "[age] takes column"),
        ("[age]\ncolumn = 'price'\ncallers = 3", "[age] takes column"),
        ("[age]\ncolumn = 'price'\nothers = nan", "others = nan is no age"),
        ("[age]\ncolumn = 'price'\ncallers = { kids = 'twelve' }", "kids = 'twelve' is no age"),
        ("[age]\ncolumn = 'price'\ncallers = { kids = -1 }", "kids = -1 is no age"),
        ("[age]\ncolumn = 'price'\ncallers = { '' = 12 }", "others"),
        ("[age]\ncolumn = 'price'", "others"),
        ("[classifier]\nrun = 'run'\nlabel = 'y'\nblock = 0.5\nhold = 0.9", "hold = 0.9 is above block = 0.5"),
        ("[classifier]\nrun = 'x'", "[classifier] takes run and label"),
        ("[classifier]\nrun = 'x'\nlabel = 'y'", "is no run"),
        ("hold = 3", "hold takes a table"),
        ("[", "cannot be read"),
    ],
)
def test_faulty_rules_are_refused_by_name_and_those_of_before_stay(run, rules, told):
    file = run.folder.with_name("run.safety.toml")
    file.write_text(rules)
    with pytest.raises(KgrecError) as error:
        kgrec_core.open_run(run.folder)
    assert told in str(error.value) and "\n" not in str(error.value)
    assert "r0" not in shown(run.snapshot)


def test_words_are_whole_in_letters_and_anywhere_in_chinese():
    import re

    assert [bool(re.search(_word("ass"), text, re.I)) for text in ("glass", "Ass!", "an ass")] == [False, True, True]
    assert re.search(_word("酒"), "一瓶白酒送人") and re.search(_word("C++"), "C++ book")


def test_the_command_decides_lists_and_exports(run, tmp_path):
    def ask(*words: str):
        done = CliRunner().invoke(command, [str(run.folder), *words])
        return done.output if done.exception is None else str(done.exception)

    assert "r3" in ask() and "the word chair" in ask()
    assert "r3" not in ask("--allow", "r3", "--why", "=fine", "--by", "jo")
    assert "nobody" not in ask("--decided") and "jo" in ask("--decided")
    assert "1 decisions written" in ask("--out", str(tmp_path / "d.csv")) and "'=fine" in (tmp_path / "d.csv").read_text()
    assert "no item of this run" in ask("--block", "zz") and "choose one" in ask("--block", "r3", "--allow", "r3")
    assert export(run.snapshot, tmp_path / "e.csv") == 1
