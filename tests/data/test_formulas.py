"""formulas: no cell of an export is computed by a spreadsheet, and what was exported is read as it was."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.data.formulas import guarded, unguarded

TEXT = st.text(st.sampled_from("=+-@\t\r' a1.5e"), max_size=8)


def test_texts_are_marked_and_numbers_are_not():
    frame = pl.DataFrame(
        {"t": ["=1+1", "+x", "-x", "@x", "\tx", "-5", "+3.5e2", "a=b", "", None, "'=x", "'x"], "n": [-1.5] * 12, "=c": ["a"] * 12}
    )
    marked = guarded(frame)
    assert marked["t"].to_list() == ["'=1+1", "'+x", "'-x", "'@x", "'\tx", "-5", "+3.5e2", "a=b", "", None, "''=x", "'x"]
    assert marked.columns == ["t", "n", "'=c"] and marked["n"].to_list() == [-1.5] * 12
    assert unguarded(marked)["t"].to_list() == frame["t"].to_list()


@given(st.lists(TEXT))
def test_what_was_exported_is_read_as_it_was(texts):
    frame = pl.DataFrame({"t": texts}, schema={"t": pl.String})
    marked = guarded(frame)
    assert unguarded(marked).equals(frame)
    assert not any(cell[:1] in "=@\t\r" and cell for cell in marked["t"])
