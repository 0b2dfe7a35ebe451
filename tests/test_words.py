"""words: what a reader would cut, in several scripts, with and without rjieba."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.errors import KgrecError
from kgrec_core.words import bigrams, cutter, resolve, units, words


def test_words_of_any_alphabet():
    assert words("The Äpfel-Kuchen, no. 7_b — ЧАЙ") == ["äpfel", "kuchen", "7", "b", "чай"]
    assert words("हिन्दी में चाय") == ["हिन्दी", "में", "चाय"], "vowel signs belong to the word"
    assert words("cafe\u0301 ＡＢＣ１") == ["café", "abc1"], "one writing for one word"


def test_each_run_by_its_own_rule():
    assert bigrams("iPhone15手机壳 for the") == ["iphone15", "手", "机", "壳", "手机", "机壳"]
    assert bigrams("東京タワー!") == ["東", "京", "東京", "タ", "ワ", "ー", "タワ", "ワー"]
    assert bigrams("서울 A") == ["서", "울", "서울"], "A is a stop word"
    assert bigrams("ชา") == ["ช", "า", "ชา"]


def test_rjieba_cuts_words_and_the_words_inside_them():
    pytest.importorskip("rjieba", reason="the extra zh is not installed")
    cut = cutter("rjieba")
    assert cut("iPhone手机壳v2，信用卡 Tea") == ["iphone", "手机", "壳", "v2", "信用", "信用卡", "tea"]
    assert set(cut("信用卡遺失")) == {"信用", "信用卡", "遺", "失"}, "what the dictionary lacks is cut by the character, in any context"
    assert cut("のパソ") == ["の", "パ", "ソ", "のパ", "パソ"]


def test_auto_asks_for_rjieba_only_where_there_is_han(monkeypatch):
    pytest.importorskip("rjieba", reason="the extra zh is not installed")
    assert resolve("auto", ["tea", "茶"]) == "rjieba" and resolve("auto", ["tea", "ティー"]) == "bigrams"
    monkeypatch.setitem(sys.modules, "rjieba", None)
    assert resolve("auto", ["tea", "茶"]) == "bigrams"
    with pytest.raises(KgrecError, match="pip install rjieba"):
        cutter("rjieba")


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(KgrecError, match="no tokenizer is called 'jieba'; did you mean 'rjieba'"):
        resolve("jieba")


@given(st.text())
def test_no_character_of_a_word_is_lost(text):
    assert {c for word in words(text) for c in word} == {c for piece in bigrams(text) for c in piece}


def test_units_keep_order_and_stop_words():
    assert units("The iPhone15手机, to हिन्दी") == ["the", "iphone15", "手", "机", "to", "हिन्दी"]


@given(st.text(st.characters(max_codepoint=0x24F)))
def test_latin_text_is_cut_alike_by_all(text):
    assert bigrams(text) == words(text)
