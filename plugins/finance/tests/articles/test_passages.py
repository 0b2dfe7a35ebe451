"""Windows hold whole sentences and all of the text; the article's score is the windows', weighted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kgrec_finance.articles.passages import LEAD, Passage, passages, pooled, sentences

from kgrec_core import KgrecError


def test_sentences():
    text = 'Mr. Smith sold 3.5% of Acme Inc. on Friday. "Why?" he asked. The U.S. Fed is calm!  Prices rose 2 per cent.'
    assert [text[s:e] for s, e in sentences(text)] == [
        "Mr. Smith sold 3.5% of Acme Inc. on Friday.",
        '"Why?" he asked.',
        "The U.S. Fed is calm!",
        "Prices rose 2 per cent.",
    ]
    chinese = "公司亏损。“股价下跌！”他说\n前景不明"
    assert [chinese[s:e] for s, e in sentences(chinese)] == ["公司亏损。", "“股价下跌！”", "他说", "前景不明"]


def test_windows():
    text = "One two three. Four five. Six seven eight nine. Ten."
    assert [text[w.start : w.end] for w in passages(text, 5)] == ["One two three. Four five.", "Six seven eight nine. Ten."]
    assert [text[w.start : w.end] for w in passages(text, 3)] == ["One two three.", "Four five.", "Six seven eight", "nine. Ten."]
    assert passages("", 5) == [] and passages("One.", 5) == [Passage(0, 4, 4 * LEAD)]
    assert [w.end - w.start for w in passages("卡" * 12, 5)] == [5, 5, 2]
    with pytest.raises(KgrecError, match="words = 0"):
        passages("One.", 0)


@given(st.text(st.sampled_from("aB卡 .!。\n\"'?5"), max_size=80), st.integers(1, 8))
def test_no_character_is_lost_and_none_read_twice(text, words):
    windows = passages(text, words)
    read = "".join(text[w.start : w.end] for w in windows)
    assert "".join(read.split()) == "".join(text.split())
    assert all(one.end <= two.start for one, two in pairwise(windows))
    assert all(w.weight > 0 for w in windows)


def test_one_window_scores_as_it_is():
    logp = np.log([[0.2, 0.5, 0.3]])
    np.testing.assert_allclose(pooled(logp, [Passage(0, 9, 3.0)]), logp[0])


def test_the_score():
    windows = [Passage(0, 10, 20.0), Passage(10, 20, 10.0)]
    got = np.exp(pooled(np.log([[0.8, 0.2], [0.1, 0.9]]), windows))
    odds = (0.8 / 0.2) ** (2 / 3) * (0.1 / 0.9) ** (1 / 3)
    np.testing.assert_allclose(got, [odds / (1 + odds), 1 / (1 + odds)])
    assert np.isfinite(pooled([[-np.inf, 0.0], [0.0, -np.inf]], windows)).all()
    same = pooled(np.log([[0.7, 0.3]] * 2), windows)
    np.testing.assert_allclose(np.exp(same), [0.7, 0.3])
    for odd in ([[0.0]], [], [[0.0], [0.0], [0.0]]):
        with pytest.raises(KgrecError, match="for 2 windows"):
            pooled(odd, windows)
