"""An explanation in a sentence, for whoever asked: English, or Chinese where the query or the texts are."""

from __future__ import annotations

import re

from kgrec_core.explain.explanation import Explanation, Language, Path

MOST = 3  # paths that are said
HAN = re.compile(r"[\u3400-\u9fff]")
SAYS = {
    "en": {
        "habit": "chosen before ({count}x)",
        "graph": "same {relation} ({end})",
        "above": "{relation} within {end} ({words})",
        "direct": "{relation}",
        "own": "{count} others with the same {relation} ({end}) have it",
        "own once": "one other with the same {relation} ({end}) has it",
        "own direct": "its {relation} ({end}) leads to it",
        "behaviour": "{count} others have both",
        "once": "one other has both",
        "text": "words in common: {words}",
        "alike": "alike in meaning",
        "asked": "it has the words {words}",
        "examples": "like the known “{start}”",
        "because": "because of “{start}”: ",
        "often": "it is chosen often",
        "nothing": "nothing that was met speaks for it; it ranks highest of what is left",
        "and": ", ",
        "then": "; ",
        "end": ".",
    },
    "zh": {
        "habit": "以前选过（{count} 次）",
        "graph": "{relation}相同（{end}）",
        "above": "{relation}同属{end}（{words}）",
        "direct": "{relation}",
        "own": "另有 {count} 位{relation}相同（{end}）的也选了",
        "own once": "另有 1 位{relation}相同（{end}）的也选了",
        "own direct": "由{relation}（{end}）相连",
        "behaviour": "另有 {count} 位两者都选了",
        "once": "另有 1 位两者都选了",
        "text": "共同的词：{words}",
        "alike": "意思相近",
        "asked": "含有所问的词：{words}",
        "examples": "与已知的“{start}”相似",
        "because": "因为“{start}”：",
        "often": "选的人多",
        "nothing": "所选过的都与它无关；它在其余之中排得最高",
        "and": "，",
        "then": "；",
        "end": "。",
    },
}


NAMES = {"type": "类型", "colour": "颜色", "color": "颜色", "material": "材质", "size": "尺寸", "count": "件数", "theme": "主题"}
NAMES |= {
    "for audience": "适用人群",
    "brand": "品牌",
    "category": "类别",
    "categories": "类别",
    "price band": "价位",
}  # others as the tables have them


def language_of(*texts: str | None) -> Language:
    """Chinese where a text has Chinese letters, else English."""
    return "zh" if any(text and HAN.search(text) for text in texts) else "en"


def sentence(of: Explanation) -> str:
    """The best paths, those from one start together."""
    says, groups = SAYS[of.language], {}
    for path in of.paths[:MOST]:
        start = path.nodes[0].name if path.evidence in ("graph", "behaviour", "text") and len(path.nodes) > 1 else ""
        groups.setdefault(start, []).append(_clause(path, says, of.language))
    said = [(says["because"].format(start=start) if start else "") + says["and"].join(clauses) for start, clauses in groups.items()]
    if not said:
        best = max(of.channels.items(), key=lambda pair: pair[1], default=("", 0.0))[0]
        said = [says["often" if best.startswith("popular") else "nothing"]]
    whole = says["then"].join(said) + says["end"]
    return whole[:1].upper() + whole[1:]


def _clause(path: Path, says: dict[str, str], language: Language) -> str:
    kind, end, words = _kind(path), path.nodes[min(1, len(path.nodes) - 1)], path.words
    if kind == "above":
        low, end, high = path.nodes[1:-1]
        words = dict.fromkeys(node.name for node in (low, high) if node != end)
    return says[kind].format(
        relation=readable(path.relations[0], language) if path.relations else "",
        end=end.name,
        count=f"{path.count:,}",
        words=says["and"].join(words),
        start=path.nodes[0].name,
    )


def _kind(path: Path) -> str:
    """What is said of a path."""
    n = len(path.nodes)
    if path.evidence == "graph":
        return "direct" if n == 2 else "graph" if n == 3 else "above"
    if path.evidence == "text":
        return "alike" if not path.words else "asked" if n == 1 else "text"
    if path.evidence == "own":
        return "own direct" if n == 3 else "own once" if path.count == 1 else "own"
    return "once" if path.evidence == "behaviour" and path.count == 1 else path.evidence


def readable(relation: str, language: Language = "en") -> str:
    """A relation's name as a word: `has_brand` is brand."""
    name = relation.removeprefix("has_").replace("_", " ")
    return NAMES.get(name, name) if language == "zh" else name
