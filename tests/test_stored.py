"""What a run folder holds is looked at before native code sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from kgrec_core.stored import arrays, csr


@pytest.mark.parametrize("indptr", [[0, 3, 1, 4], [0, 1, 3, 0], [1, 2, 3, 4], [0, 1, 2, 3], [0, 2, 4, 5], [0, 9, 1, 0]])
def test_rows_of_a_sparse_matrix_follow_each_other(indptr):
    data, indices = np.ones(4, np.float32), np.array([0, 1, 0, 1], np.int32)
    assert csr(data, indices, np.array([0, 1, 3, 4], np.int32), (3, 2)).nnz == 4
    with pytest.raises(ValueError, match="do not follow each other"):
        csr(data, indices, np.array(indptr, np.int32), (3, 2))


def test_arrays_are_mapped_from_their_file_and_what_is_written_stays_outside_of_it(tmp_path):
    file = tmp_path / "of.safetensors"
    save_file({"weights": np.arange(10_000, dtype=np.float32), "mask": np.array([True, False])}, file)
    before, found = file.read_bytes(), arrays(file)
    assert found["weights"].dtype == np.float32 and found["mask"].tolist() == [True, False]
    address = found["weights"].ctypes.data
    spans = [line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(file.name)]
    assert any(int(low, 16) <= address < int(high, 16) for low, high in spans)
    found["weights"][0] = 7
    assert file.read_bytes() == before
