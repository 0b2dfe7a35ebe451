"""The linter: a clean world raises nothing, and each way to tell what is held out is told by name."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest

from kgrec_core.graph import DAY, Dataset, Graph, Relation, Task
from kgrec_core.knowledge.leaks import leaks
from kgrec_core.split import Split, split

USERS, ITEMS, LENGTH = 120, 400, 10
BUYS, BRAND = Relation("user", "buys", "item"), Relation("item", "has_brand", "brand")
LAST = Split(by="last")


def ends(pairs: list[tuple[int, int]], times: list[int] | None = None) -> pl.DataFrame:
    table = pl.DataFrame(pairs, {"source": pl.UInt32, "target": pl.UInt32}, orient="row")
    return table if times is None else table.with_columns(time=pl.Series(times, dtype=pl.Int64))


class World:
    """Shoppers with sequences at random; items with a name of five words of their own. What is set on it makes it leak."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self.bought = [draw.permutation(ITEMS)[:LENGTH].tolist() for _ in range(USERS)]
        self.names = [f"thing{i} colour{i % 7} maker{i % 9} no{i} size{i % 5}" for i in range(ITEMS)]
        self.users: list[str] | None = None
        self.more: dict[Relation, pl.DataFrame] = {}
        self.times = [DAY * (place + 1) for _ in range(USERS) for place in range(LENGTH)]

    def found(self, how: Split = LAST, **more: Any) -> list[tuple[str, str, str]]:
        pairs = [(user, item) for user, items in enumerate(self.bought) for item in items]
        user = pl.DataFrame({"id": [f"u{i}" for i in range(len(self.bought))]} | ({"text": self.users} if self.users else {}))
        entities = {
            "user": user,
            "item": pl.DataFrame({"id": [f"SKU{i:05}" for i in range(ITEMS)], "text": self.names}),
            "brand": pl.DataFrame({"id": [f"b{i}" for i in range(9)]}),
        }
        relations = {BUYS: ends(pairs, self.times), BRAND: ends([(i, i % 9) for i in range(ITEMS)]), **self.more}
        dataset = Dataset(Graph(entities, relations, frozenset(relations) - {BUYS}), (Task("buys", BUYS),))
        return [(leak.kind, leak.where, leak.grade) for leak in leaks(dataset, split(dataset, how), how, **more)]


@pytest.fixture
def world() -> World:
    return World()


def test_a_clean_world_raises_nothing(world):
    assert world.found() == []
    assert world.found(Split(by="random", test=0.2, validation=0.2)) == []


def test_user_texts_written_from_whole_sequences_are_told_and_those_from_the_known_part_are_not(world):
    world.users = ["likes " + ", ".join(world.names[i] for i in items) for items in world.bought]
    assert world.found() == [("written from what is held out", "user.text", "leak")]
    world.users = ["likes " + ", ".join(world.names[i] for i in items[:-2]) for items in world.bought]
    assert world.found() == []


def test_item_texts_written_from_whole_sequences_are_told(world):
    after = [sorted({b for items in world.bought for a, b in itertools.pairwise(items) if a == item}) for item in range(ITEMS)]
    told = [" and ".join(f"the well known {world.names[b]} as all say" for b in those) for those in after]
    world.names = [f"{name}, then people take {said}" for name, said in zip(world.names, told, strict=True)]
    assert ("written from what is held out", "item.text", "leak") in world.found()


def restated(text: str) -> str:
    """In other words, and in another order."""
    return " ".join(sorted(f"{word[::-1]}isch" for word in text.replace(",", "").split()))


@pytest.fixture
def many(world) -> World:
    """Three times as many shoppers."""
    draw = np.random.default_rng(1)
    world.bought = [draw.permutation(ITEMS)[:LENGTH].tolist() for _ in range(3 * USERS)]
    world.times = [DAY * (place + 1) for _ in world.bought for place in range(LENGTH)]
    return world


@pytest.mark.parametrize(("last", "leaky"), [(LENGTH, True), (LENGTH - 1, False), (LENGTH - 2, False)])
def test_a_text_that_restates_whole_sequences_is_told_though_it_has_no_word_of_them(many, last, leaky):
    many.users = [restated("fond of " + " ".join(many.names[i] for i in items[last - 3 : last])) for items in many.bought]
    assert many.found() == ([("written from what is held out", "user.text", "leak")] if leaky else [])


def test_few_texts_that_restate_whole_sequences_are_told_by_vectors(world):
    vectors = np.eye(ITEMS)
    world.users = [f"she has {' '.join(str(i) for i in items[-3:])}" for items in world.bought[:60]] + [""] * 60

    def encode(texts: list[str]) -> np.ndarray:
        """Of a model that knows what the numbers mean."""
        rows = [[int(w.removeprefix("thing")) for w in text.split() if w.removeprefix("thing").isdigit()] for text in texts]
        return np.stack([vectors[of].sum(0) / len(of) ** 0.5 for of in rows])

    assert world.found() == []
    assert world.found(encode=encode) == [("written from what is held out", "user.text", "leak")]


def test_texts_of_things_that_restate_what_follows_are_told_by_vectors(world):
    after = [{b for items in world.bought for a, b in itertools.pairwise(items) if a == item} for item in range(ITEMS)]
    vectors = {name: row for name, row in zip(world.names, np.eye(ITEMS) + [[b in of for b in range(ITEMS)] for of in after], strict=True)}

    def encode(texts: list[str]) -> np.ndarray:
        rows = np.stack([vectors[text] for text in texts])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    assert world.found(encode=encode) == [("written from what is held out", "item.text", "leak")]


@pytest.mark.parametrize("names", ["", "!!", "one and the same"])
def test_texts_without_a_word_or_all_the_same_say_nothing(world, names):
    world.names, world.users = [names] * ITEMS, ["..."] * USERS
    assert world.found() == []
    world.users = [f"customer {user}" for user in range(USERS)]
    assert world.found() == []


def test_texts_that_many_share_and_wide_histories_are_no_twins(world):
    draw = np.random.default_rng(0)
    world.users = [f"{20 + user % 3} years old" for user in range(USERS)]
    world.bought = [draw.permutation(40)[:30].tolist() for _ in range(USERS)]  # everybody has met most of what there is
    world.times = [DAY * (place + 1) for _ in range(USERS) for place in range(30)]
    assert world.found() == []
    assert world.found(Split(by="random", test=0.2, validation=0.2)) == []


@pytest.mark.parametrize("name", ["goes_with", "also_bought"])
def test_a_relation_collected_after_the_split_is_told_whatever_its_name(world, name):
    relation = Relation("item", name, "item")
    world.more = {relation: ends([pair for items in world.bought for pair in itertools.pairwise(items)])}
    assert world.found() == [("mirror", str(relation), "leak")]


def test_a_relation_of_the_known_steps_alone_is_no_leak_but_for_its_name(world):
    known = [pair for items in world.bought for pair in itertools.pairwise(items[:-2])]
    world.more = {Relation("item", "goes_with", "item"): ends(known)}
    assert world.found() == []
    world.more = {Relation("item", "also_viewed", "item"): ends(known)}
    assert [kind for kind, *_ in world.found()] == ["mirror"]


def test_undated_wishes_that_hold_the_held_out_edges_are_told(world):
    wishes = Relation("user", "wishes", "item")
    world.more = {wishes: ends([(user, items[-1]) for user, items in enumerate(world.bought)])}
    assert world.found() == [("mirror", str(wishes), "leak")]


def test_ids_in_texts_are_told(world):
    world.users = [f"customer since 2003, next SKU{items[-1]:05}" for items in world.bought]
    assert world.found() == [("ids", "user.text", "leak")]
    world.users, world.names = None, [f"{name} see SKU{(i + 1) % ITEMS:05}" for i, name in enumerate(world.names)]
    assert world.found() == [("ids", "item.text", "leak")]


def test_one_shopper_under_two_ids_is_told(world):
    world.bought += [[*items[:-1], items[-1]] for items in world.bought[:60]]
    world.bought[USERS:] = [[items[-1], *items[:-1]] for items in world.bought[USERS:]]  # the twin met last what the other met before
    world.times = [DAY * (place + 1) for _ in world.bought for place in range(LENGTH)]
    assert ("twins", "user", "leak") in world.found()


@pytest.mark.parametrize(("texts", "told"), [(100, {"twins", "judges"}), (200, set())])
def test_texts_that_stand_on_both_sides_with_the_same_answer_are_told_of_the_test_and_of_what_chooses(world, texts, told):
    world.bought, world.users = [[i % 100 % 7] for i in range(200)], [f"what is asked as number {i % texts}" for i in range(200)]
    world.times = [DAY * (1 + i) for i in range(200)]
    found = world.found(Split(by="random", test=0.25, validation=0.25))
    assert {kind for kind, where, grade in found if (where, grade) == ("user.text", "leak")} == told


def test_last_edges_at_one_time_are_a_doubt_where_the_last_is_held_out(world):
    world.times = [DAY * (min(place, LENGTH - 2) + 1) for _ in range(USERS) for place in range(LENGTH)]
    assert world.found() == [("ties", str(BUYS), "doubt")]
    assert world.found(Split(by="random", test=0.2, validation=0.2)) == []
