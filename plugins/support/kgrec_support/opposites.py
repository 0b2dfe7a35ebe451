"""Whether a question asks for another thing than the entry that it is most like: another number, a negation, an opposite.

Vectors hardly tell "turn on" from "turn off", or plan 1 from plan 2. So before an entry answers by itself, its own questions must have
the numbers that are asked for, be negated where the question is, and not say the opposite of one of its words. What is not in the lists
below is not seen; what is in them by chance is handed over once too often.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from kgrec_support.grounding import content, stem

# Both sides of a pair, each with words that mean the same.
_PAIRS = (
    ("enable activate switch_on unlock unblock", "disable deactivate switch_off lock block"),
    ("buy purchase", "sell"),
    ("open", "close cancel terminate"),
    ("start begin", "stop end"),
    ("add insert", "remove delete"),
    ("increase raise higher", "decrease reduce lower"),
    ("deposit", "withdraw withdrawal"),
    ("send", "receive"),
    ("upgrade", "downgrade"),
    ("upload", "download"),
    ("import", "export"),
    ("before", "after"),
    ("minimum min", "maximum max"),
    ("first", "last"),
    ("more", "less fewer"),
    ("accept", "reject refuse decline"),
    ("join", "leave"),
    ("show", "hide"),
    ("include included", "exclude excluded"),
    ("login", "logout"),
    ("freeze", "unfreeze"),
    ("lend", "borrow"),
    ("old", "new"),
)
_PAIRS_ZH = (
    ("打开 打開 开启 開啟 启用 啟用 开通 開通", "关闭 關閉 停用 关掉 關掉 取消"),
    ("买 買 购买 購買", "卖 賣 出售"),
    ("开户 開戶", "销户 銷戶"),
    ("增加 添加 新增 提高", "减少 減少 删除 刪除 降低"),
    ("登录 登入 登錄", "登出 退出"),
    ("存款 存入", "取款 取出 提款"),
    ("转入 轉入 汇入 匯入", "转出 轉出 汇出 匯出"),
    ("上传 上傳", "下载 下載"),
    ("冻结 凍結", "解冻 解凍"),
    ("绑定 綁定", "解绑 解綁"),
    ("最高 最大 最多", "最低 最小 最少"),
    ("提前", "延后 延後 推迟 推遲"),
    ("之前 以前", "之后 之後 以后 以後"),
    ("收入", "支出"),
)
_SWITCHED = re.compile(r"\b(turn|switch|power|toggle|put)(?:s|ed|ing|ning|ting|ching)?\b((?:\W+\w+){0,3}?)\W+(on|off)\b")
_NOT = re.compile(r"\b(?:not|never|without|cannot|unable|nobody|nothing|neither|nor)\b|n['’]t\b|\bno\b(?!\.? ?\d)")
_NOT_ZH = re.compile("[不没沒无無未勿别別]")
# "Can you or can you not", and words that only look negated.
_PLAIN_ZH = re.compile(
    "([\u4e00-\u9fff])[不没沒]\\1|特[别別]|[类類级級个個分区區性][别別]|不[同过過仅僅但错錯]|[无無][线線论論]|未[来來]|沒?有没有|有沒有|是否"
)
_NUMBER = re.compile(r"(?<!\d)\d{1,4}(?:[.,]\d+)*(?!\d)")  # longer ones name an order or a card, not a thing that an entry is about
_COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
_WORDS = {word: str(number) for number, word in enumerate(_COUNTED.split()) if word != "one"}
_DIGITS_ZH = dict(zip("一二三四五六七八九十", map(str, range(1, 11)), strict=True))
_COUNTED_ZH = re.compile("(?<=[第案餐款版型])([一二三四五六七八九十])|([二三四五六七八九])(?=[个個张張次年月天号號级級档檔])")
_OTHER = ("un", "dis", "de")


class Said(NamedTuple):
    """Of a question: its numbers, whether anything in it is negated, its words as stems (and, in Chinese, the listed words in it)."""

    numbers: frozenset[str]
    negated: bool
    words: frozenset[str]


def said(text: str) -> Said:
    """What of a question makes it another one than one of nearly the same words."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    plain = _SWITCHED.sub(lambda m: f"switch_{m.group(3)}{m.group(2)}", plain)
    plain = re.sub(r"\b(log|sign)(?:ging|ged|ing|ed)? ?-?(in|out)\b", lambda m: f"log{m.group(2)}", plain)
    words = re.findall(r"[^\W\d]+(?:'[^\W\d]+)*", plain)
    numbers = {number.replace(",", "") for number in _NUMBER.findall(plain)} | {_WORDS[word] for word in words if word in _WORDS}
    numbers |= {_DIGITS_ZH[one or two] for one, two in _COUNTED_ZH.findall(plain)}
    chinese = {word for pair in _PAIRS_ZH for side in pair for word in side.split() if word in plain}
    negated = bool(_NOT.search(plain) or _NOT_ZH.search(_PLAIN_ZH.sub("", plain)))
    return Said(frozenset(numbers), negated, frozenset({*map(stem, words), *chinese}))


@lru_cache(8_192)
def _known(text: str) -> tuple[Said, frozenset[str]]:
    """Of an entry's own question, which is compared with all that the entry answers."""
    return said(text), frozenset(content(text))


def differs(question: str, known: Sequence[str]) -> str | None:
    """What the question says otherwise than all the questions of an entry, as a clause; None = nothing that could be seen."""
    asked, content_asked, read = said(question), frozenset(content(question)), [_known(text) for text in known]
    if not read:
        return None
    others = [other for other, _ in read]
    numbers = frozenset().union(*(other.numbers for other in others))
    if numbers and asked.numbers - numbers:
        return f"it names {', '.join(sorted(asked.numbers - numbers))}, the entry's questions {', '.join(sorted(numbers))}"
    about = [other for other, words in read if not words.isdisjoint(content_asked)] or others
    if all(other.negated != asked.negated for other in about):
        return "it is negated and the entry's questions are not" if asked.negated else "the entry's questions are negated and it is not"
    spoken = frozenset().union(*(other.words for other in others))
    for mine, theirs in _sides():
        used = asked.words & mine
        if used and not spoken & mine and (opposite := spoken & theirs):
            return f'it says "{_first(used, question)}", the entry\'s questions "{_first(opposite, " ".join(known))}"'
    for word in asked.words:
        turned = {f"{other}{word}" for other in _OTHER} | {word.removeprefix(other) for other in _OTHER if word.startswith(other)}
        if len(word) > 4 and word not in spoken and (opposite := turned & spoken):
            return f'it says "{_first({word}, question)}", the entry\'s questions "{_first(opposite, " ".join(known))}"'
    return None


@lru_cache(1)
def _sides() -> list[tuple[frozenset[str], frozenset[str]]]:
    pairs = [tuple(frozenset(map(stem, side.split())) for side in pair) for pair in _PAIRS]
    pairs += [tuple(frozenset(side.split()) for side in pair) for pair in _PAIRS_ZH]
    return [sides for one, two in pairs for sides in ((one, two), (two, one))]


def _first(stems: Iterable[str], text: str) -> str:
    """A word of the text with one of these stems, else the stem."""
    wanted = set(stems)
    return next((word for word in re.findall(r"[^\W\d]+", text.casefold()) if stem(word) in wanted), sorted(wanted)[0].replace("_", " "))
