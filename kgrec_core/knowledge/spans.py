"""Facts read by a small causal model that cannot be relied on to write JSON: it is asked how likely the words of a text are as an answer.

A stretch of the text is worth what a relation's question adds to its likelihood (pointwise mutual information: Holtzman et al. 2021, "Surface form
competition"); the relations compete for it with each other and with none. So every answer follows the schema, every value stands in the
text, and every confidence is a probability of the model's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from kgrec_core.knowledge.generators import Likely

WORDS, MOST = 3, 40  # of a stretch; words of a text that are read
NONE = 3.0  # log-odds that a question must add for a stretch to be as likely its answer as not
ASKED = "Text: red wooden chair\nthe kind of thing: chair\n\nText: {text}\n{what}:"
NEUTRAL = "something that is said"


def facts(likely: Likely, text: str, relations: Mapping[str, str]) -> Iterator[tuple[str, str, float]]:
    """(relation, value, confidence from 0 to 1): of every relation the stretch that answers it best."""
    words = text.casefold().split()[:MOST]
    stretches = list(dict.fromkeys(" ".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(i + WORDS, len(words)) + 1)))
    if not stretches:
        return
    after, said = [f" {stretch}\n" for stretch in stretches], " ".join(words)
    usual = likely(ASKED.format(text=said, what=NEUTRAL), after)
    gain = np.stack([likely(ASKED.format(text=said, what=what), after) - usual for what in relations.values()])
    odds = np.exp(np.minimum(gain, 50) - NONE)
    share = odds / (1 + odds.sum(0))
    for relation, of in zip(relations, share, strict=True):
        best = int(of.argmax())
        yield relation, stretches[best], float(of[best])
