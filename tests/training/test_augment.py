"""Queries of training are read in other words, by every way of saying them."""

from __future__ import annotations

import pytest
import torch

from kgrec_core.errors import KgrecError
from kgrec_core.training import augment
from kgrec_core.training.options import Augment, Train

FEW = {"epochs": 9, "steps": 4, "batch": 12, "lr": 0.01, "validations": 2, "schedule": "constant", "warmup": 0.0}


def test_queries_in_other_words(tuned, tmp_path, monkeypatch):
    from kgrec_core.training.augment import Augmenting

    (tmp_path / "words.txt").write_text("friend, pal, mate\nlonely\n")
    (tmp_path / "my_words.py").write_text("def upper(texts):\n    return [t.upper() for t in texts]\n")
    texts = ["a friend of red", "one", "", "我喜欢红色"] * 30

    def said(way: str, **how):
        found = Augmenting(Augment(how=(way,), texts=1.0, share=0.3, **how))
        found.groups_ = augment._synonyms(found.how)
        found.translate_ = augment._function(found.how) if way == "translate" else None
        torch.manual_seed(3)
        new = found.changed(texts)
        torch.manual_seed(3)
        assert new == found.changed(texts) and len(new) == len(texts)
        return [set(new[i::4]) for i in range(4)]

    assert said("drop") == [{"friend of red", "a of red", "a friend red", "a friend of"}, {"one"}, {""}, said("drop")[3]]
    assert said("cutoff")[0] == said("drop")[0] and all(len(t) == 3 for t in said("cutoff")[3])  # two of five characters
    assert said("swap")[0] == {"friend a of red", "a of friend red", "a friend red of"}
    assert said("synonyms", synonyms=tmp_path / "words.txt")[0] == {"a pal of red", "a mate of red"}
    assert said("translate", translate=tmp_path / "my_words:upper")[0] == {"A FRIEND OF RED"}
    for how, match in [
        ({"how": ("synonyms",)}, "name their file"),
        ({"how": ("synonyms",), "synonyms": tmp_path / "none.txt"}, "cannot be read"),
        ({"how": ("translate",)}, "name a function"),
        ({"how": ("translate",), "translate": tmp_path / "my_words:lower"}, "'lower'"),
    ]:
        with pytest.raises(KgrecError, match=match):
            tuned(Train(**FEW, augment=Augment(**how)), tmp_path / "x")
    history, model = tuned(Train(**FEW, augment=Augment(how=("drop", "swap"))), tmp_path / "y")
    assert history and model.encoder.augment is None
