"""What a run folder holds is looked at before native code sees it."""

from __future__ import annotations

import numpy as np
import pytest

from kgrec_core.stored import csr


@pytest.mark.parametrize("indptr", [[0, 3, 1, 4], [0, 1, 3, 0], [1, 2, 3, 4], [0, 1, 2, 3], [0, 2, 4, 5], [0, 9, 1, 0]])
def test_rows_of_a_sparse_matrix_follow_each_other(indptr):
    data, indices = np.ones(4, np.float32), np.array([0, 1, 0, 1], np.int32)
    assert csr(data, indices, np.array([0, 1, 3, 4], np.int32), (3, 2)).nnz == 4
    with pytest.raises(ValueError, match="do not follow each other"):
        csr(data, indices, np.array(indptr, np.int32), (3, 2))
