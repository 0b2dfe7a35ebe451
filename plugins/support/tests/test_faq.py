"""An FAQ in any form that teams keep: its answers, the questions beside them, when and where an entry holds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_support.assembly import ANSWERED_BY, IN_CATEGORY
from kgrec_support.data import Support
from kgrec_support.faq import as_cell, in_cell

from kgrec_core import KgrecError, Split, candidates
from kgrec_core.domain import split

HEAD = "question,answer"


def test_faq_in_either_form(write, links):
    rows = write("a.csv", "id,question,answer,category", "1,Where is it?,Here.,Shop", "1,Where are you?,,", "2,When?,Now.,Time")
    entries = write("b.csv", "Frage;Antwort;variants;Topic", "Where is it?;Here.;Where are you?| Where is it?;Shop", "When?;Now.;;Time")
    one, other = (
        Support(faq=rows).load(),
        Support(faq=entries, columns={"question": "Frage", "answer": "Antwort"}).load(),
    )
    for dataset in (one, other):
        assert links(dataset, ANSWERED_BY) == {("Where is it?", "Here."), ("Where are you?", "Here."), ("When?", "Now.")}
        assert links(dataset, IN_CATEGORY) == {("Here.", "Shop"), ("Now.", "Time")}
        assert IN_CATEGORY in dataset.graph.timeless and ANSWERED_BY not in dataset.graph.timeless
        (task,) = dataset.tasks
        assert (task.name, task.relation, task.repeats) == ("answer", ANSWERED_BY, True)
    assert one.graph.entities["answer"]["id"].to_list() == ["1", "2"]
    assert set(one.graph.entities["question"]["id"]) == set(other.graph.entities["question"]["id"]), "ids depend on the text alone"


def test_answers_without_ids_are_named_by_their_text(write):
    first = Support(faq=write("a.csv", HEAD, "Where?,Here.", "When?,Now.", "Where is it?,Here.")).load().graph.entities["answer"]
    second = Support(faq=write("b.csv", HEAD, "New?,Yes.", "Where?,Here.")).load().graph.entities["answer"]
    assert len(first) == 2
    assert first.filter(pl.col("text") == "Here.")["id"].item() == second.filter(pl.col("text") == "Here.")["id"].item()


def test_two_answers_for_one_id(write, links):
    with pytest.raises(KgrecError, match=r'faq.csv row 4: id "7" has another answer in row 2; give each answer an id of its own') as fault:
        Support(faq=write("faq.csv", "id,question,answer", "7,Where?,Here.", "8,When?,Now.", "7,Why?,There.")).load()
    assert "\n" not in str(fault.value)
    both = write("b.csv", "id,question,answer,lang", "7,Where?,Here.,en", "7,哪里?,这里。,zh_CN")
    with pytest.raises(KgrecError, match=r'or choose one locale: data.locale = "en"'):
        Support(faq=both).load()
    assert links(Support(faq=both, locale="zh-CN").load(), ANSWERED_BY) == {("哪里?", "这里。")}


def test_a_question_with_two_answers_has_both(write, links):
    """A contradiction is for a person to settle, not for an import to hide."""
    dataset = Support(faq=write("faq.csv", HEAD, "Where?,Here.", "Where?,There.")).load()
    assert links(dataset, ANSWERED_BY) == {("Where?", "Here."), ("Where?", "There.")} and dataset.graph.size("question") == 1


@pytest.mark.parametrize("empty", ["", "   ", "<br>", "\x07", "<script>alert(1)</script>"])
def test_empty_question(write, empty):
    with pytest.raises(KgrecError, match=r"faq.csv row 3: question is empty \(1 such rows\); fill it"):
        Support(faq=write("faq.csv", HEAD, "Where?,Here.", f'"{empty}",Now.')).load()


def test_what_is_empty_is_left_out_where_that_is_wanted(write, links):
    faq = write("faq.csv", "id," + HEAD, "a,Where?,Here.", "b,,Now.", "c,Who am I?,", "a,Whither?,", "d,When?,Soon.")
    intents = write("intents.csv", "text,label", "hello,greet", ",greet", "bye,", "ciao,leave")
    data = Support(faq=faq, intents=intents, empty="drop")
    dataset = data.load()
    assert links(dataset, ANSWERED_BY) == {("Where?", "Here."), ("Whither?", "Here."), ("When?", "Soon.")}
    assert data.summary_.files["faq.csv"]["empty"] == 2 and data.summary_.files["intents.csv"]["empty"] == 2
    with pytest.raises(KgrecError, match=r'fill it, or set data.empty = "drop": they are left out, or "keep"'):
        Support(faq=faq).load()


def test_empty_answer(write):
    path = write("faq.csv", HEAD, "Where?,Here.", "Who am I?,")
    with pytest.raises(KgrecError, match=r"row 3: answer is empty"):
        Support(faq=path).load()
    graph = Support(faq=path, empty="keep").load().graph
    assert graph.relations[ANSWERED_BY]["target"].to_list() == [0, None], "nothing is right: out of scope"


VARIANTS = ["When will my parcel come?", "Has my order been shipped?", "track my parcel"]


@pytest.mark.parametrize("joined", ["|".join(VARIANTS), "\n".join(VARIANTS), "\n".join(f"{n}. {v}" for n, v in enumerate(VARIANTS, 1)),
                                    ";".join(VARIANTS), "；".join(VARIANTS), json.dumps(VARIANTS)])  # fmt: skip
def test_variants_in_a_cell_are_as_many_questions(tmp_path, joined):
    path = tmp_path / "faq.csv"
    pl.DataFrame({"question": ["Where is my parcel?"], "variants": [joined], "answer": ["On its way."]}).write_csv(path)
    assert Support(faq=path).load().graph.entities["question"]["text"].to_list() == ["Where is my parcel?", *VARIANTS]


def test_a_semicolon_that_may_belong_to_a_question_is_no_guess(write):
    with pytest.raises(KgrecError, match=r'faq.csv row 2: variants "I paid; where is it\?" holds a ";"'):
        Support(faq=write("faq.csv", "question,variants,answer", "Where?,I paid; where is it?,Here.")).load()
    one = Support(
        faq=write("b.csv", "question,variants,answer", 'Where?,"[""I paid; where is it?"", ""a|b""]",Here.', "Who?,AT&amp;T plans,We.")
    ).load()
    assert one.graph.entities["question"]["text"].to_list() == ["Where?", "I paid; where is it?", "a|b", "Who?", "AT&T plans"]


@given(
    st.lists(
        st.text(st.sampled_from('ab|;[]",\n? \\'), min_size=1, max_size=8).filter(lambda t: " ".join(t.split()) == t),
        max_size=4,
        unique=True,
    )
)
def test_any_questions_come_back_from_the_cell_they_are_written_to(texts):
    assert not texts or in_cell(as_cell(texts)) == texts


def test_expired_entries_are_never_found(write, links):
    path = write("faq.csv", "question,answer,valid_from,valid_until", "Old?,Gone.,2020-01-01,2021-12-31", "New?,Here.,2020-01-01,",
                 "Soon?,Later.,2999-01-01,")  # fmt: skip
    dataset = Support(faq=path).load()
    graph, (task,) = dataset
    assert graph.gather("answer", candidates(graph, task).rows, "text")["text"].to_list() == ["Here."]
    assert links(dataset, ANSWERED_BY) == {("New?", "Here."), ("Soon?", "Later.")}, "nobody is asked for what cannot be found"
    until = pl.from_epoch(graph.entities["answer"]["until"], "us")
    assert str(until[0]) == "2022-01-01 00:00:00", "the last day counts to its end"
    with pytest.raises(KgrecError, match=r"b.csv row 2: valid_from is not before valid_until"):
        Support(faq=write("b.csv", "question,answer,valid_from,valid_until", "Old?,Gone.,2022-01-01,2021-12-31")).load()
    with pytest.raises(KgrecError, match=r'c.csv row 2: valid_until "31/12/2021" is no time'):
        Support(faq=write("c.csv", "question,answer,valid_until", "Old?,Gone.,31/12/2021")).load()
    assert Support(faq=write("d.csv", "question,answer,valid_until", "Old?,Gone.,31/12/2021"), time_format="%d/%m/%Y").load()


def test_one_row(write, links):
    dataset = Support(faq=write("faq.csv", HEAD, "Where?,Here.")).load()
    assert links(dataset, ANSWERED_BY) == {("Where?", "Here.")}
    with pytest.raises(KgrecError, match=r"part of task answer is empty"):
        split(dataset, Split(by="random", group="group"))


def test_traditional_chinese_faq(real, tmp_path):
    entries = json.loads((real("esun_bank_faq_zh") / "pid_map_content.json").read_text(encoding="utf-8"))
    with (tmp_path / "faq.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["編號", "問題", "答案"])
        for pid, entry in entries.items():
            text = "\n".join(dict.fromkeys(answer for part in entry for answer in part["answers"]))
            rows.writerows([pid, part["question"], text] for part in entry)
    graph = Support(faq=tmp_path / "faq.csv").load().graph
    assert graph.size("answer") == 617 and graph.entities["answer"]["id"][0] == "0"
    assert (
        graph.size("question") == len({part["question"] for entry in entries.values() for part in entry} | set())
        or graph.size("question") > 1_500
    )
    assert "ATM" in graph.entities["entity"]["text"].to_list()


def test_ids_do_not_depend_on_the_file(tmp_path: Path):
    for name in ("faq.parquet", "faq.jsonl"):
        table = pl.DataFrame({"id": [1, 2], "question": [["Where?", "Whither?"], ["When?"]], "answer": ["Here.", "Now."]})
        table.write_parquet(tmp_path / name) if name.endswith("parquet") else table.write_ndjson(tmp_path / name)
        graph = Support(faq=tmp_path / name).load().graph
        assert graph.entities["answer"]["id"].to_list() == ["1", "2"] and graph.size("question") == 3
