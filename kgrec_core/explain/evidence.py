"""What speaks in a score: its parts by channel, and by what of the world they stand on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from kgrec_core.interfaces import Retrieval

NEAR = re.compile(r"near by (.+?)(?: lately| last)?$")
POPULAR = ("events", "sources", "trend ", "age", "since last seen", "share that returns", "mean weight", "edges")


class Part(NamedTuple):
    """group: as it is shown: a channel, or a group of columns. evidence: see `Retrieval.evidence`. relation: of the graph alone; None = any."""

    group: str
    evidence: str
    relation: str | None = None


def channels_of(retrieval: Retrieval) -> dict[str, str]:
    """Channel -> what speaks when it does; a re-ranker among them says what all in it say, if that is one thing."""
    found: dict[str, str] = {}
    for part in retrieval.inside():
        for name, channel in getattr(part, "channels", {}).items():
            kinds = {inner.evidence for inner in channel.inside() if inner.evidence}
            found[name] = kinds.pop() if len(kinds) == 1 else ""
    return found


def part(name: str, channels: Mapping[str, str], whole: str = "") -> Part:
    """What a part of a score, by its name, belongs to. whole: the evidence of a retrieval whose score is one piece."""
    channel = name.partition(": ")[0]
    if channel in channels:
        return Part(channel, channels[channel])
    if found := NEAR.match(name):
        return Part(f"near by {found[1]}", "graph", None if found[1] == "all" else found[1])
    if name in ("score", "baseline"):
        return Part(name, whole if name == "score" else "")
    if name.startswith("own ") or (" own " in f" {name} " and not name.endswith(" above own")):
        return Part("query", "")
    if name.split(" ")[0] == "met" or " met" in name:
        return Part("met before", "habit")
    if name.startswith(POPULAR):
        return Part("popular", "popularity")
    return Part(name.removesuffix(" above own").removesuffix(" apart"), "attributes")
