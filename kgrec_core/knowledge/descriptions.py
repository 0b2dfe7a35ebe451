"""What a description adds to a name: it is prose, so a word counts where another one says what it is there for.

In a name every word says what is sold. In prose a colour may be that of the box and a material
that of the table it stands on. Only what a name leaves open is filled, and by cues: made of, 100 %, material:, for, in a ... print.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping

from kgrec_core.knowledge.lexicon import CUES, DENIED, MOTIFS
from kgrec_core.knowledge.phrases import WITH, phrase

END = re.compile(r"(?<=[^\W\d_]{3})[.!?](?=\s+\S)|[.!?](?=\s*$)|(?<=\d)\.(?=\s+[^\W\d_]{2})|[。！？\n;；]+")  # not that of "St." or "4.5"
PROSE = 4  # words behind the first sentence from which on they describe it
REACH, DENIES = 5, 4  # words from a cue, and from a denial, to what it is about


def parted(text: str) -> tuple[str, str]:
    """The name, and the prose behind it: "" where what follows the first sentence is as short as a name goes on.

    >>> parted("Red mug. A mug made of ceramic, for tea.")
    ('Red mug', 'A mug made of ceramic, for tea.')
    >>> parted("PING! MICROWAVE PLATE")
    ('PING! MICROWAVE PLATE', '')
    """
    end = END.search(text)
    if end is None:
        return text, ""
    rest = text[end.end() :].strip()
    han = len(re.findall(r"[\u3400-\u9fff]", rest))
    return (text[: end.start()], rest) if len(rest.split()) >= PROSE or han >= 2 * PROSE else (text, "")


def described(
    prose: str, singular: Callable[[str], str], lists: Mapping[str, Mapping[str, str]], themes: Container[str], open_: Container[str]
) -> dict[str, list[str]]:
    """attribute -> distinct values that a description states, of the attributes in `open_`.

    lists: kind -> written form -> value. themes: words.
    """
    found: dict[str, list[str]] = {}
    for sentence in END.split(re.sub(r"\d+ ?[%％]", " made ", prose)):
        read = phrase(sentence or "", singular)
        for kind, values in (("count", read.counts), ("size", read.measures)):
            if kind in open_ and values:
                found.setdefault(kind, []).extend(values)
        words = read.words
        for place, word in enumerate(words):
            if DENIED.intersection(words[max(0, place - DENIES) : place + 2]):
                continue
            before = set(words[max(0, place - REACH) : place])
            meant = WITH in words[max(0, place - 2) : place]  # "for kids"
            for kind, cues in CUES.items():
                if kind in open_ and (cues & before or (meant and kind == "audience")) and (value := lists[kind].get(word)) is not None:
                    found.setdefault(kind, []).append(value)
            if "theme" in open_ and word in themes and MOTIFS.intersection(words[place + 1 : place + 3]):
                found.setdefault("theme", []).append(word)
    return {kind: list(dict.fromkeys(values)) for kind, values in found.items()}
