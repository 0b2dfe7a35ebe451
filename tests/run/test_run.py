"""One real run of the checkerboard shop: what its folder holds, what it answers, how it is edited, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, candidates
from kgrec_core.run import folder as run_folder
from kgrec_core.run.asked import known
from kgrec_core.run.run import Run, open_run


@pytest.fixture(scope="module")
def run(published: Path) -> Run:
    return open_run(published)


def item(id: str, **columns) -> Graph:
    return Graph({"item": pl.DataFrame({"id": [id], **{k: [v] for k, v in columns.items()}})})


def ids(answers) -> list[list[str]]:
    return [[answer.id for answer in of] for of in answers]


# --- the folder -----------------------------------------------------------------------------------------------------
def test_metrics_have_the_promised_shape(run):
    test = run.metrics["tasks"]["buys"]["test"]
    assert {"popularity", "frequency", "neighbours"} <= set(test["floor"])
    assert {"after-before", "after-floor", "after-without_knowledge"} <= set(test["gain"])
    systems = [*test["floor"].values(), *test["gain"].values(), test["before"], test["after"], test["without_knowledge"]]
    for of in systems:
        assert {"ndcg@10", "recall@20", "mrr", "hit_rate@10"} <= set(of)
        for value in of.values():
            assert set(value) == {"mean", "low", "high", "n"}
            assert value["n"] == 12 and value["low"] <= value["mean"] <= value["high"]
    gain, after, before = (test["gain"]["after-before"]["ndcg@10"], test["after"]["ndcg@10"], test["before"]["ndcg@10"])
    assert gain["mean"] == pytest.approx(after["mean"] - before["mean"])
    assert [record["step"] for record in run.history] == [1, 2]
    stages = run.metrics["stages"]
    assert {"training-free floor", "retrieval (before)", "test (after)", "test (without knowledge)", "fine-tuning"} <= set(stages)
    assert all(set(cost) == {"seconds", "cpu", "peak_mb"} and cost["peak_mb"] > 50 for cost in stages.values())


def test_the_folder_is_whole_and_without_pickle(published):
    manifest = json.loads((published / "manifest.json").read_text())
    files = {str(p.relative_to(published)) for p in published.rglob("*") if p.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == files
    assert all(run_folder.checksum(published / name) == known for name, known in manifest["files"].items())
    assert not [f for f in files if Path(f).suffix in (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib")]
    for name in files:  # a pickle of protocol 2 or later starts with 0x80, and torch.save writes a zip
        assert (published / name).read_bytes()[:2] not in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"), name
    assert sorted(p.name for p in published.parent.iterdir()) == ["shop"]  # no lock, working folder or log is left


def test_the_text_tower_loads_without_kgrec(published, run):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(published / "encoder" / "items"), device="cpu")
    graph, ours = run.graph, run.snapshot.model
    items = candidates(graph, run.task())
    names = graph.gather("item", items.rows, "text")["text"].to_list()
    expected = model.encode(names, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(ours.vectors(run.task(), items), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "metrics.json").write_text("{}"), "is damaged: metrics.json is not what fit wrote"),
        (lambda f: next((f / "retrieval").rglob("*.faiss")).unlink(), ".faiss is missing; restore it from a copy or fit again"),
        (lambda f: (f / "manifest.json").write_text("{"), "is no run folder: its manifest.json is missing or damaged"),
        (lambda f: (f / "manifest.json").unlink(), "is no run folder: its manifest.json is missing or damaged"),
        (
            lambda f: (f / "manifest.json").write_text('{"format": 1, "files": {}}'),
            "was written by an older kgrec (format 1, this one reads 2); fit again",
        ),
        (lambda f: (f / "manifest.json").write_text('{"format": 99, "files": {}}'), "was written by a newer kgrec (format 99"),
        (lambda f: f.rename(f.with_name("elsewhere")), "there is no run folder"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_by_name(copy, harm, told):
    harm(copy)
    with pytest.raises(KgrecError) as caught:
        open_run(copy)
    assert told in str(caught.value) and str(copy) in str(caught.value) and "\n" not in str(caught.value)


# --- answers --------------------------------------------------------------------------------------------------------
def test_answers_follow_the_checkerboard(run):
    by_id, by_history, by_text = ids(run.answer(["ruser0", {"history": ["b1", "b2"]}, {"text": "blue"}], k=3))
    assert all(i.startswith("r") for i in by_id)
    assert len(by_history) == len(by_text) == 3
    best = run.answer(["ruser0"], k=1)[0][0]
    assert best.text.startswith("red ") and best.attributes["price"] > 0 and "semantic" in best.columns


def test_filters_and_k(run):
    assert len(run.answer(["ruser0"], k=1000)[0]) == 16
    cheap = run.answer(["ruser0"], k=16, where="price < 3", exclude=["r0"])[0]
    assert sorted(a.id for a in cheap) == ["b0", "b1", "r1"]
    assert run.answer([]) == []


def test_similar_leaves_the_item_itself_out(run):
    found = ids(run.similar(["r0"], k=100))[0]
    assert "r0" not in found and len(found) == 15
    assert len(run.similar(["r0"], k=100, where="price < 3")[0]) == 3


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        ({"queries": ["ruser00"]}, "no user of this run (12 known) is called 'ruser00'; did you mean 'ruser0'?"),
        ({"queries": [{"history": ["r99"]}]}, "no item of this run (16 known) is called 'r99'"),
        ({"queries": ["ruser0"], "exclude": ["zz"]}, "no item of this run (16 known) is called 'zz'"),
        ({"queries": ["ruser0"], "k": 0}, "k = 0 must be at least 1"),
        ({"queries": ["ruser0"], "task": "buy"}, "no task of this run is called 'buy'; did you mean 'buys'?"),
        ({"queries": [{"words": "x"}]}, "no key of a query is called 'words'"),
        ({"queries": [{}]}, "an empty query asks for nothing"),
        ({"queries": [{"text": "\x00\u200b"}]}, "there is nothing in it to read"),
        ({"queries": ["ruser0"], "where": "pric < 5"}, "where = 'pric < 5': 'pric' is no column of item; did you mean 'price'?"),
        ({"queries": ["ruser0"], "where": "price <"}, "where = 'price <': it is no condition"),
        ({"queries": ["ruser0"], "where": "price"}, "'price' is a number and no condition"),
        ({"queries": ["ruser0"], "where": "price < 0"}, "no item is left to choose from"),
        ({"queries": ["ruser0"], "where": "id IN (SELECT id FROM read_csv('/etc/passwd'))"}, "'SELECT' is no column of item"),
        ({"queries": ["ruser0"], "where": "read_csv('/etc/passwd') IS NULL"}, "read_csv (...) is a function or a query"),
    ],
)
def test_bad_questions_are_told_in_one_line(run, ask, told):
    with pytest.raises(KgrecError) as caught:
        run.answer(**ask)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_sixteen_threads_equal_one(run):
    asked = [["ruser0"], [{"text": "blue lamp"}], ["buser1", "ruser2"], [{"history": ["r1", "b2"]}]] * 4
    alone = [run.answer(q, k=5) for q in asked]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda q: run.answer(q, k=5), asked)) == alone


# --- edits ----------------------------------------------------------------------------------------------------------
def test_edits_are_seen_at_once_everywhere_and_after_opening_again(copy):
    one, two = open_run(copy), open_run(copy)
    before = one.answer(["ruser0"], k=16)
    one.add(item("new", text="red teapot", price=2.0))
    for seen in (one, two, open_run(copy)):
        assert "new" in ids(seen.answer(["ruser0"], k=17))[0]
        assert ids(seen.similar(["new"], k=1, where="id = 'r0'"))[0] == ["r0"]
    two.remove("item", ["new"])
    for seen in (one, open_run(copy)):
        assert ids(seen.answer(["ruser0"], k=17)) == ids(before)
    one.add(Graph({"item": pl.DataFrame({"id": ["new"], "until": [None]}, schema={"id": pl.String, "until": pl.Int64})}))
    assert "new" in ids(two.answer(["ruser0"], k=17))[0]
    run_folder.verified(copy)  # the published folder itself never changes


def test_a_forked_child_answers_edits_and_sees_its_parents_edits(copy):
    run = open_run(copy)
    run.answer(["ruser0", {"text": "blue lamp"}], k=3)
    (there, here), (back, forth) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(60)
        alone = ids(run.answer(["ruser0", {"text": "blue lamp", "history": ["b1"]}], k=3, where="price < 9"))
        run.add(item("child", text="red kettle"))
        os.write(here, b".")
        os.read(back, 1)
        seen = ids(run.similar(["parent"], k=17))[0]
        os._exit(0 if len(alone) == 2 and "child" in seen else 1)
    os.read(there, 1)
    assert "child" in ids(run.answer(["ruser0"], k=17))[0]
    run.add(item("parent", text="red tea kettle"))
    os.write(forth, b".")
    assert os.waitpid(child, 0)[1] == 0


def test_what_does_not_fit_is_refused_before_it_is_written(copy):
    run = open_run(copy)
    bad = run.graph.relations[run.task().relation].head(1).drop("time")
    users, items = (run.graph.entities[k].select("id") for k in ("user", "item"))
    with pytest.raises(KgrecError, match="with and without a time"):
        run.add(Graph({"user": users, "item": items}, {run.task().relation: bad}))
    with pytest.raises(KgrecError, match="is called 'nothing'"):
        run.remove("item", ["nothing"])
    assert ids(open_run(copy).answer(["ruser0"], k=16)) == ids(run.answer(["ruser0"], k=16))


def test_the_edits_of_another_run_are_refused(copy):
    open_run(copy).add(item("new", text="red teapot"))
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")  # as if another fit had been published here
    with pytest.raises(KgrecError, match="holds edits of another run"):
        open_run(copy)


def test_the_last_edit_is_taken_back_and_history_is_kept(copy):
    run = open_run(copy)
    known = run.graph.entities["item"]["id"][0]
    text = run.graph.gather("item", run.graph.rows("item", [known]))["text"][0]
    run.add(item(known, text="a green ladder"))
    run.add(item("brand new", text="a red chair that folds"))
    assert "brand new" in ids(run.answer([{"text": "a red chair that folds"}], k=30))[0]
    assert run.undo() == 2
    assert "brand new" not in ids(run.answer([{"text": "a red chair that folds"}], k=30))[0]
    assert run.graph.gather("item", run.graph.rows("item", [known]))["text"][0] == "a green ladder"
    assert run.undo() == 1
    again = open_run(copy)
    assert again.graph.gather("item", again.graph.rows("item", [known]))["text"][0] == text
    assert [(e["number"], e["undoes"]) for e in again.edits()] == [(1, None), (2, None), (3, 2), (4, 1)]
    with pytest.raises(KgrecError, match="no edit to undo"):
        again.undo()
    assert again.add(item("brand new", text="a red chair that folds", until=None)) is None
    assert "brand new" in ids(again.answer([{"text": "a red chair that folds"}], k=30))[0]


def test_ids_come_as_python_has_them(run):
    graph = Graph({"user": pl.DataFrame({"id": ["12", "caf\u00e9"]}), "item": pl.DataFrame({"id": ["3", "4"]})})
    assert (
        known(graph, "user", [12]).tolist()
        == known(graph, "user", np.array([12])).tolist()
        == known(graph, "user", [" 12"]).tolist()
        == [0]
    )
    assert known(graph, "user", np.array([12.0, 12])).tolist() == [0, 0] and known(graph, "user", ["cafe\u0301"]).tolist() == [1]
    right = ids(run.answer([{"id": "ruser0", "history": ["r1"]}], k=3))
    assert ids(run.answer([{"id": " ruser0", "history": ("r1\u00a0",)}], k=3)) == right and run.answer([], k=3) == []


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"queries": "ruser0"}, r"'ruser0' is one query where a list belongs"),
        ({"queries": 12}, r"12 is one query where a list belongs"),
        ({"queries": {"id": "ruser0"}}, "is one query where a list belongs"),
        ({"queries": [None]}, "None is no id"),
        ({"queries": [float("nan")]}, "nan is no id"),
        ({"queries": [["ruser0"]]}, "is no id"),
        ({"queries": [{"history": "r1"}]}, r"history = 'r1': it takes a list of ids"),
        ({"queries": [{"text": 5}]}, "text = 5: it takes words"),
        ({"queries": ["ruser0"], "exclude": "r1"}, "item = 'r1': it takes a list of ids"),
        ({"queries": ["ruser0"], "k": "5"}, "k = '5' must be at least 1"),
    ],
)
def test_one_where_a_list_belongs_and_what_is_no_id_are_refused(run, asked, told):
    with pytest.raises(KgrecError, match=told):
        run.answer(**asked)


def test_one_text_or_one_product_is_no_list_of_them(run):
    with pytest.raises(KgrecError, match="it takes a list of ids"):
        run.similar("r1")
    with pytest.raises(KgrecError, match="is one text where a list belongs"):
        run.probabilities("red mug")


def test_a_text_is_cleaned_as_texts_of_files_are(run):
    right = ids(run.answer([{"text": "blue lamp"}], k=5))
    assert ids(run.answer([{"text": " <b>blue</b>&nbsp; lamp\x00\ud83d"}], k=5)) == right


def test_queries_put_once_are_answered_as_they_are_and_only_of_their_kind(run):
    known_items = run.graph.entities["item"]["id"].to_list()
    queries = [{"history": known_items[:2]}, {"history": known_items[3:4]}]
    put = run.put(queries)
    assert run.judged(put, k=5) == run.judged(queries, k=5) and run.explain(put, k=3) == run.explain(queries, k=3)
    assert np.array_equal(run.encode(None, put), run.encode(None, queries)) and run.answer(run.put([])) == []
    with pytest.raises(KgrecError, match="task buys: user asks, not item; put the queries to this task"):
        run.answer(candidates(run.graph, run.snapshot.tasks[0]))


def test_a_run_may_be_called_by_a_dot(copy, monkeypatch):
    monkeypatch.chdir(copy)
    assert open_run(".").folder == open_run(copy / "encoder" / "..").folder == copy
