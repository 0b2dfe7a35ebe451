"""duplicates: known stories, the brute-force oracle on real tweets and replies, and what must hold for any texts."""

from __future__ import annotations

import gzip
import json
import os
import random
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csgraph

from kgrec_core.errors import KgrecError
from kgrec_core.graph import DAY
from kgrec_core.knowledge.duplicates import Recent, near_duplicates
from kgrec_core.words import units

DATA = Path(os.environ.get("KGREC_DATA", Path(__file__).parents[3] / "shared" / "data"))
STORY = "Apple beats expectations in the third quarter as iPhone sales rise by ten percent in China"
WORDS = st.lists(st.sampled_from(["up", "down", "buy", "sell", "apple", "手机", "股票", "rises"]), max_size=9).map(" ".join)


def tweets(count: int) -> list[str]:
    file = DATA / "stocknet_tweets" / "tweets.jsonl.gz"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line, _ in zip(lines, range(count), strict=False)]


def replies(count: int) -> list[str]:
    file = DATA / "jddc_dialogues_zh" / "train.dec"
    if not file.exists():
        pytest.skip(f"{file} is not here")
    return file.read_text(encoding="utf-8").splitlines()[:count]


def shingled(text: str) -> frozenset:
    """Written again, plainly: pairs of neighbouring words or characters."""
    found = units(text) or [text.strip()]
    return frozenset(pairwise(found)) or frozenset(found)


def jaccard(a: frozenset, b: frozenset) -> float:
    return len(a & b) / len(a | b)


def brute(texts: list[str], threshold: float) -> np.ndarray:
    """The components of all pairs at the threshold, numbered in order of appearance."""
    sets = list(map(shingled, texts))
    pairs = [(i, j) for i, a in enumerate(sets) for j, b in enumerate(sets[:i]) if jaccard(a, b) >= threshold - 1e-9]
    i, j = np.array(pairs, int).reshape(-1, 2).T
    return csgraph.connected_components(coo_matrix((np.ones(len(i)), (i, j)), (len(sets), len(sets))), directed=False)[1]


def same(one, two) -> bool:
    return len(set(zip(one, two, strict=True))) == len(set(one)) == len(set(two))


def test_copies_and_light_edits_are_one_story():
    texts = [
        STORY,
        "Shares of Ford fall",
        f"RT {STORY.upper()}! https://t.co/a1",
        STORY.replace("ten", "nine"),
        f"{STORY} https://t.co/b2",
        "信用卡丢了请立即致电客服办理挂失手续",
        "信用卡丢了，请立即致电客服办理挂失手续。",
        "手机壳",
        "",
        " ",
        "?",
    ]
    assert near_duplicates(texts, 0.7).tolist() == [0, 1, 0, 0, 0, 2, 2, 3, 4, 4, 5]
    assert near_duplicates(texts, 1.0).tolist() == [0, 1, 2, 3, 0, 4, 4, 5, 6, 6, 7]
    assert near_duplicates([]).shape == (0,)


@pytest.mark.parametrize("source", [tweets, replies])
@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_groups_are_those_of_brute_force(source, threshold):
    texts = source(900)
    found = near_duplicates([t.replace("://", " ") for t in texts], threshold)
    assert same(found, brute([t.replace("://", " ") for t in texts], threshold))
    assert 0 < len(texts) - len(set(found.tolist())) < len(texts) - 1


def test_a_stream_finds_what_the_table_finds():
    texts = tweets(900)
    sets = [shingled(" ".join(w for w in t.split() if "://" not in w)) for t in texts]
    stream = Recent(0.8, DAY)
    told = [stream.add(i, text, i) for i, text in enumerate(texts)]
    for i, other in enumerate(told):
        near = [j for j in range(i) if jaccard(sets[i], sets[j]) >= 0.8]
        assert (other is None) == (not near) and (other is None or other in near)


def test_a_hundred_thousand_tweets_in_under_a_minute():
    texts = tweets(100_000)
    start = time.process_time()
    groups = near_duplicates(texts)
    assert time.process_time() - start < 60 and 50_000 < groups.max() < 90_000


@given(st.lists(WORDS, max_size=12), st.sampled_from([0.3, 0.5, 0.8, 1.0]), st.randoms(use_true_random=False))
def test_exact_copies_are_grouped_in_any_order(texts, threshold, draw):
    texts = texts + draw.choices(texts or [""], k=3)
    order = draw.sample(range(len(texts)), len(texts))
    groups = near_duplicates(texts, threshold)
    assert all(groups[i] == groups[texts.index(text)] for i, text in enumerate(texts))
    assert same(groups[order], near_duplicates([texts[i] for i in order], threshold))
    assert list(dict.fromkeys(groups.tolist())) == list(range(groups.max() + 1))


@given(WORDS, WORDS, st.floats(0.2, 1))
def test_two_texts_below_the_threshold_are_apart(one, two, threshold):
    together = len(set(near_duplicates([one, two], threshold).tolist())) == 1
    assert not together or jaccard(shingled(one), shingled(two)) >= threshold - 1e-6
    assert Recent(threshold, 1).add("a", one, 0) is None


def test_the_seed_does_not_show_in_the_groups():
    texts = tweets(3_000)
    assert (near_duplicates(texts, seed=1) == near_duplicates(texts, seed=2)).all()


def test_a_stream_forgets_what_is_older_than_the_window():
    stream = Recent(0.8, 10)
    assert stream.add("a", STORY, 0) is None
    assert stream.add("b", STORY + "!", 8) == "a"
    assert stream.add("c", STORY, 15) == "b", "a is 15 old, its copy 7"
    assert stream.add("d", STORY, 26) is None and len(stream) == 1
    assert stream.add("late", "Ford recalls a million trucks over brakes", 3) is None and len(stream) == 1
    assert stream.add("e", STORY, 25) == "d" and stream.add("f", STORY, 35) == "d"
    assert stream.add("g", "another text", 80) is None
    assert len(stream) == len(stream._ages) == 1 and len(stream._buckets) <= 18


def test_a_stream_goes_on_from_its_state():
    texts, draw = tweets(600), random.Random(0)
    times = [i + draw.randrange(40) for i in range(600)]
    whole, first = Recent(0.7, 150), Recent(0.7, 150)
    expected = [whole.add(f"t{i}", *entry) for i, entry in enumerate(zip(texts, times, strict=True))]
    got = [first.add(f"t{i}", texts[i], times[i]) for i in range(300)]
    second = Recent.of(json.loads(json.dumps(first.state())))
    got += [second.add(f"t{i}", texts[i], times[i]) for i in range(300, 600)]
    assert got == expected and any(got) and len(second) == len(whole) < 200


def test_mistakes_are_named():
    with pytest.raises(KgrecError, match="threshold = 80 is no Jaccard"):
        near_duplicates(["a"], 80)
    with pytest.raises(KgrecError, match="width = 0"):
        near_duplicates(["a"], width=0)
    with pytest.raises(KgrecError, match="window = 0"):
        Recent(0.8, 0)
    with pytest.raises(KgrecError, match="no state of Recent"):
        Recent.of({"threshold": 0.8})
