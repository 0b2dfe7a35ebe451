"""A log of conversations -> what was asked and how agents replied; replies that tell the same become one template.

Messages of one side in a row are one turn. An agent's turn right after a user's turn is the reply to it; its question is the user's
turn, preceded by the turns before it as context:

    user: Hello | agent: How can I help? | user: Where is my order 17?  ->  agent: It is on its way.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

import polars as pl

from kgrec_core import KgrecError
from kgrec_core.parts import mask, near_duplicates
from kgrec_support.columns import Columns, named, tag

log = logging.getLogger("kgrec")
BETWEEN = " | "  # turns of a question
CONTEXT = 400  # characters of context at most, the latest: encoders cut long texts at the end, where the question itself stands
ROLES: Mapping[str, str] = {
    "user": "user users customer client consumer visitor guest buyer human q 用户 用戶 客户 客戶 顾客 顧客 买家 買家 会员 會員",
    "agent": "agent agents assistant support staff operator representative rep advisor employee seller bot chatbot robot a "
    "客服 人工客服 坐席 座席 卖家 賣家 商家 机器人 機器人 助手",
    "none": "system note event 系统 系統 系统消息",
}
_FLAGS = {"0": "user", "false": "user", "否": "user", "1": "agent", "true": "agent", "是": "agent"}
_FLAG_COLUMNS = ("isagent", "sentbyagent", "是否客服发送")


def replies(log_of: Columns, roles: Mapping[str, str], masked: bool, context: int) -> pl.DataFrame:
    """text (question with context), locale, reply, session; one row per reply, in the order of sessions and time.

    roles: a word of the role column -> "user", "agent" or "none" (left out), before the words known here. masked: personal data is
    replaced by placeholders. context: turns before the question at most. Raises KgrecError with file and row.
    """
    turns = _turns(log_of, roles, masked)
    before = [pl.col("text").shift(n).over("session") for n in range(context + 1, 1, -1)]
    told = pl.concat_str(before, separator=BETWEEN, ignore_nulls=True).str.tail(CONTEXT).str.strip_chars() if before else pl.lit("")
    last = pl.col("text").shift(1).over("session")
    pairs = turns.with_columns(
        asks=pl.col("role").shift(1).over("session") == "user",
        question=pl.when(told != "")
        .then(pl.concat_str(told, pl.lit(BETWEEN), last))
        .otherwise(last)
        .str.replace_all("\n", " ", literal=True),
        tongue=pl.col("locale").shift(1).over("session"),
    )
    pairs = pairs.filter((pl.col("role") == "agent") & pl.col("asks"))
    if not len(pairs):
        raise KgrecError(f"{log_of.table.path.name}: no agent's message follows a user's in any session; check session, role and time")
    return pairs.select(text="question", locale="tongue", reply="text", session="session")


def templates(said: pl.Series, known: pl.DataFrame, threshold: float) -> tuple[pl.Series, pl.DataFrame]:
    """(the answer's id of every reply, null for null; answers that are new: id, text).

    Replies whose sets of word pairs are alike by `threshold` (see `near_duplicates`) are one answer: that of `known` (id, text) if one is
    among them, else a new one in the most frequent wording, of equals the first.
    """
    often = Counter(said.drop_nulls())  # in order of first appearance
    texts = [*known["text"], *often]
    group = near_duplicates(texts, threshold).tolist()
    ids: dict[int, str] = {}
    for number, id in zip(group, known["id"], strict=False):
        ids.setdefault(number, id)
    best: dict[int, str] = {}
    for number, text in zip(group[len(known) :], often, strict=True):
        if number not in ids and often[text] > often.get(best.get(number, ""), 0):
            best[number] = text
    new = pl.DataFrame({"id": named(best.values(), "a"), "text": list(best.values())}, schema={"id": pl.String, "text": pl.String})
    ids |= dict(zip(best, new["id"], strict=True))
    by_text = dict(zip(often, (ids[number] for number in group[len(known) :]), strict=True))
    return pl.Series("target", [by_text.get(text) for text in said], pl.String), new


def _turns(log_of: Columns, roles: Mapping[str, str], masked: bool) -> pl.DataFrame:
    """session, role, text, locale of every turn: messages of one side in a row are joined, an agent's with line breaks."""
    table = log_of.table
    sessions = log_of.words("session")
    table.refuse_empty(sessions, log_of.names["session"], None)
    times = log_of.times("time")
    if "time" in log_of.names:
        table.refuse_empty(times, log_of.names["time"], None)
    frame = pl.DataFrame([sessions, _sides(log_of, roles), times, log_of.texts("text", lines=True), tag(log_of.words("locale"))])
    silent = frame["text"].is_null() | (frame["role"] == "none")
    if silent.any():
        log.info("%s: %s messages without text or of no side are left out", table.path.name, f"{silent.sum():,}")
    frame = frame.filter(~silent)
    if masked:
        counts: Counter[str] = Counter()
        frame = frame.with_columns(text=pl.Series(mask(frame["text"], counts=counts), dtype=pl.String))
        found = ", ".join(f"{n:,} {kind}" for kind, n in sorted(counts.items())) or "nothing"
        log.info("%s: masked %s", table.path.name, found)
    first = pl.int_range(pl.len()).min().over("session")
    frame = frame.sort(first, "time", maintain_order=True)
    turn = ((pl.col("session") != pl.col("session").shift()) | (pl.col("role") != pl.col("role").shift())).fill_null(True).cum_sum()
    joined = frame.group_by(turn.alias("turn"), maintain_order=True).agg(
        pl.col("session", "role").first(), pl.col("text").str.join("\n"), pl.col("locale").drop_nulls().first()
    )
    return joined.drop("turn")


def _sides(log_of: Columns, roles: Mapping[str, str]) -> pl.Series:
    """user, agent or none for every message. Raises KgrecError for a role that nobody knows."""
    for word, side in roles.items():
        if side not in ROLES:
            raise KgrecError(f'data.roles."{word}" = "{side}": a role is "user", "agent" or "none" (left out)')
    words = log_of.words("role").str.to_lowercase()
    log_of.table.refuse_empty(words, log_of.names["role"], None)
    known = {word: side for side, listed in ROLES.items() for word in listed.split()}
    known |= _FLAGS if _is_flag(log_of.names["role"]) else {}
    known |= {word.strip().lower(): side for word, side in roles.items()}
    sides = words.replace_strict(known, default=None, return_dtype=pl.String)
    odd = sides.is_null()
    if odd.any():
        listed = ", ".join(words.filter(odd).unique(maintain_order=True).head(8))
        raise KgrecError(
            f'{log_of.table.place(odd.arg_max())}: {log_of.names["role"]} "{words[odd.arg_max()]}" is neither user nor agent; '
            f'say which: data.roles = {{ "{words[odd.arg_max()]}" = "agent" }}; unknown: {listed}'
        )
    return sides


def _is_flag(column: str) -> bool:
    return "".join(c for c in column.casefold() if c.isalnum()) in _FLAG_COLUMNS
