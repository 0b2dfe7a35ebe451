"""A FAISS index for given vectors: which one, filled, and its search setting calibrated to a recall on these very vectors."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from kgrec_core.errors import KgrecError
from kgrec_core.interfaces import Vectors

FLAT = 50_000  # up to here exact search answers a query in milliseconds, and no approximate index pays
SAMPLE, AT = 400, 10  # stored vectors that calibrate, and the k their recall is taken at
FACTORS = (1, 2, 4, 8, 16)


class Setting(NamedTuple):
    """How an index is searched. effort: nprobe or efSearch. factor: k_factor of a refinement. recall: reached@10.

    filters: whether the index takes selectors.
    """

    effort: int = 0
    factor: int = 1
    recall: float = 1.0
    filters: bool = True


def library() -> ModuleType:
    """The module faiss, imported when first needed. Raises KgrecError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise KgrecError(
            f'retrieval "faiss" needs the module faiss ({error}); pip install "kgrec-core[cpu]" or "kgrec-core[gpu]", or set use = "exact"'
        ) from None
    return faiss


def choose(n: int, d: int, room: float, gpu: bool) -> tuple[str, str]:
    """An index_factory string for n vectors of width d in `room` bytes, and the reason for it."""
    if n <= FLAT:
        return "Flat", f"{n:,} candidates are few enough to search exactly (up to {FLAT:,})"
    if gpu and 4 * n * d <= room:
        return "Flat", f"{n:,} candidates fit into the GPU, which searches them exactly"
    lists = 2 ** round(np.log2(4 * np.sqrt(n)))
    # Two bits find, the refinement ranks: at equal recall 2 to 4 times as fast as IVF-Flat. Bytes per vector, with ids and factors.
    codes = (("RaBitQ2,Refine(SQfp16)", 2.25 * d), ("RaBitQ2,Refine(SQ8)", 1.25 * d), ("RaBitQ4", d / 2), ("RaBitQ", d / 8))
    sizes = [(code, n * (size + 32) + 4 * lists * d) for code, size in codes]
    code, size = next((pair for pair in sizes if pair[1] <= room), sizes[-1])
    fits = f" fit into the {room / 2**20:,.0f} allowed" if size <= room else ", the least possible, exceed the memory allowed"
    return f"IVF{lists},{code}", f"{n:,} candidates are many to search exactly, and about {size / 2**20:,.0f} MiB{fits}"


def filled(name: str, vectors: Vectors) -> Any:
    """The index called `name`, trained on the vectors and holding them. Raises KgrecError where FAISS refuses either."""
    faiss = library()
    try:
        index = faiss.index_factory(vectors.shape[1], name, faiss.METRIC_INNER_PRODUCT)
        ivf = faiss.try_extract_index_ivf(index)
        if ivf is not None:
            ivf.cp.max_points_per_centroid = 64  # four times as fast as the default; k-means gains little from more
        index.train(vectors)
        index.add(vectors)
        if ivf is not None and not isinstance(below(index, refined=False), faiss.IndexRefine):
            ivf.make_direct_map()  # brute force reads stored vectors by position
        if len(vectors):
            index.reconstruct(0)
    except RuntimeError as error:
        raise KgrecError(
            f"faiss {faiss.__version__} cannot build index {name!r} over {len(vectors):,} vectors of width {vectors.shape[1]}"
            f" ({plain(error)}); choose auto, Flat, or an index_factory string for inner products with fewer lists and without IDMap"
        ) from None
    return index


def plain(error: Exception) -> str:
    """What FAISS says, without the C++ signature before it."""
    return re.sub(r".*\.cpp:\d+: ", "", str(error), flags=re.DOTALL).partition("\n")[0]


def below(index: Any, refined: bool = True) -> Any:
    """The index below transformations, and below a refinement if `refined`."""
    faiss = library()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return below(index.index, refined)
    return below(index.base_index) if refined and isinstance(index, faiss.IndexRefine) else index


def knob(index: Any) -> tuple[str, int]:
    """What trades speed for recall in this index, and its highest value; ("", 0) = nothing does."""
    inner = below(index)
    if isinstance(inner, library().IndexIVF):
        return "nprobe", inner.nlist
    return ("efSearch", min(index.ntotal, 4096)) if isinstance(inner, library().IndexHNSW) else ("", 0)


def parameters(index: Any, setting: Setting, selector: Any = None) -> Any:
    """Search parameters for every layer of the index: passed to each search, so that no search changes the index."""
    faiss = library()
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=parameters(index.index, setting, selector))
    if isinstance(index, faiss.IndexRefine):
        return faiss.IndexRefineSearchParameters(k_factor=setting.factor, base_index_params=parameters(index.base_index, setting, selector))
    if isinstance(index, faiss.IndexIVF):
        return faiss.SearchParametersIVF(nprobe=setting.effort, sel=selector)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=setting.effort, sel=selector)
    return None if selector is None else faiss.SearchParameters(sel=selector)


def calibrated(name: str, index: Any, vectors: Vectors, recall: float) -> Setting:
    """The least setting with the asked recall@10 against Flat; where none has it, the least that is as good as the best.

    Stored vectors are the queries, each without itself. Upwards: the search stops where the recall is reached. A graph index
    is measured on a second one without these vectors: their own links would lead straight to their neighbours.
    """
    faiss, k, n = library(), AT, len(vectors)
    if isinstance(index, faiss.IndexFlat):
        return Setting()
    filters = _takes_selectors(index, n)
    has, most = knob(index)
    if n <= SAMPLE:  # too few to measure; the most thorough search of them costs nothing
        return Setting(most, FACTORS[-1], filters=filters)
    asked = np.random.default_rng(0).choice(n, SAMPLE, replace=False)
    x, own = vectors[asked], asked[:, None]
    if isinstance(below(index), (faiss.IndexHNSW, faiss.IndexNSG)):
        vectors, own = np.delete(vectors, asked, axis=0), np.full_like(own, -2)
        index = filled(name, vectors)
    true, near = faiss.knn(x, vectors, k + 1, metric=faiss.METRIC_INNER_PRODUCT)
    true = -np.sort(-np.where(near == own, -np.inf, true))[:, k - 1 : k]

    def share(effort: int, factor: int) -> float:
        at = index.search(x, k + 1, params=parameters(index, Setting(effort, factor)))[1]
        other = (at >= 0) & (at != own)
        other &= other.cumsum(1) <= k
        right = np.einsum("nd,nkd->nk", x, vectors[at]) >= true - 1e-5 * np.abs(true)  # by score: equal vectors are equally right
        return float((other & right).sum() / (k * len(x)))

    efforts = np.unique(np.append(np.ceil(1.4 ** np.arange(40)).astype(int), most)) if has else np.zeros(1, int)
    factors = FACTORS if isinstance(below(index, refined=False), faiss.IndexRefine) else (1,)
    curve: dict[int, float] = {}
    for effort in efforts[efforts <= most].tolist():
        curve[effort] = share(effort, factors[-1])
        if curve[effort] >= recall:
            break
    best = max(curve.values())
    goal = recall if best >= recall else best - 0.002
    effort = next(e for e, r in curve.items() if r >= goal)
    for factor in factors:
        got = curve[effort] if factor == factors[-1] else share(effort, factor)
        if got >= goal:
            break
    return Setting(effort, factor, got, filters)


def _takes_selectors(index: Any, n: int) -> bool:
    try:
        index.search(np.ones((1, index.d), np.float32), 1, params=parameters(index, Setting(1), library().IDSelectorRange(0, n)))
    except RuntimeError:  # behind a filter such an index is searched by brute force
        return False
    return True


def described(index: Any, setting: Setting, recall: float) -> str:
    """In words, how the index is searched and what that gives."""
    if isinstance(index, library().IndexFlat):
        return "recall 1"
    name, most = knob(index)
    said = f"{name}={setting.effort} of {most}, " if name else ""
    said += f"k_factor={setting.factor}, " if isinstance(below(index, refined=False), library().IndexRefine) else ""
    if index.ntotal <= SAMPLE:
        return f"{said}too few candidates to measure a recall"
    said += f"recall@{AT} {setting.recall:.3f} of {recall:g} asked, against Flat, {SAMPLE} stored vectors as queries"
    return said + ("" if setting.recall >= recall else "; NO setting of this index reaches it: take a finer index, or Flat")
