"""Templates: "Your order {order_id} ..." with what the request says and what the graph knows; what is missing is asked for.

A slot is a plain name in single braces that somebody can fill: one of QUESTIONS, one that `data.slots` declares, or one that a value is
given for. Everything else in braces stays as it is written. Nothing is formatted by Python's rules, and a value is inserted once and
never read again. So neither an FAQ nor a customer can reach an attribute, a format specification or another slot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from kgrec_core import Graph, KgrecError
from kgrec_core.parts import units

LONGEST = 200  # characters of a value
READ = 10_000  # characters of a request that are looked at
_SLOT = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]{0,63})\}(?!\})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff]+")
_NUMBER = r"[0-9]{1,3}(?:[ ,.'’][0-9]{3})+(?:[.,][0-9]{1,2})?|[0-9]+(?:[.,][0-9]{1,2})?"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|June?|July?|Aug|Sept?|Oct|Nov|Dec)[a-z]{0,6}\.?"
# The first group that matched, or else the whole match, is the value. (?a): a Han character beside a number ends the word. Order numbers: named as such, or of a form that little else has.
PATTERNS: Mapping[str, str] = {
    "order_id": r"(?a)(?i:\b(?:order|booking|reference|tracking)(?:[ -]?(?:number|no\.?|id|code))?[ :#=]{1,3}(?:is |was )?#?"
    r"((?=[a-z-]{0,10}[0-9])[a-z0-9](?:[a-z0-9-]{2,30}[a-z0-9])?)\b)"
    r"|(?:订单|訂單|运单|快递单)(?:编号|編號|号码|號碼|号|號)?(?:是|为|為)?[ ：:#]{0,3}([A-Za-z0-9-]{4,32})"
    r"|(?<![\w#&])#([A-Za-z]{0,4}-?[0-9]{4,20})\b|\b([A-Z]{2,4}-?[0-9]{6,20})\b",
    "amount": rf"(?a)(?<![\w.,])((?:[$€£¥￥]|\b(?:USD|EUR|GBP|CNY|RMB|CHF)) ?(?:{_NUMBER})|(?:{_NUMBER}) ?"
    r"(?:[$€£¥￥]|(?:USD|EUR|GBP|CNY|RMB|CHF|euros?|pounds?|dollars?|quid)\b|元|块钱))",
    "date": r"(?a)(?<![\w.])((?:19|20)[0-9]{2}-[01]?[0-9]-[0-3]?[0-9]|[0-3]?[0-9][./][0-3]?[0-9][./](?:[0-9]{4}|[0-9]{2}))(?![\w])"
    rf"|\b([0-3]?[0-9](?:st|nd|rd|th)?(?: of)? {_MONTH}(?:,? (?:19|20)[0-9]{{2}})?)(?!\w)"
    rf"|\b({_MONTH} [0-3]?[0-9](?:st|nd|rd|th)?(?:,? (?:19|20)[0-9]{{2}})?)(?!\w)"
    r"|((?:(?:19|20)[0-9]{2}年)?[01]?[0-9]月[0-3]?[0-9](?:日|号|號))",
    "card_last4": r"(?i:\b(?:ending|ends|finishing)(?: (?:in|with|on))?[ :]{1,2}|\blast (?:four|4)(?: digits)?(?: (?:are|is|being))?[ :]{1,2})"
    r"([0-9]{4})(?![0-9])|(?:尾号|尾號|末四位|后四位|後四位)(?:是|为|為)?[ ：:]{0,2}([0-9]{4})(?![0-9])|[*xX•]{2}[ -]?([0-9]{4})(?![0-9])",
    "email": r"(?<![A-Za-z0-9._%+-])([A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.){1,5}[A-Za-z]{2,24})(?![A-Za-z0-9])",
}
# How a missing slot is asked for; in the template's language.
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "order_id": "What is your order number?",
        "product": "Which product is it about?",
        "amount": "Which amount is it about?",
        "date": "On which date was it?",
        "card_last4": "What are the last four digits of the card?",
        "email": "What is your e-mail address?",
        "currency": "Which currency is it about?",
        "delivery_date": "For which day was it announced?",
        "merchant": "Which merchant is it about?",
        "recipient": "Who is to receive it?",
    },
    "zh": {
        "order_id": "请提供您的订单号。",
        "product": "请问是哪一款产品？",
        "amount": "请问金额是多少？",
        "date": "请问是哪一天？",
        "card_last4": "请提供卡号的后四位。",
        "email": "请提供您的邮箱地址。",
        "currency": "请问是哪种货币？",
        "delivery_date": "请问预计哪一天送达？",
        "merchant": "请问是哪家商户？",
        "recipient": "请问收款人是谁？",
    },
}


class Filled(NamedTuple):
    """text: the template with what is known, missing slots as they were; missing: their names, in order; question: asks for them."""

    text: str
    missing: list[str]
    question: str


def fill(template: str, values: Mapping[str, Any], questions: Mapping[str, str] | None = None) -> Filled:
    """Insert values, once.

    A slot is `{name}`; other braces, `{{name}}` too, stay, and so does a name that nobody knows. A known one whose value is not given,
    None or only white space is missing; one that is inserted has its control characters and line ends replaced by a blank and at most 200
    characters. questions: name -> the question that asks for it, beside and before QUESTIONS of the template's language; without one ("") its name asks.

    >>> fill("Order {order_id} of {product} {debug} {x.y}", {"product": "mug"})
    Filled(text='Order {order_id} of mug {debug} {x.y}', missing=['order_id'], question='What is your order number?')
    """
    asks = {**QUESTIONS["zh" if re.search("[\u4e00-\u9fff]", template) else "en"], **(questions or {})}
    known = {name: text for name, value in values.items() if value is not None and (text := _inert(value))}
    names = [m.group(1) for m in _SLOT.finditer(template)]
    missing = list(dict.fromkeys(n for n in names if n not in known and (n in asks or n in values)))
    text = _SLOT.sub(lambda m: known.get(m.group(1), m.group()), template)
    return Filled(text, missing, " ".join(asks.get(n) or f"{n.replace('_', ' ').capitalize()}?" for n in missing))


def unknown(templates: Iterable[str | None], declared: Iterable[str] = ()) -> list[str]:
    """The names in single braces that no slot has, in order of first appearance: they are shown as they are written."""
    names = dict.fromkeys(m.group(1) for text in templates for m in _SLOT.finditer(text or ""))
    return [name for name in names if name not in QUESTIONS["en"] and name not in set(declared)]


def recognise(request: str, patterns: Mapping[str, str] = PATTERNS) -> dict[str, str]:
    """name -> the first value in the request, of its first 10,000 characters; no key where there is none.

    patterns: name -> regular expression; a recipe's own are merged as {**PATTERNS, **own}. Raises KgrecError for one that is none.
    """
    found = {}
    for name, pattern in patterns.items():
        try:
            match = re.search(pattern, request[:READ])
        except re.error as error:
            raise KgrecError(f"slot {name}: {pattern!r} is no regular expression ({error}); correct it in the recipe") from None
        if match:
            found[name] = next((group for group in match.groups() if group is not None), match.group()).strip()
    return found


def linked(graph: Graph, kind: str, id: str, request: str = "") -> dict[str, str]:
    """What the graph links to one entity: kind of the other end -> its text, or its id.

    Of several other ends of one kind the one whose words the request names is it (the longest of them); without it there is none,
    rather than a guess. Raises KgrecError for an unknown kind; an unknown id is linked to nothing.
    """
    row = graph.rows(kind, [id])
    ends: dict[str, list[str]] = {}
    for relation in graph.relations if row[0] >= 0 else ():
        if relation.source != kind:
            continue
        rows = np.unique(graph.adjacent(relation, row).rows)
        rows = rows[graph.alive(relation.target)[rows]]
        for entity in graph.gather(relation.target, rows).to_dicts():
            ends.setdefault(relation.target, []).append(entity.get("text") or entity["id"])
    asked = f" {' '.join(units(request))} "
    found = {}
    for other, texts in ends.items():
        named = [text for text in dict.fromkeys(texts) if (words := " ".join(units(text))) and f" {words} " in asked]
        one = max(named, key=len) if named else texts[0] if len(set(texts)) == 1 else None
        if one is not None:
            found[other] = one
    return found


def values(
    request: str, attributes: Mapping[str, Any], links: Mapping[str, str] | None = None, patterns: Mapping[str, str] = PATTERNS
) -> dict[str, str]:
    """Everything that can fill an answer's slots: its own attributes before what is linked before what the request says.

    The entry comes first, since its author wrote the address to write to; a customer's words only fill what it leaves open.
    attributes: of the matched answer (`Answer.attributes`); those that are neither text nor a number are left out.
    """
    own = {name: str(value) for name, value in attributes.items() if isinstance(value, str | int | float) and str(value).strip()}
    return {**recognise(request, patterns), **(links or {}), **own}


def _inert(value: Any) -> str:
    text = " ".join(_CONTROL.sub(" ", str(value)).split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
