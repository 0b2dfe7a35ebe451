"""Data in which nothing has a text: customers and what they met, and no more."""

from __future__ import annotations

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.jobs.check import checked
from kgrec_core.pipeline import fit
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.recipe import resolve
from kgrec_core.run.run import open_run

LAYER = {
    "data": {
        "use": "tables",
        "relations": {
            "buys": {
                "file": "met.tsv",
                "source": {"kind": "user", "column": "user", "unknown": "add"},
                "target": {"kind": "item", "column": "item", "unknown": "add"},
            }
        },
        "tasks": {"buys": {"relation": "buys"}},
    },
    "split": {"by": "last"},
    "retrieval": {"buys": {name: {"use": "none"} for name in ("ease_recent", "neighbours_recent", "basket", "popular_week")}},
}


@pytest.fixture
def met(tmp_path, monkeypatch):
    """Two camps of ten: each meets six of its own eight things."""
    monkeypatch.chdir(tmp_path)
    rows = [f"{camp}{n}\t{camp}{(n * 3 + step * 5) % 8}" for camp in "ab" for n in range(10) for step in range(6)]
    (tmp_path / "met.tsv").write_text("\n".join(["user\titem", *rows]) + "\n")
    return tmp_path


def test_what_has_no_text_anywhere_is_fitted_without_a_language_model(met, cache, caplog):
    """The recipe as it stands: it says what it leaves out, and the run that is published opens and keeps to the camps."""
    recipe = resolve("kgrec_ecommerce:recipe.toml", LAYER)
    said = checked(Domain("ecommerce", "kgrec_ecommerce:recipe.toml"), (LAYER,))
    assert any("neither item nor user has a text" in doubt for doubt in said.doubts)
    run = fit(recipe, met / "run")
    assert "core/kge in place of what reads texts" in caplog.text
    tables = run.recipe.tables
    assert tables["encoder"]["use"] == "core/history" and tables["encoder"]["items"]["use"] == "core/kge"
    assert "lexical" not in str(tables["retrieval"]) and not (met / "run" / "encoder" / "items" / "model.safetensors").exists()
    again = open_run(met / "run")
    for user in ("a1", "b1"):
        assert {answer.id[0] for answer in again.answer([user], k=2)[0]} == {user[0]}
    with pytest.raises(KgrecError, match="nothing in this run has a text"):
        again.answer([{"text": "jazz"}])
