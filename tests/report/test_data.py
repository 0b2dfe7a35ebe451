"""The report says what was read for the fit, with its doubts; a run without a summary has no such section."""

from __future__ import annotations

from kgrec_core.data.summary import Summary
from kgrec_core.report.page import _read


def test_the_summary_stands_in_the_report_as_text():
    summary = Summary()
    summary.left_out("<b>orders.csv", "sku is no item", 3)
    summary.doubts.append("buys: 1 of 9 times lie in the future")
    page = "".join(_read({"data": summary.to_json()}))
    assert "&lt;b&gt;orders.csv: 0 rows, 3 left out (sku is no item)" in page and "doubt: buys: 1 of 9" in page
    assert _read({}) == []
