"""The recipe: layers of TOML that compose a domain's parts, and the parts built from it.

A later layer wins key by key. One that changes a table's `use` replaces the whole table; `use = "none"` removes it; one that changes
split.by takes back split.test and split.validation of those before it, and one that sets train.epochs = 0, which is to fine-tune nothing,
train.contrastive. Every value remembers the layer that set it: relative paths start
from that layer's folder, and errors name it.
"""

from __future__ import annotations

import codecs
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kgrec_core.errors import Faults, KgrecError, choices
from kgrec_core.recipe.binding import Binder, Call, Leaf, Table, Where, check_name, make, plain, tree
from kgrec_core.recipe.registry import Registry, find_file, load

if TYPE_CHECKING:
    from kgrec_core.interfaces import Data, Encoder, Head, Retrieval
    from kgrec_core.knowledge.source import Source

T = TypeVar("T")
Layer = str | Path | Mapping[str, Any] | Sequence[str]
SECTIONS = ("data", "knowledge", "split", "encoder", "head", "retrieval", "train", "fit", "update", "tune")
BY_TASK = ("head", "retrieval")
WORDS = "the command line"  # as the layer that set a value


def resolve(*layers: Layer) -> Recipe:
    """The recipe that the layers give, a later one over an earlier one.

    A layer is a domain's packaged recipe ("package:recipe.toml"), a file (Path), tables from Python (a mapping) or words of
    the command line (a list of "section.key=value"; values are TOML, bare words are strings). Relative paths start from the
    package's folder, the file's folder, or the current one. Raises KgrecError for an unreadable layer or unknown section.
    """
    merged: Table = {}
    for layer in layers:
        table = _read(layer)
        _forget_spans(merged, table)
        _forget_passes(merged, table)
        _merge(merged, table)
    faults = Faults()
    for name, node in merged.items():
        with faults:
            if not isinstance(node, dict):
                raise KgrecError(f"{name} = {node.value!r} ({node.source}) stands outside of a section; sections: {', '.join(SECTIONS)}")
            if name not in SECTIONS:
                raise choices("section of a recipe", name, SECTIONS)
    faults.refuse()
    return Recipe(merged)


def packaged(target: str) -> Path:
    """The file of "package:recipe.toml"."""
    package, _, file = target.partition(":")
    try:
        path = Path(str(resources.files(package) / file))
    except (ImportError, TypeError, ValueError) as error:
        raise KgrecError(f"recipe '{target}': the package cannot be imported ({error})") from error
    return path


@dataclass(frozen=True)
class Recipe:
    """A resolved recipe: which parts there are and how they are set. Building a part reads secrets; `dumps` never does."""

    tree: Table

    @property
    def tables(self) -> dict[str, Any]:
        """Plain nested dictionaries: section -> key -> value."""
        return plain(self.tree)

    @property
    def uses(self) -> list[str]:
        """Every `use`, in order, each once."""
        return list(dict.fromkeys(str(use.value) for use in _uses(self.tree)))

    @property
    def foreign(self) -> dict[str, Path]:
        """`my_file:MyPart` -> its file, for every part that comes from a file instead of a plugin."""
        return {use.value: find_file(use.value, [use.folder]) for use in _uses(self.tree) if ":" in str(use.value)}

    def dumps(self) -> str:
        """TOML that gives this recipe again; secrets stay "env:NAME"."""
        import tomli_w

        return tomli_w.dumps(self.tables)

    def with_retrieval(self, task: str, table: Mapping[str, Any]) -> Recipe:
        """The recipe with another retrieval for a task; its paths are absolute."""
        folders = {use.value: use.folder for use in _uses(self.tree)}  # of parts from a file

        def placed(node: Any) -> Any:
            if isinstance(node, dict):
                return {key: placed(value) for key, value in node.items()}
            return node._replace(folder=folders.get(node.value, node.folder)) if isinstance(node.value, str) else node

        changed = {**self.tree.get("retrieval", {}), task: placed(tree(table, Path.cwd(), "the referee"))}
        return Recipe({**self.tree, "retrieval": changed})

    def check(self, registry: Registry, sections: Mapping[str, type], load: Callable[..., Any] = load) -> Recipe:
        """Check every section without building or loading anything; gives the recipe with its paths made absolute
        and every `use` written out as `plugin/name`.

        sections: the classes of the plain sections, e.g. {"split": Split, "train": Train}. load: see `Binder`. Raises KgrecError with
        every mistake.
        """
        binder, faults = Binder(registry, load), Faults()
        for name in self.tree:
            if name in sections:
                with faults:
                    binder.call(sections[name], self.tree[name], (name,))
            elif name == "knowledge":
                for source in self.tree[name]:
                    with faults:
                        binder.part(name, self.tree[name][source], (name, source))
            elif name in BY_TASK:
                for task in self.tree[name]:
                    with faults:
                        binder.part(name, self.of_task(name, task), (name, task))
            else:
                with faults:
                    binder.part(name, self.of_task(name), (name,))
        faults.refuse()
        return Recipe(_with_values(self.tree, binder.written, ()))

    def data(self, registry: Registry) -> Data:
        return make(self._bind(registry, "data"))

    def knowledge(self, registry: Registry) -> dict[str, Source]:
        """The sources of knowledge by name, in the order in which the recipe has them."""
        return {name: make(self._bind(registry, "knowledge", name)) for name in self.tree.get("knowledge", {})}

    def encoder(self, registry: Registry) -> Encoder:
        return make(self._bind(registry, "encoder"))

    def head(self, registry: Registry, task: str) -> Head:
        return make(self._bind(registry, "head", task))

    def retrieval(self, registry: Registry, task: str) -> Retrieval:
        return make(self._bind(registry, "retrieval", task))

    def section(self, name: str, cls: type[T], registry: Registry | None = None) -> T:
        """A plain section as its (data)class; without the section, the class's defaults. registry: where it names objectives."""
        return make(Binder(registry).call(cls, self.tree.get(name, {}), (name,)))

    def _bind(self, registry: Registry, *where: str) -> Call:
        check_name(where[-1], ".".join(where))
        return Binder(registry).part(where[0], self.of_task(*where), where)

    def of_task(self, kind: str, task: str | None = None) -> Any:
        """The table of a part. Raises KgrecError where the recipe has none."""
        if kind not in self.tree:
            raise KgrecError(f"the recipe has no [{kind}{f'.{task}' if task else ''}]; add it with `use` (`kgrec list {kind}`)")
        section = self.tree[kind]
        if task is None:
            return section
        stray = next((key for key, node in section.items() if not isinstance(node, dict)), None)
        if stray is not None:
            raise KgrecError(f"{kind}.{stray} ({section[stray].source}): {kind}s are keyed by task; write [{kind}.TASK] and its keys below")
        if task not in section:
            raise choices(f"[{kind}.TASK] of the recipe", task, section)
        return section[task]


def _read(layer: Layer) -> Table:
    here = Path.cwd()
    if isinstance(layer, str):
        return _read_file(packaged(layer), layer)
    if isinstance(layer, Path):
        return _read_file(layer.absolute(), str(layer))
    if isinstance(layer, Mapping):
        return tree(layer, here, "Python")
    merged: Table = {}
    faults = Faults()
    for word in layer:
        with faults:
            _merge(merged, tree(_read_word(word), here, WORDS), one_layer=True)
    faults.refuse()
    return merged


def _read_file(path: Path, name: str) -> Table:
    try:
        content = path.read_bytes()
        code = "utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
        return tree(tomllib.loads(content.decode(code).replace("\r\n", "\n")), path.parent, name)
    except OSError as error:
        raise KgrecError(f"recipe {name}: {error.strerror or error}; give a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KgrecError(f"recipe {name} is no TOML: {error}") from error


def _read_word(word: str) -> dict[str, Any]:
    key, equals, value = word.partition("=")
    number = re.sub(r"^([+-]?)(?=\.\d)", r"\g<1>0", value)  # .5 is no TOML, but what people type
    for text in (number, json.dumps(value, ensure_ascii=False)):  # TOML, else a bare word
        try:
            if equals and "." in key:
                return tomllib.loads(f"{key} = {text}")
        except tomllib.TOMLDecodeError:
            continue
    raise KgrecError(f"'{word}' is no setting; write section.key=value, for example train.epochs=1")


def _merge(base: Table, layer: Table, one_layer: bool = False) -> None:
    """Put `layer` over `base`, in place. The words of the command line are one layer: there `use` only sets a key."""
    for key, node in layer.items():
        old = base.get(key)
        if isinstance(node, dict) and not one_layer:
            use = node["use"].value if isinstance(node.get("use"), Leaf) else None
            if use == "none":
                base.pop(key, None)
                continue
            if not isinstance(old, dict) or (use is not None and "use" in old and not _alike(use, plain(old["use"]))):
                old = base[key] = {}
            _merge(old, node)
        elif isinstance(node, dict) and isinstance(old, dict):
            _merge(old, node, one_layer)
        else:
            base[key] = node


def _forget_spans(base: Table, layer: Table) -> None:
    """A layer that splits by something else takes back what earlier layers hold out: a date is no share."""
    mine, theirs = layer.get("split"), base.get("split")
    if isinstance(mine, dict) and isinstance(theirs, dict) and "by" in mine:
        before = plain(theirs["by"]) if "by" in theirs else "time"
        if plain(mine["by"]) != before:
            for key in ("test", "validation"):
                theirs.pop(key, None)


def _forget_passes(base: Table, layer: Table) -> None:
    """A layer that wants no passes over the edges wants none of the contrastive ones that an earlier layer has, either."""
    mine, theirs = layer.get("train"), base.get("train")
    if isinstance(mine, dict) and isinstance(theirs, dict) and "epochs" in mine and plain(mine["epochs"]) == 0:
        theirs.pop("contrastive", None)


def _alike(one: str, other: str) -> bool:
    """Whether two `use` name one part: a run's recipe has it as `plugin/name`, a layer over that perhaps as the name alone."""
    if one == other or ":" in one + other or ("/" in one and "/" in other):
        return one == other
    return one.rpartition("/")[2] == other.rpartition("/")[2]


def _uses(table: Table) -> Iterator[Leaf]:
    for key, node in table.items():
        if isinstance(node, dict):
            yield from _uses(node)
        elif key == "use":
            yield node


def _with_values(node: Any, values: Mapping[Where, Any], where: Where) -> Any:
    if isinstance(node, dict):
        return {key: _with_values(value, values, (*where, key)) for key, value in node.items()}
    return node._replace(value=values[where]) if where in values else node
