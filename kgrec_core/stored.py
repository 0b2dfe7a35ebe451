"""What a folder from outside holds, looked at before native code sees it: names, JSON, tables, rows and sparse matrices.

A checksum says that a file is what its folder promises, not that the folder is anybody's friend. Everything here raises ValueError
with the reason; who reads says which file of which run it was (`errors.damage`).
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

LARGEST = 2**28  # bytes of a JSON file


def inside(folder: Path, name: Any) -> Path:
    """The file `name` of a folder: a relative path that does not leave it."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        raise ValueError(f"{name!r} is no name of a file")
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"{name!r} leads out of the folder")
    return folder / name


def walked(folder: Path) -> Iterator[str]:
    """The names of all files below a folder. A link or a special file (a pipe would be waited for) is refused."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            mode, shown = os.lstat(path).st_mode, os.path.relpath(path, folder)
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise ValueError(f"{shown!r} is a {'link' if stat.S_ISLNK(mode) else 'special file'}, and a run holds files only")
            if stat.S_ISREG(mode):
                yield shown


def document(file: Path | bytes, of: type = dict) -> Any:
    """The JSON in a file, of this type."""
    whole = file if isinstance(file, bytes) else _whole(file)
    try:
        value = json.loads(whole)
    except RecursionError:
        raise ValueError("its JSON is too deep") from None
    if not isinstance(value, of):
        raise ValueError(f"its JSON is a {type(value).__name__}, no {of.__name__}")
    return value


def _whole(file: Path) -> bytes:
    if not stat.S_ISREG(file.lstat().st_mode):
        raise ValueError(f"{file.name} is a link or a special file")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"{file.name} has {file.stat().st_size:,} bytes")
    return file.read_bytes()


def parquet(file: Path | bytes, columns: dict[str, Any] | None = None) -> pl.DataFrame:
    """A Parquet file, its row groups looked at before it is read. columns: name -> type that it must have."""
    from io import BytesIO

    import pyarrow as pa
    from pyarrow import parquet as files

    source = BytesIO(file) if isinstance(file, bytes) else file
    size = len(file) if isinstance(file, bytes) else file.stat().st_size
    try:
        about = files.read_metadata(source)
        groups = [about.row_group(i) for i in range(about.num_row_groups)]
        told = [(group.num_rows, column.num_values, column) for group in groups for column in map(group.column, range(group.num_columns))]
        if any(rows < 0 for rows, _, _ in told) or sum(group.num_rows for group in groups) != about.num_rows:
            raise ValueError("its row groups have other rows than the file")
        if any(c.total_compressed_size < 0 or c.total_compressed_size > size or c.total_uncompressed_size > 2**36 for *_, c in told):
            raise ValueError("it says that it holds more than it can")
        table = files.read_table(source, memory_map=False)
        table.validate(full=True)
        (found,) = framed([table])
    except (pa.ArrowException, OSError, OverflowError, RuntimeError) as error:
        raise ValueError(str(error).partition("\n")[0]) from None
    for name, dtype in (columns or {}).items():
        if found.schema.get(name) != dtype:
            raise ValueError(f"its column {name} is {found.schema.get(name, 'missing')}, no {dtype}")
    return found


def stream(whole: bytes) -> Any:
    """An Arrow table written as an IPC stream, or as an IPC file; its offsets and texts are looked at, as polars takes them on trust."""
    import pyarrow as pa

    try:
        with (pa.ipc.open_file if whole.startswith(b"ARROW1") else pa.ipc.open_stream)(pa.py_buffer(whole)) as reader:
            table = reader.read_all()
            table.validate(full=True)
            return table
    except (pa.ArrowException, OSError, OverflowError, RuntimeError) as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def framed(tables: Sequence[Any]) -> list[pl.DataFrame]:
    """Arrow tables as polars has them. Those of one schema are handed over as one: a thousand small ones cost little more than one."""
    import pyarrow as pa

    alike: dict[Any, list[int]] = {}
    for place, table in enumerate(tables):
        alike.setdefault(table.schema, []).append(place)
    found: list[pl.DataFrame] = [pl.DataFrame()] * len(tables)
    for places in alike.values():
        of = [tables[place] for place in places]
        whole, start = pl.from_arrow(pa.concat_tables(of).combine_chunks()), 0  # polars would join them in threads, lost in a fork
        if not isinstance(whole, pl.DataFrame):
            raise ValueError("it is no table")
        for place, table in zip(places, of, strict=True):
            found[place], start = whole[start : start + len(table)], start + len(table)
    return found


def arrays(file: Path) -> dict[str, NDArray]:
    """Of a safetensors file, mapped: what several processes read of it stands in memory once, what one writes to is its own."""
    from safetensors.torch import load_file

    return {name: values.numpy() for name, values in load_file(file).items()}


def rows(values: Any, size: int, ascending: bool = True) -> NDArray[np.int64]:
    """(n,) row numbers below `size`; each once and in order where `ascending`."""
    if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype != np.int64:
        raise ValueError("row numbers are no list of int64")
    if len(values) and (values.min() < 0 or values.max() >= size):
        raise ValueError(f"row numbers from {values.min()} to {values.max()} of {size}")
    if ascending and (np.diff(values) <= 0).any():
        raise ValueError("row numbers do not ascend")
    return values


def numbers(values: Any, shape: tuple[int | None, ...]) -> NDArray:
    """Finite floats of this shape; None = of any length."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f":
        raise ValueError("numbers are no floats")
    if values.ndim != len(shape) or any(wanted is not None and wanted != n for wanted, n in zip(shape, values.shape, strict=True)):
        raise ValueError(f"numbers have the shape {values.shape} instead of {shape}")
    if not np.isfinite(values).all():
        raise ValueError("numbers are not finite")
    return values


def csr(data: NDArray, indices: NDArray, indptr: NDArray, shape: tuple[int, int]) -> sp.csr_matrix:
    """A sparse matrix whose indices stay within its shape: scipy multiplies without looking."""
    for name, part, kind in (("data", data, "fiub"), ("indices", indices, "i"), ("indptr", indptr, "i")):
        if not isinstance(part, np.ndarray) or part.ndim != 1 or part.dtype.kind not in kind:
            raise ValueError(f"a sparse matrix' {name} are {getattr(part, 'dtype', type(part).__name__)}")
    if len(shape) != 2 or not all(0 <= int(n) < 2**31 for n in shape) or len(indptr) != shape[0] + 1:
        raise ValueError(f"a sparse matrix of shape {tuple(map(int, shape))} has {len(indptr) - 1} rows")
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise ValueError("a sparse matrix holds numbers that are not finite")
    if indptr[0] != 0 or indptr[-1] != len(data) or (np.diff(indptr) < 0).any():  # scipy does not look where the last is 0
        raise ValueError("a sparse matrix' rows do not follow each other")
    matrix = sp.csr_matrix((data, indices, indptr), shape=tuple(map(int, shape)))
    matrix.check_format(full_check=True)
    return matrix
