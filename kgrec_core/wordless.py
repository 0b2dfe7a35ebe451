"""A recipe on data in which nothing has a text: what reads words is left out, and a thing is where it stands among those it was met with."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from kgrec_core.data.facts import speaks
from kgrec_core.graph import Dataset
from kgrec_core.recipe.binding import Table, tree
from kgrec_core.recipe.recipe import Recipe

log = logging.getLogger("kgrec")
ENCODERS, CHANNELS = {"core/text", "core/tfidf"}, {"core/lexical"}  # that refuse what has no text
PLACE = {"use": "core/kge", "behaviours": True}


def fitting(recipe: Recipe, dataset: Dataset) -> Recipe:
    """The recipe as it is where a source or a target of some task has a text; else without language model and words.

    recipe: checked, so that every `use` is written out.
    """
    if speaks(dataset) or not ENCODERS & set(_uses(recipe.tree["encoder"])):
        return recipe
    encoder, place = recipe.tree["encoder"], tree(PLACE, Path.cwd(), "data without texts")
    if "items" not in encoder:
        encoder = tree({"use": "core/history"}, Path.cwd(), "data without texts")
    retrieval = {name: _without_words(table) for name, table in recipe.tree["retrieval"].items()}
    log.warning("[encoder]: %s in place of what reads texts, and no channel that reads words", PLACE["use"])
    return Recipe({**recipe.tree, "encoder": {**encoder, "items": place}, "retrieval": retrieval})


def _uses(node: Any) -> list[str]:
    if not isinstance(node, dict):
        return []
    own = [node["use"].value] if "use" in node else []
    return own + [use for below in node.values() for use in _uses(below)]


def _without_words(table: Table) -> Table:
    """A retrieval without its channels that read words, and without what is said of them by name."""
    gone = {name for name, below in table.items() if isinstance(below, dict) and "use" in below and below["use"].value in CHANNELS}
    left = {name: below for name, below in table.items() if name not in gone}
    return {
        name: {key: value for key, value in _without_words(below).items() if key not in gone} if isinstance(below, dict) else below
        for name, below in left.items()
    }
