"""An explanation in a sentence, for whoever asked: English, or Chinese where the query or the texts are."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kgrec_core.explain.explanation import Explanation, Language, Path

MOST = 3  # paths that are said
HAN = re.compile(r"[\u3400-\u9fff]")
SAYS = {
    "en": {
        "habit": "chosen before ({count}x)",
        "graph": "same {relation} ({end})",
        "direct": "{relation}",
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
        "direct": "{relation}",
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
    kind: str = path.evidence
    if kind == "graph" and len(path.nodes) == 2:
        kind = "direct"
    if kind == "text" and len(path.nodes) == 1:
        kind = "asked"
    if path.evidence == "text" and not path.words:
        kind = "alike"
    end = path.nodes[1].name if len(path.nodes) > 2 else path.nodes[-1].name
    words = _listed(path.words, says)
    if kind == "behaviour" and path.count == 1:
        kind = "once"
    return says[kind].format(
        relation=readable(path.relations[0]) if path.relations else "",
        end=end,
        count=f"{path.count:,}",
        words=words,
        start=path.nodes[0].name,
    )


def _listed(words: Sequence[str], says: dict[str, str]) -> str:
    return says["and"].join(words)


def readable(relation: str) -> str:
    """A relation's name as a word: `has_brand` is brand."""
    return relation.removeprefix("has_").replace("_", " ")
