"""Every fusion: before training the text's vector, without a graph too; learns; a newcomer has its vector at once; saved without pickle."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from kgrec_core.encoder.attention import Attention
from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.fusion import Fusion
from kgrec_core.encoder.gate import Gate
from kgrec_core.encoder.history import History
from kgrec_core.encoder.kge import Kge
from kgrec_core.encoder.propagate import Propagate
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.encoder.verbalize import Verbalize
from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY, Graph, Nodes, Ragged, Relation, candidates
from kgrec_core.interfaces import Encoder
from kgrec_core.recipe.registry import Registry, load
from kgrec_core.testing import BUYS, HAS, check_encoder, checkerboard


def text() -> Tfidf:
    return Tfidf(width=8)


FUSIONS = {  # each as it is used
    "gate": lambda: Gate(text=text(), entity=Kge(width=8, epochs=20)),
    "verbalize": lambda: Verbalize(text=text()),
    "attention": lambda: Attention(text=text()),
    "attention, two hops": lambda: Attention(text=text(), entity=Kge(width=6, epochs=20), hops=2, sample=4),
    "propagate": lambda: Propagate(text=text()),
}
LEARNED = [name for name in FUSIONS if name != "verbalize"]  # which reads the graph before anything is learned


def of(make, graph=None, tasks=None):
    known, asked = checkerboard()
    graph, tasks = graph or known, tasks or asked
    encoder = make()
    encoder.prepare(graph, tasks)
    encoder.refresh(graph)
    return encoder.eval(), graph, tasks


def taught(make):
    """A fusion whose own weights are no longer as they began."""
    encoder, graph, tasks = of(make)
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for tensor in encoder._own().values():
            tensor += 0.3 * torch.randn(tensor.shape, generator=random)
    encoder.refresh(graph)
    return encoder, graph, tasks


def test_all_are_here():
    known = {c.name: load(c, "encoder") for c in Registry.discover().components("encoder").values()}
    assert {name for name, part in known.items() if issubclass(part, Fusion)} - {"auto"} == {n.partition(",")[0] for n in FUSIONS}


@pytest.mark.parametrize("name", LEARNED)
def test_what_has_learned_nothing_gives_the_texts_vector(name):
    encoder, graph, tasks = of(FUSIONS[name])
    items = candidates(graph, tasks[0])
    torch.testing.assert_close(encoder(items), encoder.text(items))
    assert encoder.dim == 8 and encoder.blocks == encoder.text.blocks


@pytest.mark.parametrize("name", LEARNED)
def test_what_has_learned_gives_another_and_passes_the_kit(name):
    encoder, graph, tasks = taught(FUSIONS[name])
    items = candidates(graph, tasks[0])
    with torch.no_grad():
        assert not torch.allclose(encoder(items), encoder.text(items), atol=1e-3)
        torch.testing.assert_close(encoder(items).norm(dim=1), encoder.text(items).norm(dim=1))

    class Taught(type(encoder)):
        def assemble(self, settings):
            super().assemble(settings)
            with torch.no_grad():
                for tensor, learned in zip(self._own().values(), encoder._own().values(), strict=True):
                    tensor.copy_(learned)

    def made():
        fusion = FUSIONS[name]()
        fusion.__class__ = Taught
        return fusion

    check_encoder(made)
    check_encoder(lambda: History(items=made(), last=6))


@pytest.mark.parametrize("name", LEARNED)
def test_without_a_graph_the_text_stays(name):
    encoder, graph, tasks = taught(FUSIONS[name])
    bare = graph.with_edges({relation: table.clear() for relation, table in graph.relations.items()})
    other, _, _ = of(FUSIONS[name], bare, tasks)
    with torch.no_grad():
        for tensor, learned in zip(other._own().values(), encoder._own().values(), strict=True):
            tensor.copy_(learned)
    other.refresh(bare)
    items = candidates(bare, tasks[0])
    torch.testing.assert_close(other(items), other.text(items))


@pytest.mark.parametrize("name", ["gate", "attention, two hops"])
def test_it_learns_what_the_text_does_not_say(name):
    """Items whose texts are all alike, of two colours."""
    world, tasks = checkerboard()
    items = world.entities["item"].with_columns(text=pl.lit("a chair ") + pl.Series([f"n{i % 3}" for i in range(12)]))
    graph = Graph({**world.entities, "item": items}, dict(world.relations), world.timeless)
    encoder, _, _ = of(FUSIONS[name], graph, tasks)
    whole = History(items=encoder)
    whole.prepare(graph, tasks)
    learning = [p for p in whole.parameters() if p.requires_grad]
    optimizer, found = torch.optim.Adam(learning, 0.03), candidates(graph, tasks[0])
    users = Nodes(graph, "user", np.arange(24), "query", before=np.full(24, 2 * DAY + 100))
    right = torch.arange(24)[:, None] % 2 == torch.arange(12)[None] % 2
    for _ in range(60):
        whole.refresh(graph)
        whole.train()
        scores = whole(users) @ whole(found).T
        loss = torch.nn.functional.binary_cross_entropy_with_logits(8 * scores, right.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((scores > scores.mean()) == right).float().mean() > 0.8


@pytest.mark.parametrize("name", [name for name in LEARNED if name != "propagate"])
def test_a_newcomer_is_fused_at_once(name):
    encoder, graph, _ = taught(FUSIONS[name])
    red = pl.DataFrame({"source": [0], "target": [0]}).cast(pl.UInt32)
    delta = Graph({"item": pl.DataFrame({"id": ["new"], "text": ["a chair"]}), "colour": pl.DataFrame({"id": ["red"]})}, {HAS: red})
    joined = graph.join(delta)
    encoder.refresh(joined, {"item": np.array([12])})
    new = Nodes(joined, "item", np.array([12]), "candidate")
    with torch.no_grad():
        assert not torch.allclose(encoder(new), encoder.text(new), atol=1e-3)


@pytest.mark.parametrize("name", FUSIONS)
def test_a_damaged_folder_is_refused(name, tmp_path):
    encoder, _, _ = of(FUSIONS[name])
    encoder.save(tmp_path)
    (tmp_path / "fusion.safetensors").write_bytes(b"no weights")
    with pytest.raises(KgrecError, match="damaged"):
        FUSIONS[name]().load(tmp_path)
    (tmp_path / "fusion.json").unlink()
    with pytest.raises(KgrecError, match="damaged"):
        FUSIONS[name]().load(tmp_path)


def test_without_a_language_model_the_rest_stays():
    class Model(Tfidf):
        language_model = True

    kge = Kge(width=8)
    assert Gate(text=text(), entity=kge).without_language_model().entity is kge
    assert Gate(text=Model(), entity=kge).without_language_model() is kge
    both = Concat(encoders={"meaning": Model(), "words": text()})
    left = Verbalize(text=both, facts=3).without_language_model()
    assert isinstance(left, Verbalize) and list(left.text.encoders) == ["words"] and left.facts == 3
    assert Verbalize(text=Model()).without_language_model() is None
    assert Kge(text=Model(), epochs=3).without_language_model().epochs == 3


# --- kge ------------------------------------------------------------------------------------------------------------
def test_entities_of_one_colour_lie_together_and_a_newcomer_with_them():
    encoder, graph, tasks = of(lambda: Kge(width=8, epochs=60, scorer="rotate"))
    delta = Graph(
        {"item": pl.DataFrame({"id": ["new", "bare"]}), "colour": pl.DataFrame({"id": ["red"]})},
        {HAS: pl.DataFrame({"source": [0], "target": [0]}).cast(pl.UInt32)},
    )
    joined = graph.join(delta)
    vectors = encoder(candidates(joined, tasks[0])).numpy()
    alike = vectors @ vectors.T
    assert alike[0, 2:12:2].min() > alike[0, 1:12:2].max()
    assert alike[12, 0:12:2].min() > alike[12, 1:12:2].max() and not vectors[13].any()


def test_behaviours_are_relations_where_that_is_asked_for():
    graph, _ = checkerboard()
    for wanted in (False, True):
        encoder, _, _ = of(lambda wanted=wanted: Kge(width=8, epochs=1, behaviours=wanted))
        users = Nodes(graph, "user", np.arange(8), "query", before=np.zeros(8, np.int64))
        assert bool(encoder(users).any()) == wanted and (BUYS in encoder.relations_) == wanted


def test_a_text_places_who_has_no_edge():
    encoder, graph, tasks = of(lambda: Kge(width=8, epochs=60, scorer="rotate", text=text()))
    joined = graph.join(Graph({"item": pl.DataFrame({"id": ["new"], "text": ["red chair"]})}))
    vectors = encoder(candidates(joined, tasks[0])).numpy()
    assert (vectors[12] @ vectors[0:12:2].T).mean() > (vectors[12] @ vectors[1:12:2].T).mean()


def test_wrong_settings_are_told():
    graph, tasks = checkerboard()
    with pytest.raises(KgrecError, match="width = 7 must be even"):
        Kge(width=7).prepare(graph, tasks)
    with pytest.raises(KgrecError, match=r"relations = \['brnad'\] are not in the graph's knowledge, which has has"):
        Kge(relations=("brnad",)).prepare(graph, tasks)
    with pytest.raises(KgrecError, match="lead to no texts in the graph; those that do: has"):
        Verbalize(text=text(), relations=("brnad",)).prepare(graph, tasks)
    with pytest.raises(KgrecError, match="reads no texts"):
        Verbalize(text=Kge()).prepare(graph, tasks)


# --- verbalize ------------------------------------------------------------------------------------------------------
MADE = Relation("item", "made_by", "maker")


@pytest.fixture
def shop():
    """Three chairs of one maker, one of a rare one; every item has a colour, only two have a maker."""
    entities = {
        "user": pl.DataFrame({"id": ["u"]}),
        "item": pl.DataFrame({"id": list("abcd"), "text": ["chair", "stool", None, "bench"]}),
        "colour": pl.DataFrame({"id": ["r", "g"], "text": ["red", "green"]}),
        "maker": pl.DataFrame({"id": ["x", "y"], "text": ["Ajax", None]}),
    }
    edges = {
        BUYS: pl.DataFrame({"source": [0], "target": [0], "time": [1]}).cast({"source": pl.UInt32, "target": pl.UInt32}),
        HAS: pl.DataFrame({"source": [0, 1, 2, 3, 0], "target": [0, 0, 0, 0, 1]}).cast(pl.UInt32),
        MADE: pl.DataFrame({"source": [0, 1], "target": [0, 1]}).cast(pl.UInt32),
    }
    return Graph(entities, edges, frozenset({HAS, MADE})), checkerboard()[1]


def told(graph, tasks, **settings):
    encoder = Verbalize(text=text(), **settings)
    encoder.prepare(graph, tasks)
    every = candidates(graph, tasks[0])
    return encoder._told(every, [t or "" for t in graph.entities["item"]["text"].to_list()], encoder.text)


def test_the_most_telling_facts_come_first_and_within_the_tokens(shop):
    graph, tasks = shop
    assert told(graph, tasks) == ["chair; has: green; made by: Ajax; has: red", "stool; has: red", "", "bench; has: red"]
    assert told(graph, tasks, facts=1)[0] == "chair; has: green"
    assert told(graph, tasks, tokens=3)[0] == "chair; has: green"
    assert told(graph, tasks, relations=("made_by",)) == ["chair; made by: Ajax", "stool", "", "bench"]


def test_what_is_hardly_sure_is_told_last_and_hardly_looked_at(shop):
    graph, tasks = shop
    doubted = graph.relations[HAS].with_columns(weight=pl.Series([1.0, 1.0, 1.0, 1.0, 0.01]))
    graph = graph.with_edges({**graph.relations, HAS: doubted}, graph.as_of)
    assert told(graph, tasks)[0] == "chair; made by: Ajax; has: red; has: green"
    encoder, _, _ = of(lambda: Attention(text=text(), relations=("has",)), graph, tasks)
    met = encoder._sampled(candidates(graph, tasks[0]).take([0]), encoder.relations_)
    assert dict(zip(met.rows.tolist(), met.weight.tolist(), strict=True)) == {0: 1.0, 1: 0.01}
    with torch.no_grad():
        one = torch.eye(2)[torch.from_numpy(met.rows)]
        encoder.query_, encoder.relation_ = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.zeros(2, 2))
        shares = encoder._attended(torch.ones(1, 2), met, one)
    torch.testing.assert_close(shares, torch.tensor([[1 / 1.01, 0.01 / 1.01]]))


def test_no_more_is_told_than_the_model_reads(shop):
    class Short(Tfidf):
        longest = 6

    graph, tasks = shop
    encoder = Verbalize(text=Short(width=4))
    encoder.prepare(graph, tasks)
    assert encoder._told(candidates(graph, tasks[0]).take([0]), ["chair"], encoder.text) == ["chair; has: green"]


def test_words_of_facts_are_words_of_the_item(shop):
    graph, tasks = shop
    encoder, _, _ = of(lambda: Verbalize(text=text()), graph, tasks)
    assert {"ajax", "green"} <= set(encoder.text.words_) and encoder.reads_knowledge and not encoder.text.reads_knowledge
    red, bench = encoder(candidates(graph, tasks[0]))[[1, 3]]
    plain, _, _ = of(text, graph, tasks)
    stool, other = plain(candidates(graph, tasks[0]))[[1, 3]]
    assert red @ bench > stool @ other + 0.1


# --- propagate ------------------------------------------------------------------------------------------------------
class Own(Encoder):
    """A dimension for every user and every item."""

    dim = 36

    def prepare(self, graph, tasks):
        """Nothing to learn."""

    def forward(self, nodes):
        return torch.eye(36)[torch.from_numpy(nodes.rows + 24 * (nodes.kind == "item"))]


def reached(encoder, nodes, steps):
    return [set(np.flatnonzero(row).tolist()) for row in encoder._spread(nodes, steps).numpy()]


def bought(graph, before=None):
    table = graph.relations[BUYS] if before is None else graph.relations[BUYS].filter(pl.col("time") < before)
    return set(zip(table["source"].to_list(), table["target"].to_list(), strict=True))


def spread(edges, item, without=()):
    """Who bought it, and what these bought."""
    people = {u for u, i in edges if i == item} - set(without)
    return people, {24 + i for u, i in edges if u in people}


@pytest.mark.parametrize("hidden", [0, 8])
def test_a_batchs_own_edges_are_dropped_first(hidden):
    encoder, graph, _ = of(lambda: Propagate(text=Own()))
    items = Nodes(graph, "item", np.arange(12), "candidate", hide={BUYS: Ragged.of(np.array([0]), np.array([hidden]), 12)})
    for item in range(12):
        people, things = spread(bought(graph), item, [hidden] if item == 0 else [])
        assert reached(encoder, items, 1)[item] == people and reached(encoder, items, 2)[item] == things
    assert hidden not in reached(encoder, items, 1)[0] and hidden in reached(encoder, items, 1)[{0: 2, 8: 8}[hidden]]
    moment = 2 * DAY + 5
    early = Nodes(graph, "item", np.arange(12), "candidate", np.full(12, moment))
    assert reached(encoder, early, 2) == [spread(bought(graph, moment), item)[1] for item in range(12)]


def test_what_the_same_people_choose_lies_together():
    encoder, graph, tasks = of(lambda: Propagate(text=Own()))
    with torch.no_grad():
        encoder.shares_.copy_(torch.tensor([0.0, 1.0]))
        vectors = encoder(candidates(graph, tasks[0])).numpy()
    alike = vectors @ vectors.T
    assert alike[0, 2] > 0.2 and abs(alike[::2, 1::2]).max() == 0
    torch.testing.assert_close(torch.from_numpy(vectors).norm(dim=1), torch.ones(12))
    assert encoder.reads_edges and not encoder.reads_knowledge


# --- attention ------------------------------------------------------------------------------------------------------
def test_the_rarest_neighbours_are_looked_at_and_a_second_hop_reaches_further(shop):
    graph, tasks = shop
    one, two = (of(lambda hops=hops: Attention(text=text(), hops=hops, sample=2), graph, tasks)[0] for hops in (1, 2))
    items = candidates(graph, tasks[0])
    met = one._sampled(items, one.relations_)
    first = [(one.relations_[r].name, row) for o, r, row in zip(met.owner, met.relation, met.rows, strict=True) if o == 0]
    assert first == [("has", 1), ("made_by", 0)], "red is what every item has"
    assert one.reads_knowledge and not one.deeper_.requires_grad and two.deeper_.requires_grad
    with torch.no_grad():
        plain = two._vectors(graph, "colour", np.array([0]), 2)
        two.deeper_.fill_(1.0)
        assert not torch.allclose(plain, two._vectors(graph, "colour", np.array([0]), 2)), "red has seen what is red"


def test_weights_of_neighbours_sum_to_one():
    encoder, graph, tasks = of(lambda: Attention(text=Own(), entity=Own()))
    items = candidates(graph, tasks[0])
    met = encoder._sampled(items, encoder.relations_)
    vectors, place = encoder._neighbours(graph, met, 1)
    with torch.no_grad():
        torch.testing.assert_close(encoder._attended(encoder.text(items), met, vectors[place]).sum(1), torch.ones(12))
