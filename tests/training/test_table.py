"""One table of what fine-tuning can do: in code, docs and command line, asked for by words of a recipe."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from kgrec_core.cli.main import main
from kgrec_core.errors import KgrecError
from kgrec_core.training import table
from kgrec_core.training.options import Train

DOCS = Path(__file__).parents[2] / "docs/training.md"


def markdown() -> str:
    """The table as docs/training.md contains it."""
    lines = ["| keys | what it does | when | source |", "|---|---|---|---|"]
    lines += [f"| {', '.join(f'`{key}`' for key in row.keys.split())} | {row.does} | {row.when} | {row.source} |" for row in table.ROWS]
    return "\n".join(lines) + "\n"


def test_one_table_in_code_docs_and_command_line():
    assert markdown() in DOCS.read_text("utf-8"), "docs/training.md: put the output of markdown() between its markers"
    shown = CliRunner().invoke(main, ["show", "train"]).output
    keys = {key for row in table.ROWS for key in row.keys.split()}
    for row in table.ROWS:
        assert row.does in shown and row.when
    assert {f"train.{field.name}" for field in fields(Train)} <= keys, "every key of [train] stands in the table"
    assert {key.split(".")[1] for key in keys if key.startswith("train.")} <= {field.name for field in fields(Train)}
    assert not table.techniques(Train()), "by default a plain loop"


@pytest.mark.parametrize(("words", "said"), [(["show"], "Missing argument"), (["show", "encoder"], "kgrec show train needs none")])
def test_show_without_a_name(words, said):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2 and said in done.output + str(done.exception)


def test_a_recipe_asks_for_them_by_words(tmp_path):
    from kgrec_core.recipe.recipe import resolve
    from kgrec_core.recipe.registry import Registry

    def asked(*words: str) -> Train:
        return resolve(list(words)).section("train", Train, Registry.discover())

    assert [asked(f"train.freeze={word}").freeze for word in ("2", "gradual", "all", "none")] == [2, "gradual", "all", "none"]
    assert asked("train.adapter.kind=lora", "train.adapter.target_modules=['query']").adapter == {
        "kind": "lora",
        "target_modules": ["query"],
    }
    augment = asked("train.augment.how=['drop', 'translate']", "train.augment.translate=my_words:upper").augment
    assert augment is not None and augment.how == ("drop", "translate") and augment.translate == Path.cwd() / "my_words:upper"
    for word, said in [
        ("train.freeze=some", 'train.freeze = "some" .*it takes int | "none" | "embeddings" | "gradual" | "all"'),
        ("train.augment.how=['dropp']", r"train.augment.how.*dropp"),
        ("train.augment.hows=['drop']", r"'hows'; did you mean 'how'\?|'hows'"),
        ("train.precision=fp8", "train.precision"),
    ]:
        with pytest.raises(KgrecError, match=said):
            asked(word)
