"""The sources of a recipe: applied before the split, kept in the run, applied again to what comes later; what is no knowledge is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from kgrec_core import Dataset, Graph, KgrecError, Relation, Source, Task, open_run
from kgrec_core.knowledge.build import build, grown
from kgrec_core.knowledge.delta import delta
from kgrec_core.lifecycle.held_out import evaluate_again
from kgrec_core.loading import loaded
from kgrec_core.pipeline import fit
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry
from kgrec_core.run.carry import compact

LIGHT = {"encoder": {"items": {"use": "tfidf"}}, "train": {"epochs": 0}, "retrieval": {"buys": {"use": "popular"}}}
COLOUR = Relation("item", "has_colour", "colour")
BUYS = Task("buys", Relation("user", "buys", "item"))


def with_attributes(shop):
    return resolve(shop / "shop.toml", LIGHT, {"knowledge": {"attributes": {"use": "attributes"}}})


def told(graph, relation, id):
    found = graph.adjacent(relation, graph.rows(relation.source, [id]))
    return sorted(graph.gather(relation.target, found.rows, "id")["id"])


class Fixed(Source):
    """Gives what it was made with, and remembers what it was shown."""

    def __init__(self, *edges: tuple[Relation, list[tuple[str, str]]]) -> None:
        self.edges, self.seen = dict(edges), []

    def read(self, graph, rows=None):
        self.seen.append((graph, rows))
        tables = {r: pl.DataFrame(e, {"source": pl.String, "target": pl.String}, orient="row") for r, e in self.edges.items()}
        return delta(tables, known=graph)


def small(**relations):
    entities = {
        "item": pl.DataFrame({"id": ["a", "b", "c"], "text": ["red mug", "blue mug", "red cup"]}),
        "user": pl.DataFrame({"id": ["u", "v"]}),
    }
    buys = pl.DataFrame(
        {"source": [0, 0, 1], "target": [0, 1, 2], "time": [1, 2, 3]}, {"source": pl.UInt32, "target": pl.UInt32, "time": pl.Int64}
    )
    return Dataset(Graph(entities, {BUYS.relation: buys}), (BUYS,))


def test_a_layer_adds_and_takes_away_a_source(shop):
    recipe, registry = with_attributes(shop), Registry.discover()
    dataset, _, sources, found = loaded(recipe, registry)
    assert told(dataset.graph, COLOUR, "r3") == ["red"] and COLOUR in dataset.graph.timeless
    assert found["attributes"]["relations"][str(COLOUR)]["coverage"] == 1.0 and list(sources) == ["attributes"]
    without = resolve(
        shop / "shop.toml", LIGHT, {"knowledge": {"attributes": {"use": "attributes"}}}, {"knowledge": {"attributes": {"use": "none"}}}
    )
    assert COLOUR not in loaded(without, registry).dataset.graph.relations
    with pytest.raises(KgrecError, match=r"no key of \[knowledge.attributes\] is called 'min_coutn'; did you mean 'min_count'"):
        loaded(resolve(shop / "shop.toml", {"knowledge": {"attributes": {"use": "attributes", "min_coutn": 3}}}), registry)
    with pytest.raises(KgrecError, match=r"called 'itme'; did you mean 'item'\?.*; correct knowledge\.mine\.of"):
        loaded(resolve(shop / "shop.toml", {"knowledge": {"mine": {"use": "attributes", "of": "itme"}}}), registry)
    with pytest.raises(KgrecError, match="no knowledge is called 'atributes'; did you mean 'attributes'"):
        loaded(resolve(shop / "shop.toml", {"knowledge": {"x": {"use": "atributes"}}}), registry)


def test_a_run_knows_newcomers_attributes_at_once_and_after_a_compaction(shop, tmp_path):
    run = fit(with_attributes(shop), tmp_path / "run")
    assert (tmp_path / "run/knowledge/sources/attributes/attributes.json").is_file()
    assert evaluate_again(run)["again"]["buys"]["differs"] == []
    run.add(Graph({"item": pl.DataFrame({"id": ["new"], "text": ["blue glass lamp"], "price": [3.0]})}))
    material = Relation("item", "has_material", "material")
    for again in (run, open_run(tmp_path / "run")):
        assert told(again.graph, COLOUR, "new") == ["blue"] and told(again.graph, material, "new") == ["glass"]
        assert told(again.graph, Relation("item", "has_type", "type"), "new") == ["lamp"]
    assert run.graph.size("colour") == 2, "the blue that the run has"
    compact(run)
    again = open_run(tmp_path / "run")
    assert told(again.graph, COLOUR, "new") == ["blue"]
    again.add(Graph({"item": pl.DataFrame({"id": ["late"], "text": ["red bowl"], "price": [3.0]})}))
    assert told(again.graph, COLOUR, "late") == ["red"]


def test_a_damaged_source_is_refused_by_name(shop, tmp_path):
    source = next(iter(with_attributes(shop).knowledge(Registry.discover()).values()))
    (tmp_path / "attributes.json").write_text('{"heads": 3}')
    with pytest.raises(KgrecError, match=r"attributes.json is damaged .*restore the run"):
        source.load(tmp_path)


def test_a_source_sees_neither_behaviour_nor_dated_edges():
    dataset, source = small(), Fixed((COLOUR, [("a", "red")]))
    built, _ = build(dataset, {"one": source, "two": source})
    assert [list(graph.relations) for graph, _ in source.seen] == [[], [COLOUR]]
    assert set(built.graph.relations) == {BUYS.relation, COLOUR}


def test_a_delta_is_not_told_twice_and_costs_only_its_rows():
    source = Fixed((COLOUR, [("a", "red")]))
    built, _ = build(small(), {"one": source})
    more = grown(
        built.graph, Graph({"item": pl.DataFrame({"id": ["d", "a"], "text": ["green cup", "red mug"]})}), {"one": source}, built.tasks
    )
    graph, rows = source.seen[-1]
    assert graph.gather("item", rows["item"], "id")["id"].to_list() == ["d", "a"]
    assert len(more.relations[COLOUR]) == 0, "a-red is known"
    only_named = Graph({"item": pl.DataFrame({"id": ["a"]})})
    assert grown(built.graph, only_named, {"one": source}, built.tasks) is only_named


@pytest.mark.parametrize(
    ("relation", "edges", "said"),
    [
        (
            Relation("item", "for", "user"),
            [("a", "u"), ("b", "u"), ("c", "v")],
            "item-for->user is the target of task buys in disguise: 3 of its 3 edges",
        ),
        (BUYS.relation, [("u", "a")], "which task buys predicts"),
    ],
)
def test_what_a_task_predicts_is_no_knowledge(relation, edges, said):
    with pytest.raises(KgrecError, match=said):
        build(small(), {"one": Fixed((relation, edges))})


def test_a_disguise_can_be_allowed_and_a_column_that_tells_the_class_is_one():
    entities = {"text": pl.DataFrame({"id": [f"t{i}" for i in range(40)]}), "label": pl.DataFrame({"id": ["good", "bad"]})}
    rows = np.arange(40, dtype=np.uint32)
    says = Task("says", Relation("text", "says", "label"))
    graph = Graph(entities, {says.relation: pl.DataFrame({"source": rows, "target": rows % 2})})
    mood = Relation("text", "mood", "mood")
    tells, half = [(f"t{i}", "+-"[i % 2]) for i in range(40)], [(f"t{i}", "+-"[i // 20]) for i in range(40)]
    with pytest.raises(KgrecError, match=r"\[knowledge.one\]: text-mood->mood is the target of task says in disguise.*--allow-leak"):
        build(Dataset(graph, (says,)), {"one": Fixed((mood, tells))})
    build(Dataset(graph, (says,)), {"one": Fixed((mood, half))})
    built, _ = build(Dataset(graph, (says,)), {"one": Fixed((mood, tells))}, allow_leak=True)
    assert mood in built.graph.relations


def test_self_loops_are_left_out_and_counted_and_dates_refused():
    like = Relation("item", "like", "item")
    built, found = build(small(), {"one": Fixed((like, [("a", "a"), ("a", "b")]))})
    assert len(built.graph.relations[like]) == 1 and found["one"]["relations"][str(like)]["self_loops"] == 1

    class Dated(Fixed):
        def read(self, graph, rows=None):
            found = super().read(graph, rows)
            return replace(found, relations={r: t.with_columns(time=pl.lit(1, pl.Int64)) for r, t in found.relations.items()})

    with pytest.raises(KgrecError, match=r"\[knowledge.one\] gives item-like->item with times; knowledge is timeless"):
        build(small(), {"one": Dated((like, [("a", "b")]))})


def test_a_hierarchy_that_goes_round_is_refused_by_its_members():
    parent = Relation("category", "parent", "category")
    with pytest.raises(
        KgrecError, match=r"\[knowledge.one\]: category-parent->category goes round in a circle: (x > y > z|y > z > x|z > x > y)"
    ):
        build(small(), {"one": Fixed((parent, [("w", "x"), ("x", "y"), ("y", "z"), ("z", "x")]))})
    built, _ = build(small(), {"one": Fixed((parent, [("w", "x"), ("x", "y"), ("w", "y")]))})
    assert len(built.graph.relations[parent]) == 3


def test_what_a_source_raises_is_one_line_with_its_name():
    class Raises(Source):
        def read(self, graph, rows=None):
            raise ZeroDivisionError("nothing to divide")

    with pytest.raises(KgrecError, match=r"\[knowledge.mine\]: ZeroDivisionError: nothing to divide \(test_build.py line \d+\)"):
        build(small(), {"mine": Raises()})
