"""A FAISS file from outside, opened. FAISS believes what a file says of itself, and the process ends where that is wrong.

So a flat index is compared byte by byte with the header that it must have; any other is first opened, read and searched by a process
of its own.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from kgrec_core.retrieval.index import library

SECONDS = 120
PROBE = """
import json, resource, sys
import numpy as np
path, n, room = json.loads(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (room, room))
import faiss
index = faiss.read_index(path)
if index.ntotal != n or not 0 < index.d < 65536 or index.metric_type != faiss.METRIC_INNER_PRODUCT:
    sys.exit(f"it holds {index.ntotal} vectors of width {index.d}, not {n}")
ivf = faiss.try_extract_index_ivf(index)
if ivf is not None:
    found = np.concatenate([faiss.rev_swig_ptr(ivf.invlists.get_ids(i), ivf.invlists.list_size(i)) for i in range(ivf.nlist)])
    if not np.array_equal(np.sort(found), np.arange(n)):
        sys.exit("its lists do not hold each vector once")
if n:
    stored = index.reconstruct_batch(np.unique(np.linspace(0, n - 1, 64).astype(np.int64)))
    if ivf is not None:
        ivf.nprobe = ivf.nlist
    scores, rows = index.search(stored[:8], min(n, 10))
    if rows.max() >= n:
        sys.exit("it finds vectors that it does not hold")
"""


def opened(file: Path, n: int) -> Any:
    """The index in a file, of n vectors, by inner product, mapped: processes share it. Raises ValueError where it is not one."""
    if not _flat(file, n):
        _probe(file, n)
    index = library().read_index(str(file), library().IO_FLAG_MMAP_IFC)
    if index.ntotal != n:
        raise ValueError(f"index.faiss holds {index.ntotal:,} vectors, not {n:,}")
    return index


def _flat(file: Path, n: int) -> bool:
    """Whether it is a flat index. Raises ValueError where it begins like one and is none."""
    with file.open("rb") as stream:
        head = stream.read(45)
    if head[:4] != b"IxFI":
        return False
    width, held = struct.unpack_from("<iq", head, 4) if len(head) == 45 else (0, -1)
    whole = b"IxFI" + struct.pack("<iqqq?iq", width, n, 2**20, 2**20, True, 0, n * width)
    if held != n or not 0 < width < 2**16 or head != whole or file.stat().st_size != 45 + 4 * n * width:
        raise ValueError(f"index.faiss is no flat index of {n:,} vectors")
    return True


def _probe(file: Path, n: int) -> None:
    room = 2**32 + 6 * file.stat().st_size
    command = [sys.executable, "-c", PROBE, json.dumps([str(file), n, room])]
    fd = [int(part) for part in str(file).split("/proc/self/fd/")[1:2] for part in part.split("/")[:1]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, pass_fds=fd)
    except subprocess.TimeoutExpired:
        raise ValueError(f"index.faiss is not opened in {SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ValueError(f"index.faiss is damaged ({said[-1][:160] if done.returncode > 0 and said else 'a process that opened it died'})")
