"""However the bytes of a file come, its lines are the same."""

from __future__ import annotations

import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from kgrec_finance.feeds.lines import Position, through


# --- growing files ----------------------------------------------------------------------------------------------------
class Pieces(io.RawIOBase):
    """A file that grows: every read gives one more piece of it."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        self.pieces = [data[one:two] for one, two in pairwise(edges)]

    def read1(self, size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def fileno(self) -> int:
        raise OSError


@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), max_size=8),
    st.lists(st.integers(0, 200), max_size=12),
    st.booleans(),
)
def test_any_split_of_the_bytes_gives_the_same_lines(parts, cuts, ended):
    data = b"\n".join(parts) + (b"\n" if ended and parts else b"")
    read = list(through(Pieces(data, cuts), Position(), 100, lambda: True, lambda: False, True))
    whole = list(through(Pieces(data, []), Position(), 100, lambda: True, lambda: False, True))
    assert read == whole
    assert b"".join(one.data + b"\n" * one.whole for one in read) == data
    assert all(one.after.at == two.start for one, two in pairwise(read)) and (not read or read[-1].after.at == len(data))
