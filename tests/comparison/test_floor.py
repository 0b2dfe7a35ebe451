"""Variants and the floor, on worlds whose right answer is known beforehand."""

import numpy as np
import polars as pl
import pytest

from kgrec_core.comparison.floor import Floor, Method, methods
from kgrec_core.errors import KgrecError
from kgrec_core.evaluation.rank_tables import chain_hits
from kgrec_core.evaluation.variants import cold, cold_alone, new_only, repeat_only, whole
from kgrec_core.graph import DAY, Dataset, Graph, Nodes, Queries, Ragged, Relation, Task, View, candidates
from kgrec_core.model import Silent
from kgrec_core.retrieval.cooccurrence import Cooccurrence
from kgrec_core.retrieval.lexical import Lexical
from kgrec_core.retrieval.merge import Merge
from kgrec_core.retrieval.popular import Popular
from kgrec_core.retrieval.repeat import Repeat
from kgrec_core.split import Split, split

BUYS, MADE_BY = Relation("user", "buys", "item"), Relation("item", "made_by", "brand")


def edges(source, target, time=None):
    columns = {"source": source, "target": target} | ({} if time is None else {"time": time})
    return pl.DataFrame(columns, {c: pl.Int64 if c == "time" else pl.UInt32 for c in columns})


def ids(n, **columns):
    return pl.DataFrame({"id": [str(i) for i in range(n)], **columns})


def checkerboard(users=40, items=20, **columns):
    """Even users buy even items, odd users odd ones: all of them but one, in an order of their own."""
    draw = np.random.default_rng(0)
    bought = [(u, i, t) for u in range(users) for t, i in enumerate(draw.permutation(np.arange(u % 2, items, 2))[:-1])]
    source, target, time = map(list, zip(*bought, strict=True))
    return Graph({"user": ids(users), "item": ids(items, **columns)}, {BUYS: edges(source, target, time)})


def views(graph, task, **how):
    return split(Dataset(graph, (task,)), Split(**how))


def measured(of, task, metrics, without=(), case=whole, **how):
    return Floor(of["select"], of["test"], task, of=methods(of["select"].graph, task, without), **how).measure(case, metrics)


def test_cooccurrence_knows_the_colour_of_the_checkerboard():
    task = Task("buys", BUYS)
    of = views(checkerboard(), task, by="last")
    floor = measured(of, task, ["hit_rate@2", "ndcg@10"])
    assert floor.settings["neighbours"]["weights"] == {"cooccurrence": 1}
    np.testing.assert_array_equal(floor.values["neighbours"]["hit_rate@2"], 1)  # two items of the colour are left
    assert floor.values["popularity"]["hit_rate@2"].mean() < 0.6
    assert "frequency" not in floor.values


@pytest.mark.parametrize("component", ["text", "attributes"])
def test_text_and_graph_find_what_was_never_bought(component):
    """Targets are held out: only their words, or their brand, say their colour."""
    task, graph = Task("buys", BUYS), checkerboard(text=["white dove" if i % 2 else "black crow" for i in range(20)])
    made_by = edges(range(20), [i % 2 for i in range(20)])
    graph = Graph({**graph.entities, "brand": ids(2)}, {**graph.relations, MADE_BY: made_by}, frozenset([MADE_BY]))
    of = views(graph, task, by="targets", test=0.2, validation=0.2)
    with_it = measured(of, task, ["mrr"], without={"text", "attributes"} - {component})
    assert with_it.settings["neighbours"]["weights"][component] > 0
    without = measured(of, task, ["mrr"], without=["text", "attributes"])
    assert np.nanmean(with_it.values["neighbours"]["mrr"]) > np.nanmean(without.values["neighbours"]["mrr"]) + 0.1


def test_a_question_is_its_own_profile():
    """Support: no history, the words of the question lead to the answer; so do single characters of Chinese."""
    task = Task("answer", Relation("question", "answered_by", "answer"))
    words = ["parcel late", "password lost", "invoice wrong", "退款 未到"]
    graph = Graph(
        {
            "question": ids(40, text=[f"help my {words[i % 4]} {i}" for i in range(40)]),
            "answer": ids(4, text=[f"{w} advice" for w in words]),
        },
        {task.relation: edges(range(40), [i % 4 for i in range(40)])},
    )
    of = views(graph, task, by="random", test=0.3, validation=0.3)
    floor = measured(of, task, ["hit_rate@1"])
    assert np.nanmean(floor.values["neighbours"]["hit_rate@1"]) == 1


def test_frequency_counts_baskets_and_recency_is_chosen_on_select():
    """Everybody bought 0 three times long ago and 1 once lately; then either the new or the old returns."""
    task = Task("buys", BUYS, repeats=True)
    # Item 2 stands on five lines of one early basket: one moment, one count.
    history = [(0, 0), (0, 10), (0, 20), (1, 300), *[(2, 5)] * 5]
    for returns, expected in ((1, True), (0, False)):
        bought = [(u, i, t * DAY) for u in range(12) for i, t in [*history, (returns, 310), (returns, 320)]]
        graph = Graph({"user": ids(12), "item": ids(30)}, {BUYS: edges(*map(list, zip(*bought, strict=True)))})
        of = views(graph, task, by="time", test="1970-11-17", validation="10d")
        floor = measured(of, task, ["hit_rate@1", "mrr"])
        life = floor.settings["frequency"]["settings"]["repeat"]["half_life"]
        assert (0 < life < 180) == expected
        np.testing.assert_array_equal(floor.values["frequency"]["hit_rate@1"], 1)
        np.testing.assert_array_equal(floor.values["neighbours"]["hit_rate@1"], 1)


def test_neighbours_are_what_the_definition_says(monkeypatch):
    """The same floor in dense matrices, query by query, with fixed decay and weights."""
    monkeypatch.setattr("kgrec_core.comparison.floor.DECAYS", (0.7,))
    monkeypatch.setattr("kgrec_core.comparison.floor.WEIGHTS", (0.6,))
    draw, task, users, items = np.random.default_rng(5), Task("buys", BUYS), 30, 25
    orders = [draw.permutation(items)[: draw.integers(4, 9)] for _ in range(users)]
    bought = [(u, i, t) for u, of in enumerate(orders) for t, i in enumerate(of)]
    words = draw.integers(0, 2, (items, 6))
    text = [" ".join(f"w{j}" for j in np.flatnonzero(row)) for row in words]
    brand = draw.integers(0, 4, items)
    relations = {BUYS: edges(*map(list, zip(*bought, strict=True))), MADE_BY: edges(range(items), brand)}
    graph = Graph({"user": ids(users), "item": ids(items, text=text), "brand": ids(4)}, relations, frozenset([MADE_BY]))
    of = views(graph, task, by="last")
    got = measured(of, task, ["mrr"], rebuild=False).values["neighbours"]["mrr"]

    def unit(x):
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)

    def features(x):
        return unit(x * (np.log((1 + items) / (1 + (x > 0).sum(0))) + 1))

    known = np.zeros((users, items))
    for user, order in enumerate(orders):
        known[user, order[:-2]] = 1
    together = unit(known.T) @ unit(known.T).T
    np.fill_diagonal(together, 0)
    by_text, by_brand = features(words.astype(float)), features(np.eye(4)[brand])
    for user, (*history, target) in enumerate(orders):
        profile = np.zeros(items)
        profile[history] = 0.7 ** np.arange(len(history) - 1, -1, -1)
        left = np.setdiff1d(np.arange(items), history)
        parts = [(profile @ k)[left] for k in (together, by_text @ by_text.T, by_brand @ by_brand.T)]
        score = sum(w * p / (p.max() or 1) for w, p in zip((1, 0.6, 0.6), parts, strict=True))
        own = score[left == target]
        rank = 1 + (score > own + 1e-5).sum() + ((abs(score - own) < 1e-5).sum() - 1) / 2
        assert got[user] == pytest.approx(1 / rank)


def test_settings_do_not_see_the_test_targets():
    task, graph = Task("buys", BUYS, repeats=True), checkerboard()
    of = views(graph, task, by="last")
    test = of["test"].queries["buys"]
    other = View(
        of["test"].graph, {"buys": Queries(test.nodes, Ragged(test.targets.indptr, test.targets.rows[::-1].copy(), test.targets.edges))}
    )
    found = [Floor(of["select"], test, task).measure().settings for test in (of["test"], other)]
    assert found[0] == found[1]


def test_without_a_target_it_says_so():
    task = Task("buys", BUYS)
    of = views(checkerboard(), task, by="last")
    asked = of["select"].queries["buys"]
    none = View(of["select"].graph, {"buys": Queries(asked.nodes, Ragged.empty(len(asked.nodes)))})
    with pytest.raises(KgrecError, match=r"widen split\.validation"):
        Floor(none, of["test"], task).measure()


def test_a_floor_is_the_merge_of_its_channels():
    """The same ranks as `merge` gives with the chosen settings and weights."""
    task, graph = Task("buys", BUYS, repeats=True), checkerboard()
    of = views(graph, task, by="last")
    floor = measured(of, task, ["mrr"])
    chosen = floor.settings["neighbours"]
    made = {"repeat": Repeat, "popular": Popular, "cooccurrence": Cooccurrence}
    merge = Merge(
        channels={name: made[name](**settings) for name, settings in chosen["settings"].items()}, by="score", weights=chosen["weights"]
    )
    asked = of["test"].queries["buys"]
    merge.build(of["test"].graph, task, candidates(of["test"].graph, task), None)
    hits = merge.search(asked.nodes, None, 20)
    own = hits.scores[hits.rows == asked.targets.rows[:, None]]
    ranks = ((hits.scores > own[:, None]).sum(1) + (hits.scores >= own[:, None]).sum(1) + 1) / 2  # equal scores share the mean rank
    np.testing.assert_allclose(1 / ranks, floor.values["neighbours"]["mrr"])


def test_another_floor_is_another_entry():
    task = Task("buys", BUYS)
    of = views(checkerboard(), task, by="last")
    floor = Floor(of["select"], of["test"], task, of={"item-kNN": Method(["cooccurrence"])}).measure(metrics=["hit_rate@2"])
    assert list(floor.values) == ["item-kNN"] and np.nanmean(floor.values["item-kNN"]["hit_rate@2"]) == 1


def test_variants_part_the_targets():
    graph = Graph({"user": ids(2), "item": ids(5)}, {BUYS: edges([0, 0, 1], [1, 2, 3])})
    queries = Queries(
        Nodes(graph, "user", np.array([0, 1, 0]), "query"), Ragged(np.array([0, 3, 4, 4]), np.array([2, 3, 4, 3]), np.full(4, -1))
    )
    task, repeats = Task("buys", BUYS), Task("buys", BUYS, repeats=True)
    lists = lambda r: [r.take(np.array([i])).rows.tolist() for i in range(3)]  # noqa: E731
    assert lists(whole(queries, task).exclude) == [[1, 2], [3], [1, 2]] and whole(queries, repeats).exclude is None
    case = new_only(queries, repeats)
    assert lists(case.queries.targets) == [[3, 4], [], []] and lists(case.exclude) == [[1, 2], [3], [1, 2]]
    case = repeat_only(queries, repeats)
    assert lists(case.queries.targets) == [[2], [3], []] and case.exclude is None
    assert lists(cold(queries, task, graph).queries.targets) == [[4], [], []]


def test_those_that_nobody_has_chosen_are_ranked_among_themselves():
    """Twenty items; the last four were never bought, and the words of two of them are those of what a user has."""
    task, graph = Task("buys", BUYS), checkerboard(text=["white dove" if i % 2 else "black crow" for i in range(20)])
    known = graph.relations[BUYS].filter(pl.col("target") < 16)
    graph = Graph(dict(graph.entities), {BUYS: known})
    nodes = Nodes(graph, "user", np.arange(4), "query", np.full(4, 100))
    queries = Queries(nodes, Ragged.of(np.arange(4), np.array([16, 17, 18, 3]), 4))
    case = cold_alone(queries, task)
    assert case.within.tolist() == [16, 17, 18, 19] and case.queries.targets.counts.tolist() == [1, 1, 1, 0]
    view = View(graph, {"buys": Queries(nodes, Ragged.of(np.arange(4), np.array([0, 1, 2, 3]), 4))})
    floor = Floor(view, View(graph, {"buys": queries}), task, of=methods(graph, task))
    chosen = floor.measure(whole, ["ndcg@10"]).settings
    found = floor.measure(cold_alone, ["mrr"], settings=chosen)
    assert found.settings == chosen and found.values["text"]["mrr"].tolist()[:3] == [1 / 1.5] * 3  # one of two that read alike
    lexical = Lexical()
    lexical.build(graph, task, candidates(graph, task), None)
    hits = chain_hits(Silent([task]), lexical, task, case)
    assert (hits.rows[3] == -1).all() and set(hits.rows[:3, 0] % 2) == {0, 1} and set(hits.rows[hits.rows >= 0]) <= {16, 17, 18, 19}
