"""A number that means nothing is one line before anything is computed, at the command that fits and at the one that checks."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Annotated, Any, Union, get_args, get_origin

import pytest

from kgrec_core.errors import KgrecError
from kgrec_core.finetuning import SECTIONS, sections
from kgrec_core.recipe.parameters import expand, parameters, part_kind, part_mapping, spell
from kgrec_core.recipe.ranges import Amount, Cosine, Count, Dropout, Fraction, Inside, Positive, Range, Several, Share, Size
from kgrec_core.recipe.recipe import resolve
from kgrec_core.recipe.registry import Registry, load
from kgrec_core.recipe.signatures import light
from kgrec_core.training.options import Train

ANY = {"concat.weights", "merge.weights", "lambdarank.unchosen", "columns.links.edges"}  # a channel may count against another


@pytest.mark.parametrize(
    ("wanted", "said", "holds", "not_"),
    [
        (Count, "int from 0 on", [0, 7], [-1]),
        (Size, "int from 1 on", [1], [0]),
        (Several, "int from 2 on", [2], [1]),
        (Cosine, "float from -1 to 1", [-1.0, 1.0], [1.1]),
        (Amount, "float from 0 on", [0.0, 1e9], [-1e-9, float("nan")]),
        (Positive, "float above 0", [1e-9], [0.0]),
        (Share, "float from 0 to 1", [0.0, 1.0], [-0.1, 1.1]),
        (Fraction, "float above 0 to 1", [1.0], [0.0]),
        (Dropout, "float from 0 to below 1", [0.0], [1.0]),
        (Inside, "float above 0 to below 1", [0.5], [0.0, 1.0]),
    ],
)
def test_what_a_range_holds_and_how_it_is_told(wanted, said, holds, not_):
    bounds: Range = get_args(wanted)[1]
    assert spell(wanted) == said and all(map(bounds.holds, holds)) and not any(map(bounds.holds, not_))


@pytest.mark.parametrize("how", [load, light], ids=["fit", "check"])
@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.batch=0", r"train\.batch = 0 \(the command line\): it takes int from 1 on"),
        ("train.lr=-1", r"train\.lr = -1 .*float from 0 on"),
        ("train.epochs=nan", r"train\.epochs = NaN .*it takes a finite number"),
        ("train.ensemble=0", "int from 1 on"),
        ("train.layer_decay=1.5", "float above 0 to 1"),
        ("train.weights.answer=-1", r"train\.weights\.answer = -1 .*float from 0 on"),
        ("train.teacher={model='x', temperature=0}", r"train\.teacher\.temperature = 0 "),
        ("train.augment.share=2", "float from 0 to 1"),
        ("train.objectives.tsdae={use='tsdae', batch=0}", r"train\.objectives\.tsdae\.batch = 0 "),
        ("head.intent.label_smoothing=1", "float from 0 to below 1"),
        ("encoder.dropout=2.0", r"encoder\.dropout = 2\.0 .*float from 0 to below 1"),
        ("encoder.max_length=0", r"int from 1 on"),
        ("update.held_out=1.0", r"update\.held_out = 1\.0 .*float above 0 to below 1"),
        ("fit.test=-1", "int from 0 on"),
        ("split.seed=-1", "int from 0 on"),
        ("data.per_class=0", r"data\.per_class = 0 .*int from 1 on"),
        ("data.intents=1", r"data\.intents = 1 .*int from 2 on"),
        ("retrieval.answer.pool=0", r"retrieval\.answer\.pool = 0 .*int from 1 on"),
        ("retrieval.answer.words.b=2", r"float from 0 to 1"),
        ("retrieval.intent.prior=-1", r"float from 0 on"),
        ("retrieval.intent.weights.nearest=-1", r"retrieval\.intent\.weights\.nearest = -1 .*float from 0 on"),
    ],
)
def test_a_number_that_means_nothing_is_refused(word, said, how):
    with pytest.raises(KgrecError, match=said):
        resolve("kgrec_support:recipe.toml", [word]).check(Registry.discover(), SECTIONS, how)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("train.weights.intnet=2", r"no task is called 'intnet'; did you mean 'intent'\?.*train\.weights\.intnet"),
        ("train.metric=acuracy", r"train\.metric: no metric is called 'acuracy'.*; of classes: macro_f1, accuracy"),
        ("train.metric=ndcg", r'train\.metric: metric "ndcg" needs a cut-off'),
    ],
)
def test_a_word_is_one_that_there_is(word, told):
    recipe, registry = resolve("kgrec_support:recipe.toml", [word]), Registry.discover()
    with pytest.raises(KgrecError, match=told):
        sections(recipe, registry)
    assert sections(resolve("kgrec_support:recipe.toml", ["train.weights.intent=2", "train.metric=mrr"]), registry)[1].metric == "mrr"


def unbounded(wanted: Any) -> bool:
    """Whether a number may stand there of which nothing is said."""
    if get_origin(wanted) is Annotated:
        return False
    if get_origin(wanted) in (Union, types.UnionType) and str in get_args(wanted):
        return False  # a number or a word is looked at where it is read
    return wanted in (int, float) or any(map(unbounded, get_args(wanted)))


def numbers(factory: Any, place: str) -> Iterator[str]:
    for name, parameter in parameters(factory).items():
        for of in (parameter.wanted, *get_args(parameter.wanted)):
            if is_dataclass(of):
                yield from numbers(of, f"{place}.{name}")
        if name != "freeze" and unbounded(parameter.wanted):
            yield f"{place}.{name}"


def test_no_number_escapes():
    registry = Registry.discover()
    found = list(numbers(Train, "train"))
    for kind in ("data", "encoder", "head", "knowledge", "objective", "retrieval"):
        for full, component in registry.components(kind).items():
            found += numbers(load(component, kind), full.partition("/")[2])
    assert set(found) == ANY


def test_every_key_says_what_it_is():
    registry = Registry.discover()
    parts = {
        full: load(of, kind)
        for kind in ("data", "encoder", "head", "knowledge", "objective", "retrieval")
        for full, of in registry.components(kind).items()
    }
    keys = {f"{full}.{key.name}": key for full, part in parts.items() for of in parameters(part).values() for key in expand(of)}
    assert len(keys) > 200
    assert [name for name, key in keys.items() if not (key.doc or part_kind(key.wanted) or part_mapping(key.wanted))] == []
