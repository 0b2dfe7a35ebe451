"""`recbole` on a world of three films, and on MovieLens-100K."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kgrec_core.data.recbole import Recbole
from kgrec_core.errors import KgrecError
from kgrec_core.graph import Graph, Relation, Task

DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[3] / "shared" / "data"))
SEEN = Relation("user", "interacts", "item")
FILES = {
    "inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t5\t881250949\n2\t11\t2\t881250950\n2\t12\t4\t881250951\n",
    "item": 'item_id:token\ttitle:token_seq\tyear:token\tscore:float\tclass:token_seq\n10\tToy "Story\t1995\t3.5\tComedy Drama\n11\tHeat\t1995\t4\tDrama\n',
    "user": "user_id:token\tjob:token\n1\twriter\n",
    "kg": "head_id:token\trelation_id:token\ttail_id:token\nm.a\tfilm.actor\tm.x\nm.x\tactor.film\tm.a\nm.a\tfilm.sequel\tm.b\nm.x\tknows\tm.y\n",
    "link": "item_id:token\tentity_id:token\n10\tm.a\n11\tm.b\n",
}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    for ending, text in FILES.items():
        (tmp_path / f"films.{ending}").write_text(text)
    return tmp_path


def named(graph: Graph, relation: Relation) -> list[tuple[str, str]]:
    ids = [graph.entities[k]["id"] for k in (relation.source, relation.target)]
    return [(ids[0][s], ids[1][t]) for s, t in graph.relations[relation].select("source", "target").rows()]


def test_atomic_files_become_the_graph_they_describe(films):
    graph, tasks = Recbole(folder=films, name="films", weight="rating").load()
    assert tasks == (Task("interacts", SEEN),)
    assert graph.entities["item"].rows() == [("10", 'Toy "Story', "1995", 3.5), ("11", "Heat", "1995", 4.0), ("12", "", None, None)]
    assert graph.entities["user"].rows() == [("1", "writer"), ("2", None)]
    assert named(graph, SEEN) == [("1", "10"), ("2", "11"), ("2", "12")]
    assert graph.relations[SEEN]["time"][0] == 881250949_000_000
    assert graph.relations[SEEN]["weight"].to_list() == [5.0, 2.0, 4.0]
    assert {str(r): named(graph, r) for r in graph.timeless} == {
        "item-class->class": [("10", "Comedy"), ("10", "Drama"), ("11", "Drama")],
        "item-film.actor->entity": [("10", "m.x")],
        "entity-actor.film->item": [("m.x", "10")],
        "item-film.sequel->item": [("10", "11")],
        "entity-knows->entity": [("m.x", "m.y")],
    }


def test_text_links_and_a_condition_can_be_chosen(films):
    graph = (
        Recbole(folder=films, name="films", where="rating >= 4", text=("title", "class"), links=("year", "job"), relation="likes")
        .load()
        .graph
    )
    assert graph.entities["item"]["text"].to_list() == ['Toy "Story. Comedy Drama', "Heat. Drama", ""]
    assert named(graph, Relation("item", "year", "year")) == [("10", "1995"), ("11", "1995")]
    assert named(graph, Relation("user", "job", "job")) == [("1", "writer")]
    assert named(graph, Relation("user", "likes", "item")) == [("1", "10"), ("2", "12")]


@pytest.mark.parametrize(
    ("ending", "text", "how", "message"),
    [
        ("inter", None, {}, "no RecBole data set in .* is called 'films'; known: none"),
        ("inter", "user_id\titem_id:token\n1\t2\n", {}, 'films.inter row 1: "user_id" is no field; write name:type'),
        ("inter", "user_id:token\tmovie:token\n1\t2\n", {}, "no field of films.inter is called 'item_id'"),
        ("inter", FILES["inter"] + "1\t\t3\t881250949\n", {}, "films.inter row 5: item_id is empty"),
        ("inter", FILES["inter"] + "1\t10\t3\n", {}, "films.inter row 5: 3 fields where the header has 4"),
        ("inter", FILES["inter"] + "1\t10\t3\tsoon\n", {}, 'films.inter row 5: timestamp "soon"'),
        ("item", FILES["item"] + "10\tAgain\t1995\t1\tDrama\n", {}, 'films.item row 4: item_id "10" stands in row 2 too'),
        ("link", None, {}, "films.kg needs films.link"),
        ("user", FILES["user"], {"links": ("genre",)}, "no field of films.item or films.user is called 'genre'"),
        ("user", FILES["user"], {"time": "when"}, "no field of films.inter is called 'when'"),
    ],
)
def test_mistakes_are_told_with_their_place(films, ending, text, how, message):
    path = films / f"films.{ending}"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(KgrecError, match=message):
        Recbole(folder=films, name="films", **how).load()


def test_interactions_alone_are_enough(films):
    for ending in ("item", "user", "kg", "link"):
        (films / f"films.{ending}").unlink()
    (films / "films.inter").write_text("user_id:token\titem_id:token\n1\t10\n1\t11\n")
    graph = Recbole(folder=films, name="films").load().graph
    assert named(graph, SEEN) == [("1", "10"), ("1", "11")] and not graph.dated(SEEN) and not graph.timeless


def test_a_published_split_in_files_of_its_own(films):
    (films / "films.inter").unlink()
    for middle, user in (("train", 1), ("part2", 2)):
        (films / f"films.{middle}.inter").write_text(f"user_id:token\titem_id:token\n{user}\t10\n{user}\t11\n")
    graph = Recbole(folder=films, name="films", parts={"train": "train", "test": "part2"}).load().graph
    assert graph.relations[SEEN]["part"].to_list() == ["train", "train", "test", "test"]
    assert named(graph, SEEN) == [("1", "10"), ("1", "11"), ("2", "10"), ("2", "11")]


@pytest.mark.skipif(not (DATA / "ml100k").is_dir(), reason="the set ml100k is not in KGREC_DATA")
def test_movielens_is_read_whole():
    graph = Recbole(folder=DATA / "ml100k", name="ml-100k", weight="rating").load().graph
    assert (graph.size("user"), graph.size("item"), len(graph.relations[SEEN])) == (943, 1682, 100_000)
    assert graph.size("item") + graph.size("entity") == 34_628 + 1682 - 1598  # linked films are one row with their entity
    triples = {r: len(t) for r, t in graph.relations.items() if "." in r.name}
    assert sum(triples.values()) == 91_631
    assert triples[Relation("item", "film.film.actor", "entity")] == 40_152
    assert graph.gather("item", graph.rows("item", ["1"]), "text")["text"].to_list() == ["Toy Story"]
