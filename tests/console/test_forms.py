"""What is typed into a form becomes what an endpoint takes."""

from __future__ import annotations

import pytest

from kgrec_core.console.forms import inputs, table, values
from kgrec_core.errors import KgrecError
from kgrec_core.serving.body import Limits


def test_what_is_typed_in_becomes_the_endpoints_values():
    from kgrec_ecommerce import Recommend
    from kgrec_ecommerce.catalogue import AddItems

    form = {"history": ["a, b\r\nc"], "at_most": ["brand=2\ncolour=1"], "k": ["7"], "new": ["on"], "text": [""], "diversity": ["0.5"]}
    found = values(Recommend, form, Limits())
    assert found == {
        "history": ["a", "b", "c"],
        "at_most": ["brand=2", "colour=1"],
        "k": 7,
        "new": True,
        "explain": False,
        "diversity": 0.5,
    }
    seen, folded = inputs(Recommend, None, "zh")
    assert [one.name for one in seen] == ["user", "history", "text", "k", "explain"] and {"at_most", "where"} < {one.name for one in folded}
    assert next(one for one in folded if one.name == "language").value == "zh"
    assert values(AddItems, {"file": ["sku,price\n007,4.5\n8,"]}, Limits()) == {"file": [{"sku": "007", "price": 4.5}, {"sku": "8"}]}
    for faulty in ("sku", "sku,price\n1", "sku\n1,2"):
        with pytest.raises(KgrecError, match="line"):
            table(faulty, "file")
    with pytest.raises(KgrecError, match="takes a whole number"):
        values(Recommend, {"k": ["many"]}, Limits())
