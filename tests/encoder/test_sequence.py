"""`sequence`: the closed form it starts from, and what is promised of an encoder."""

from __future__ import annotations

import pytest

from kgrec_core.encoder.concat import Concat
from kgrec_core.encoder.sequence import Sequence
from kgrec_core.encoder.tfidf import Tfidf
from kgrec_core.testing import check_encoder
from tests.encoder.test_history import Bought, Letters


@pytest.mark.parametrize(
    "items", [Letters, Bought, lambda: Concat(encoders={"a": Letters(), "words": Tfidf(width=8)}), lambda: Tfidf(width=8)]
)
@pytest.mark.parametrize("settings", [{}, {"layers": 0}, {"width": 0}])
def test_whatever_the_items_are_encoded_by_it_keeps_what_is_promised_of_an_encoder(items, settings):
    check_encoder(lambda: Sequence(items=items(), **{"width": 8, "heads": 2, "last": 6} | settings))
