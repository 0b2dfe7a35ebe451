"""Every word of `kgrec support` as a process: what it prints, what it keeps, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import kgrec_support
import pytest
from click.testing import CliRunner
from kgrec_support.__main__ import main
from kgrec_support.assembly import ANSWERED_BY
from kgrec_support.data import Support

from kgrec_core import open_run

WORDS = (
    *("recipe", "fit", "evaluate", "report", "demo", "ask", "chat"),
    *("add", "edit", "remove", "list", "undo", "review", "feedback", "recalibrate"),
)
FAQ = """id,question,variants,answer,category,valid_until
parcel,Where is my parcel?,When will my parcel arrive?|Has my order been shipped?|track my parcel,Your order {order_id} is on its way.,Delivery,
sunday,Do you deliver on Sundays?,Sunday delivery?|Is there delivery at the weekend?|do parcels come on saturday,Only from Monday to Saturday.,Delivery,
return,How do I return something?,Can I send an item back?|I do not want it any more|return policy,Send it back within 30 days.,Returns,
refund,When do I get my refund?,Where is my money?|refund not received|how long does a refund take,Five working days after we have the parcel.,Returns,
pay,How can I pay?,Which cards do you take?|Can I pay by invoice?|payment methods,By card or invoice.,Payment,
gift,Do you wrap gifts?,gift wrapping|Can you write a card for me?|Is it possible to wrap it as a present,"Yes, for two euros.",Payment,2099-12-31
"""


def test_importing_the_plugin_imports_nothing_heavy():
    code = (
        "import sys, kgrec_support.__main__; print([m for m in ('torch', 'transformers', 'faiss', 'polars', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_help_names_every_word_and_each_has_an_example(kgrec, tmp_path):
    listed = kgrec("--help", cwd=tmp_path).out
    for word in WORDS:
        assert f"  {word} " in listed
        shown = CliRunner().invoke(main, [word, "--help"]).stdout
        assert "Example: kgrec " in shown and ("--json" in shown or word == "report"), word


def test_an_own_faq_from_file_to_edited_table(kgrec, place, quick, tmp_path):
    """fit --faq and chat as processes; ask, add and list --out; and what was written and judged is read by the next fit."""
    (tmp_path / "faq.csv").write_text(FAQ)
    done = kgrec("fit", "--run", "shop", "--faq", "faq.csv", "train.steps=1", *quick[:3], cwd=tmp_path)
    assert done.code == 0, done.err
    assert "budget 3%: answers from P = 0.970 on, by what was right elsewhere" in done.out
    shop = place(tmp_path, tmp_path / "shop")
    reply = json.loads(shop.ask("ask", "Do you deliver on Sundays", "--json").out)
    assert reply["outcome"] == "answer" and reply["answers"][0]["id"] == "sunday"
    unknown = shop.ask("ask", "What is the capital of Peru?").out
    assert unknown.startswith("hand over: ") and " is needed; the nearest known question is 0." in unknown and "  nearest: " in unknown
    turned = shop.ask("ask", "Do you not deliver on Sundays?").out
    assert turned.startswith("hand over: ") and "But it is negated and the entry's questions are not." in turned
    chat = shop.process("chat", "--json", text="Where is my parcel?\n\nAB-77\nhow can i pay\n")
    first, second, third = map(json.loads, chat.out.splitlines())
    assert (
        first["missing"] == ["order_id"] and second["text"] == "Your order AB-77 is on its way." and third["text"] == "By card or invoice."
    )
    assert shop.ask("add", "Where is my invoice?", "In your account.", "--id", "invoice", "--variant", "a|b?").code == 0
    assert "In your account." in shop.ask("ask", "Where is my invoice?").out
    assert "7 entries written" in shop.ask("list", "--out", "new.csv").out
    (tmp_path / "thumbs.jsonl").write_text(json.dumps({"time": 1, "question": "zorb?", "answer_id": "gift", "verdict": "up"}) + "\n")
    again = Support(faq=tmp_path / "new.csv", feedback=tmp_path / "thumbs.jsonl").load().graph
    assert set(again.entities["answer"]["id"]) == {"parcel", "sunday", "return", "refund", "pay", "gift", "invoice"}
    assert {"Where is my invoice?", "a|b?"} < set(again.entities["question"]["text"]), "a bar parts nothing"
    until = dict(again.entities["answer"].select("id", "until").iter_rows())
    assert until["gift"] == Support(faq=tmp_path / "faq.csv").load().graph.entities["answer"]["until"].max() and until["pay"] is None
    row = again.rows("question", again.entities["question"].filter(text="zorb?")["id"].to_list())
    assert again.gather("answer", again.adjacent(ANSWERED_BY, row).rows, "id")["id"].to_list() == ["gift"]


def test_every_editing_word_as_a_process(bank):
    said = bank.process("ask", "Please activate my new card", "--budget", "0.2", "--context", "hello", "--compose")
    assert said.code == 0 and "why: " in said.out and "intent: activate_my_card" in said.out, said.err
    reader = open_run(bank.run)  # open all the while: it sees what other processes write
    assert bank.process("add", "Do you sell pizza?", "No.", "--variant", "pizza?", "--id", "pizza").out.startswith(
        "pizza: 2 questions added"
    )
    assert kgrec_support.ask(reader, "pizza?").text == "No."
    assert bank.process("edit", "pizza", "--answer", "Not yet.", "--question", "pasta?").out.startswith("pizza: 1 question added")
    assert kgrec_support.ask(reader, "pasta?").text == "Not yet."
    assert "3" in bank.process("list", "pizza").out.splitlines()[1]
    assert bank.process("remove", "pizza").out == "removed: pizza\n" and kgrec_support.ask(reader, "pasta?").text != "Not yet."
    number = reader.edits()[-1]["number"]
    assert bank.process("undo").out == f"edit {number} is taken back\n" and kgrec_support.ask(reader, "pasta?").text == "Not yet."
    assert f"takes back {number}" in bank.ask("list", "--history").out
    assert bank.process("recalibrate").out.startswith("budget 3%: ")


def test_upkeep_as_a_process(bank):
    for question in ("Do you sell sourdough bread?", "do you sell bread"):
        bank.ask("ask", f"{question} call me on 13812345678", "--budget", "0.001")
    logged = [json.loads(line) for line in bank.run.with_name("run.asked.jsonl").read_text().splitlines()]
    assert len(logged) == 2 and logged[0]["answer_id"] is None and "13812345678" not in str(logged)
    bank.ask("ask", "secret", "--no-log")
    shown = bank.process("review")
    assert shown.code == 0 and "Asked in vain: 1" in shown.out and "secret" not in shown.out, shown.err
    lines = [
        {
            "time": 1,
            "question": "is bread sold",
            "answer_id": "age_limit",
            "verdict": "correct",
            "correct_answer_id": "apple_pay_or_google_pay",
        },
        {"time": 2, "question": "x", "answer_id": "nobody", "verdict": "up"},
    ]
    (bank.folder / "thumbs.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\nno json\n")
    taken = bank.process("feedback", "thumbs.jsonl")
    assert taken.out.startswith("2 taken, 1 questions") and taken.out.count("left out: ") == 2
    found = json.loads(bank.ask("ask", "is bread sold", "--json").out)["found"]
    assert found[0]["id"] == "apple_pay_or_google_pay", "a correction is found at once"
    assert json.loads(bank.ask("feedback", "thumbs.jsonl", "--json").out)["taken"] == 0, "not taken twice"
    assert bank.ask("evaluate", "--run", bank.run).code == 0
    (bank.folder / "new.csv").write_text("text,label\nHow many years old must my daughter be?,age_limit\nIs bread sold,nothing\n")
    scored = bank.ask("evaluate", "--run", bank.run, "--data", "new.csv")
    assert "encoder after" in scored.out and "intent, left out: 1 unknown targets" in scored.out, "new questions are asked by their text"
    assert bank.ask("report").code == 0 and (bank.run / "report.html").exists()


def test_json_of_every_editing_word(bank):
    added = json.loads(bank.ask("add", "pizza?", "No.", "--id", "p", "--category", "Food", "--locale", "en", "--json").out)
    assert added == {"id": "p", "new": ["pizza?"], "known": []}
    assert json.loads(bank.ask("edit", "p", "--question", "pizza?", "--json").out) == {"id": "p", "new": [], "known": ["pizza?"]}
    assert [e["category"] for e in json.loads(bank.ask("list", "p", "pizza?", "--json").out)] == ["Food"]
    assert json.loads(bank.ask("remove", "p", "--json").out) == ["p"]
    gone = json.loads(bank.ask("list", "--history", "--json").out)[-1]["number"]
    assert json.loads(bank.ask("undo", "--json").out) == gone
    assert len(json.loads(bank.ask("list", "--history", "--json").out)) == 3
    assert set(json.loads(bank.ask("review", "--json").out)) >= {"duplicates", "never_hit", "unanswered"}
    assert set(json.loads(bank.ask("recalibrate", "--json").out)) == {"0.03", "0.05", "0.1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "", "No."], "the question has no readable word"),
        (["add", "New?", "Another", "--id", "age_limit"], 'id "age_limit" has another answer'),
        (["edit", "age_limt", "--answer", "x"], "did you mean 'age_limit'"),
        (["remove", "nobody"], "no answer of this run"),
        (["undo"], "has no edit to undo"),
        (["feedback", "absent.jsonl"], "there is no file absent.jsonl"),
        (["ask", "card", "--run", "absent"], "there is no run folder absent"),
        (["ask", "card", "--endpoint", "http://localhost:1"], "--endpoint needs the name of its model"),
        (["ask", "card", "--where", "locale = 'xx'"], "no answer is left"),
        (["list", "--out", "absent/faq.csv"], "absent/faq.csv cannot be written"),
        (["fit", "--run", "x", "--locale", "en"], "belong to your own files"),
        (["fit", "--run", "x", "--faq", "absent.csv"], "absent.csv"),
        (["fit", "--run", "x", "--faq", "one.csv"], "split"),
        (["fit", "--run", "x", "--faq", "twice.csv"], 'id "a" has another answer in row 2'),
        (["demo", "data.per_clas=1"], "did you mean 'per_class'"),
        (["aks"], "did you mean 'ask'"),
    ],
)
def test_mistakes_are_one_line(bank, words, said):
    (bank.folder / "one.csv").write_text("question,answer\nWhere?,Here.\n")
    (bank.folder / "twice.csv").write_text("id,question,answer\na,Where?,Here.\na,When?,Now.\n")
    done = bank.ask(*words)
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 2 and done.out == "" and "Traceback" not in done.err
    assert len(lines) == 1 and said in lines[0]


def test_demo(tmp_path, kgrec, quick):
    done = kgrec("demo", "data.intents=4", "data.per_class=3", "train.steps=1", *quick, cwd=tmp_path)
    assert done.code == 0, done.err
    for word in (
        "Published for answer: ",
        "Published for intent: ",
        "> My new card still has not arrived",
        "why: ",
        "run folder: runs/demo",
        "next: kgrec support ask",
    ):
        assert word in done.out
    assert (tmp_path / "runs" / "demo" / "metrics.json").exists()


def test_questions_that_somebody_has_labelled_since_are_learned(bank, write):
    run = open_run(bank.run)
    task, graph = run.task("intent"), run.graph
    edges = graph.relations[task.relation].drop_nulls().unique("target", maintain_order=True)
    texts = graph.gather(task.relation.source, edges["source"].to_numpy(), "text")["text"]
    labels = graph.gather(task.relation.target, edges["target"].to_numpy(), "id")["id"]
    lines = [f'"once more, {text.replace(chr(34), "")} thanks",{label}' for text, label in zip(texts, labels, strict=True)]
    done = bank.ask("update", "--data", write("answered.csv", "text,label", *lines), "--json")
    found = json.loads(done.out)
    assert done.code == 0 and found["learned"]["intent"] > 5, done.err
    assert set(found["figures"]["intent"]["old"]["test"]) == set(found["figures"]["intent"]["new"]["test"]) == {"before", "after", "gain"}
    assert found["published"] is found["reason"].startswith("not worse: ")
    assert found["folder"] == f"{bank.run}{'' if found['published'] else '.update'}"
    assert open_run(found["folder"]).graph.size(task.relation.source) > graph.size(task.relation.source)
