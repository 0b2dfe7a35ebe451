"""What one query is given does not depend on the others of its block: not in ties at the end of a list either."""

from __future__ import annotations

import numpy as np

from kgrec_core.retrieval.blockwise import Blockwise


class Rows:
    """Queries that are rows of a table of scores."""

    def __init__(self, rows):
        self.rows = np.asarray(rows)

    def __len__(self):
        return len(self.rows)

    def take(self, index):
        return Rows(self.rows[index])


class Table(Blockwise):
    def __init__(self, table):
        self.table, self.mask_ = table, np.ones(table.shape[1], bool)

    def scores(self, queries, vectors):
        return self.table[queries.rows]


def test_ties_are_cut_the_same_way_alone_and_together():
    draw = np.random.default_rng(0)
    table = draw.integers(1, 4, (6, 400)).astype(np.float32)  # many equal scores
    table[1::2] *= draw.random((3, 400)) < 0.02  # of every second query few candidates are known
    channel = Table(table)
    together = channel.search(Rows(range(6)), None, 5)
    for number in range(6):
        alone = channel.search(Rows([number]), None, 5)
        assert (alone.rows[0] == together.rows[number]).all() and (alone.scores[0] == together.scores[number]).all()
    known = channel.search(Rows(range(1, 6, 2)), None, 5)
    assert (known.rows == together.rows[1::2]).all()
