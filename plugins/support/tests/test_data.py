"""`support` reads what support teams have together, and says where a file is wrong."""

from __future__ import annotations

import pytest
from kgrec_support.assembly import ANSWERED_BY, HAS_INTENT, MENTIONS, readable
from kgrec_support.data import Support

from kgrec_core import KgrecError, Split
from kgrec_core.domain import Registry, resolve, split, whole
from kgrec_core.testing import check_data

HEAD = "question,answer"


def test_locales(write, links):
    faq = write("faq.csv", "question,answer,language", "Where?,Here.,en", "哪里?,这里。,zh-TW", "ATM?,ATM.,")
    assert links(Support(faq=faq, locale="zh_tw").load(), ANSWERED_BY) == {("哪里?", "这里。"), ("ATM?", "ATM.")}
    with pytest.raises(KgrecError, match=r"no locale is called 'fr'; known: en, zh-tw; correct data.locale"):
        Support(faq=faq, locale="fr").load()
    with pytest.raises(KgrecError, match=r"no file has a column `locale`; leave data.locale out"):
        Support(faq=write("b.csv", HEAD, "Where?,Here."), locale="en").load()
    intents = write("intents.csv", "text,label,locale", "Where?,place,en")
    dataset = Support(faq=faq, intents=intents, locale="zh-tw").load()
    assert [task.name for task in dataset.tasks] == ["answer"], "no intent in that locale"


def test_files_that_cannot_be_read(write, tmp_path):
    with pytest.raises(KgrecError, match=r"faq.csv line 2: byte 0xe9 at offset \d+ is not UTF-8; save the file as UTF-8"):
        Support(faq=write("faq.csv", HEAD, "Café?,Oui.", encoding="latin-1")).load()
    with pytest.raises(KgrecError, match=r'columns.question = "..."; columns: Frage, Antwort'):
        Support(faq=write("b.csv", "Frage,Antwort", "Wo?,Hier.")).load()
    with pytest.raises(KgrecError, match=r"no column is called 'qestion'; did you mean 'question'"):
        Support(faq=write("c.csv", HEAD, "Wo?,Hier."), columns={"qestion": "question"}).load()
    with pytest.raises(KgrecError, match=r'data.columns.question = "Frag" is no column of d.csv; did you mean .Frage'):
        Support(faq=write("d.csv", "Frage,answer", "Wo?,Hier."), columns={"question": "Frag"}).load()
    with pytest.raises(KgrecError, match=r"no file in .* is called 'e.csv'"):
        Support(faq=tmp_path / "e.csv").load()
    with pytest.raises(KgrecError, match=r"set one of data.faq, data.intents, data.dialogues"):
        Support().load()


def test_mentions(write, links):
    faq = write("faq.csv", HEAD, "a?,Use Apple Pay or the XR-500 here.", "b?,Apple Pay works. So does PayPal.", "c?,Send the xr-500 back to {Order ID} 1E8A16D5795C42D9926A5D358701BE20",
                "d?,Ask PayPal on the 21st. 1E8A16D5795C42D9926A5D358701BE20")  # fmt: skip
    dataset = Support(faq=faq).load()
    assert {thing for _, thing in links(dataset, MENTIONS)} == {"Apple Pay", "XR-500", "PayPal"}
    assert ("Apple Pay works. So does PayPal.", "Apple Pay") in links(dataset, MENTIONS)
    assert MENTIONS in dataset.graph.timeless
    assert MENTIONS not in Support(faq=faq, mentions=False).load().graph.relations


def test_intents(write, links):
    path = write("intents.csv", "utterance,intent,split", "Where is it?,card_arrival,train", "Where IS it?,card_arrival,dev", "Lost!,LostCard,test",
                 "Bye,goodbye,")  # fmt: skip
    dataset = Support(intents=path).load()
    assert links(dataset, HAS_INTENT) == {
        ("Where is it?", "card arrival"),
        ("Where IS it?", "card arrival"),
        ("Lost!", "Lost Card"),
        ("Bye", "goodbye"),
    }
    questions = dataset.graph.entities["question"]
    assert questions["split"].to_list() == ["train", "validation", "test", None]
    assert questions["group"].to_list() == ["0", "0", "1", "2"], "case does not make two questions"
    assert [task.name for task in dataset.tasks] == ["intent"]
    with pytest.raises(KgrecError, match=r'b.csv row 2: split "held" is no part; write train, validation or test'):
        Support(intents=write("b.csv", "text,label,split", "Where?,a,held")).load()
    with pytest.raises(KgrecError, match=r"c.csv row 3: label is empty"):
        Support(intents=write("c.csv", "text,label", "Where?,a", "Why?,")).load()


def test_equal_texts_in_two_parts_are_held_out(write, caplog):
    path = write("intents.csv", "text,label,split", "Where?,place,train", "Where?,place,test", "When?,time,train", "Why?,reason,validation")
    questions = Support(intents=path).load().graph.entities["question"]
    assert dict(questions.select("text", "split").iter_rows()) == {"Where?": "test", "When?": "train", "Why?": "validation"}
    assert "1 questions stand in several parts" in caplog.text


def test_readable():
    assert [readable(label) for label in ("card_arrival", "TopUpFailed", "a/b-c?", "___")] == [
        "card arrival",
        "Top Up Failed",
        "a b c?",
        "___",
    ]


def test_conformance(write, log):
    faq = write("faq.csv", "question,answer,category", *(f"Question {i}?,The answer {i % 3} of the XR-500.,c{i % 2}" for i in range(9)))
    intents = write("intents.csv", "text,label", *(f"Question {i}?,label_{i % 2}" for i in range(9)))
    check_data(lambda: Support(faq=faq, intents=intents, dialogues=log))
    dataset = Support(faq=faq, intents=intents).load()
    assert [task.name for task in dataset.tasks] == ["answer", "intent"]
    assert dataset.graph.size("question") == 9, "a question of two files is one"


def test_known_answers_stay_in_the_ranking(write):
    """A question may have a known answer and one that is held out; the known one must not be out of reach when it is asked again."""
    faq = write("faq.csv", HEAD, *(f"Question {i}?,Answer {i} {part}." for i in range(30) for part in ("one", "two", "three")))
    dataset = Support(faq=faq).load()
    test = split(dataset, Split(by="random", test=0.34, validation=0.3))["test"].queries["answer"]
    assert len(test.nodes) and test.nodes.read(ANSWERED_BY).counts.any(), "some know an answer already"
    assert whole(test, dataset.tasks[0]).exclude is None


def test_labelled(write, log):
    faq = write("faq.csv", "id,question,answer", "7,Track?,It is on its way to you", "8,When?,Soon.")
    part = Support(faq=faq, intents=write("intents.csv", "text,label", "Track?,track"))
    known = part.load().graph
    new = part.labelled(
        "answered_by", write("new.csv", "question,answer", "Track?,It is on its way to you!", "Hm?,Soon.", "Who?,Nobody.", "Why?,")
    )
    assert new["text"].to_list() == ["Track?", "Hm?", "Who?", "Why?"] and new.columns == ["source", "target", "text"]
    assert known.rows("question", new["source"]).tolist() == [0, -1, -1, -1]
    assert known.rows("answer", [t or "" for t in new["target"]]).tolist() == [0, 1, -1, -1] and new["target"][3] is None
    assert part.labelled("answered_by", write("ids.csv", "question,id", "Hm?,8", "Why?,"))["target"].to_list() == ["8", None]
    assert part.labelled("answered_by", log)["target"].to_list().count("7") == 3
    assert part.labelled("has_intent", write("i.csv", "text,label", "Hm?,track", "Why?,"))["target"].to_list() == ["track", None]
    with pytest.raises(KgrecError, match=r"known: answered_by, has_intent"):
        part.labelled("mentions", faq)


def test_in_a_recipe(write, tmp_path, links):
    write("faq.csv", "Frage,answer", "Wo?,Hier.")
    (tmp_path / "r.toml").write_text('[data]\nuse = "support"\nfaq = "faq.csv"\ncolumns = { question = "Frage" }\nlocale = "none"\n')
    assert links(resolve(tmp_path / "r.toml").data(Registry.discover()).load(), ANSWERED_BY) == {("Wo?", "Hier.")}
