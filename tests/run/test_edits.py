"""Edits of a run: refused or whole, in several processes, over a new fit and a compaction, whatever the clock does."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Dataset, Graph
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run import carry
from kgrec_core.run import run as run_module
from kgrec_core.run.carry import compact
from kgrec_core.run.run import Run, open_run

ROOT = Path(__file__).parents[2]


def item(id: str, **columns) -> Graph:
    return Graph({"item": pl.DataFrame({"id": [id], **{k: [v] for k, v in columns.items()}})})


def texts(run: Run) -> dict[str, str]:
    """What is found: id -> text."""
    return {answer.id: answer.text for answer in run.answer(["ruser0"], k=99)[0]}


def test_an_edit_that_the_model_cannot_encode_is_refused_and_nothing_is_written(copy, monkeypatch):
    run = open_run(copy)
    before = texts(run)
    with monkeypatch.context() as patch:
        patch.setattr(run.snapshot.retrievals["buys"].channels["semantic"], "extended", lambda *_: (_ for _ in ()).throw(KgrecError("no")))
        with pytest.raises(KgrecError, match="no"):
            run.add(item("new", text="red teapot"))
    assert run.edits() == [] and texts(run) == texts(open_run(copy)) == before
    run.add(item("new", text="red teapot"))
    assert texts(open_run(copy)) == before | {"new": "red teapot"}


def test_what_is_removed_stays_removed_when_the_clock_steps_back(copy, monkeypatch):
    run, real = open_run(copy), run_module.time.time
    run.remove("item", ["r0"])
    monkeypatch.setattr(run_module.time, "time", lambda: real() - 3600)
    run.remove("item", ["r1"])
    assert not {"r0", "r1"} & texts(run).keys() and not {"r0", "r1"} & texts(open_run(copy)).keys()
    times = [edit["time"] for edit in run.edits()]
    assert times == sorted(set(times))
    run.undo()
    assert "r1" in texts(run) and "r0" not in texts(run)


def test_a_compacted_run_answers_as_before_and_those_that_have_it_open_go_on(copy):
    run, reader = open_run(copy), open_run(copy)
    run.add(item("new", text="red teapot", price=2.5))
    run.remove("item", ["b0"])
    run.add(item("r3", text="a red sofa"))
    asked = ["ruser0", {"text": "red teapot"}, {"history": ["b1"]}]
    before = reader.answer(asked, k=5)
    assert compact(run) == 3
    again = open_run(copy)
    assert again.answer(asked, k=5) == before and again.edits() == [] and json.loads((copy / "manifest.json").read_text())["edits"] == 3
    with pytest.raises(KgrecError, match="has no edit to undo; those up to number 3 were baked in by a compaction"):
        again.undo()
    again.add(item("newer", text="red cup"))
    for seen in (run, reader, again, open_run(copy)):
        assert texts(seen) == texts(again) and texts(seen)["newer"] == "red cup"
    assert again.undo() == 4 and "newer" not in texts(reader)
    assert compact(again) == 2 and compact(open_run(copy)) == 0
    assert texts(open_run(copy)) == texts(reader)
    assert sorted(p.name for p in copy.parent.iterdir()) == ["run", "run.live.sqlite"]


def test_the_command_compacts(copy):
    open_run(copy).add(item("new", text="red teapot"))
    for told in ("1 edits are baked into", "has no edits to bake in"):
        done = CliRunner().invoke(main, ["compact", str(copy)])
        assert done.exit_code == 0 and told in done.output
    assert "new" in texts(open_run(copy))


def test_a_run_with_many_edits_is_compacted_by_itself(copy, monkeypatch):
    monkeypatch.setattr(run_module, "MANY", 3)
    run = open_run(copy)
    for number in range(4):
        run.add(item(f"new{number}", text=f"red thing {number}"))
    assert run._compacting.poll() is None and "new3" in texts(run)  # no edit waits for it
    assert run._compacting.wait(120) == 0
    again = open_run(copy)
    assert again.edits() == [] and texts(again) == texts(run)
    run.add(item("new4", text="red thing 4"))
    assert texts(again) == texts(open_run(copy)) == texts(run) and "new4" in texts(run)
    assert [edit["number"] for edit in again.edits()] == [5]


def test_edits_that_come_during_a_compaction_come_after_it(copy, monkeypatch):
    """However many they are: it is not begun again for them."""
    run, writer, real = open_run(copy), open_run(copy), carry.run_folder.sealed
    run.add(item("new", text="red teapot"))
    writer.add(item("newer", text="red cup"))

    def sealed(*given) -> str:
        writer.add(item("r0", text="a red sofa"))
        assert writer.undo() == 3 and writer.undo() == 2  # what is baked in just now
        writer.add(item("late", text="red kettle"))
        return real(*given)

    monkeypatch.setattr(carry.run_folder, "sealed", sealed)
    assert compact(run) == 2
    again = open_run(copy)
    assert [edit["number"] for edit in again.edits()] == [3, 4, 5, 6]
    assert texts(again) == texts(run) == texts(writer)
    assert texts(again)["late"] == "red kettle" and "new" in texts(again) and "newer" not in texts(again)
    assert again.undo() == 6 and texts(again) == texts(run)
    with pytest.raises(KgrecError, match="has no edit to undo"):
        again.undo()


def test_a_log_that_is_replaced_during_a_compaction_is_told_and_nothing_is_published(copy, monkeypatch):
    run, real = open_run(copy), carry.run_folder.sealed
    run.add(item("new", text="red teapot"))

    def sealed(*given) -> str:
        (copy.parent / "run.live.sqlite").unlink()
        open_run(copy).add(item("other", text="red cup"))
        return real(*given)

    monkeypatch.setattr(carry.run_folder, "sealed", sealed)
    with pytest.raises(KgrecError, match=r"run.live.sqlite was cut or replaced while .*run was compacted; nothing was published"):
        compact(run)
    assert "edits" not in json.loads((copy / "manifest.json").read_text()) and "other" in texts(open_run(copy))


def test_a_compaction_that_cannot_begin_is_told_and_the_edit_is_kept(copy, monkeypatch, caplog):
    monkeypatch.setattr(run_module, "MANY", 1)
    monkeypatch.setattr(carry, "Popen", lambda *_, **__: (_ for _ in ()).throw(OSError("no more processes")))
    run = open_run(copy)
    run.add(item("new", text="red teapot"))
    assert not caplog.records
    run.add(item("newer", text="red cup"))
    assert "was not compacted: no more processes" in caplog.text and {"new", "newer"} <= texts(open_run(copy)).keys()


def test_a_new_fit_carries_the_edits_over(shop, copy):
    run = open_run(copy)
    run.add(item("new", text="red teapot", price=2.5))
    compact(run)
    run.remove("item", ["b0"])
    again = fit(resolve(shop / "shop.toml"), copy)
    assert "new" in texts(again) and "b0" not in texts(again) and len(again.edits()) == 2
    with pytest.raises(KgrecError, match="holds edits of another run in this place; if that was published just now, open the run again"):
        run.add(item("late", text="red cup"))
    assert "late" not in texts(again) and "new" in texts(run)


def test_a_fit_does_not_replace_a_run_that_answers_something_else(copy):
    run = open_run(copy)
    other = Dataset(run.graph, tuple(task._replace(name="answer") for task in run.tasks))
    with pytest.raises(KgrecError, match=r"is a run of buys, which a fit of answer would replace; choose another --run"):
        carry.check_edits(copy, other, {})


def test_a_new_fit_that_the_edits_do_not_fit_is_refused_before_anything_is_done(shop, copy):
    run = open_run(copy)
    run.add(item("new", text="red teapot", price=2.5))
    layer = {"data": {"relations": {"buys": {"time": "none"}}}, "split": {"by": "random", "test": 0.2, "validation": 0.2}}
    run.add(
        Graph(
            {"item": pl.DataFrame({"id": ["new"]}), "user": pl.DataFrame({"id": ["ruser0"]})},
            {
                run.task().relation: pl.DataFrame(
                    {"source": [0], "target": [0], "time": [9]}, schema_overrides={"source": pl.UInt32, "target": pl.UInt32}
                )
            },
        )
    )
    before, stages = texts(run), []
    with pytest.raises(
        KgrecError, match=r"edit 2 does not fit the new data .*; put what the edits bring into the data and move the file away"
    ):
        fit(resolve(shop / "shop.toml", layer), copy, progress=lambda what, done, total: stages.append(what))
    assert set(stages) == {"loading data"} and texts(open_run(copy)) == texts(run) == before


OTHER = """
import json, sys
from kgrec_core.run.run import open_run
import polars as pl
from kgrec_core.graph import Graph
run = open_run(sys.argv[1])
print("open", flush=True)
for line in sys.stdin:
    do, id, text = json.loads(line)
    if do == "add":
        run.add(Graph({"item": pl.DataFrame({"id": [id], "text": [text], "until": [None]}, schema_overrides={"until": pl.Int64})}))
    elif do == "remove":
        run.remove("item", [id])
    elif do == "undo":
        run.undo()
    print(json.dumps({a.id: a.text for a in run.answer(["ruser0"], k=99)[0]}), flush=True)
"""


class Process:
    """A run that another process has open."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-c", OTHER, str(folder)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "open\n"

    def __call__(self, do: str, id: str = "", text: str = "") -> dict[str, str]:
        self.process.stdin.write(json.dumps([do, id, text]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def here(run: Run, do: str, id: str = "", text: str = "") -> dict[str, str]:
    if do == "add":
        run.add(Graph({"item": pl.DataFrame({"id": [id], "text": [text], "until": [None]}, schema_overrides={"until": pl.Int64})}))
    elif do == "remove":
        run.remove("item", [id])
    elif do == "undo":
        run.undo()
    return texts(run)


@pytest.fixture(scope="module")
def shared(published: Path) -> Iterator[tuple[Path, Process]]:
    """One run for all examples: a log grows over all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(published, Path(name) / "run"))
        other = Process(folder)
        yield folder, other
        other.process.kill()
        other.process.wait()


steps = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["n0", "n1", "r0", "b3"]), st.sampled_from(["red one", "blue two", "green three"])),
    st.tuples(st.just("remove"), st.sampled_from(["r0", "r1", "b3"]), st.just("")),
    st.tuples(st.just("undo"), st.just(""), st.just("")),
    st.tuples(st.just("reopen"), st.just(""), st.just("")),
)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(steps, st.booleans()), max_size=12))
def test_edits_of_two_processes_equal_a_model(shared, sequence):
    folder, other = shared
    mine = open_run(folder)
    states = [texts(mine)]  # what is found after each edit that is not undone
    undoable = 0
    for (do, id, text), elsewhere in sequence:
        if do == "undo" and not undoable:
            continue
        if do == "reopen":
            mine = open_run(folder)
        elif elsewhere:
            found = other(do, id, text)
        else:
            found = here(mine, do, id, text)
        if do == "undo":
            states.pop()
            undoable -= 1
        elif do != "reopen":
            states.append({**states[-1], id: text} if do == "add" else {k: v for k, v in states[-1].items() if k != id})
            undoable += 1
        for seen in (texts(mine), other("look"), *([found] if do != "reopen" else [])):
            assert seen == states[-1]
