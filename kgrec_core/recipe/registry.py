"""Which parts and domains exist, and what a name reaches: the core's first, then who had the word first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, util
from pathlib import Path
from typing import Any, ClassVar

from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe.builtin import DOMAINS
from kgrec_core.recipe.components import KINDS, Component, Domain, Record
from kgrec_core.recipe.discovery import CORE, Plugin, imports, plugins, strict, why

ALL = (*KINDS, "knowledge", "objective", "domain")


@dataclass(frozen=True)
class Foreign(Component[Any]):
    """A part from a file that no plugin vouches for; a run that has one opens only when that is allowed."""

    file: Path = Path()
    foreign: ClassVar[bool] = True


class Registry:
    """All plugins, and their parts by name.

    `use` is a name, `plugin/name`, or `my_file:MyPart` (the file my_file.py). A plain name belongs to the core if the core has it,
    of the domains of this house to their own distribution, else to the plugin that was installed first: a newcomer takes nobody's
    word away. Any part is reachable as `plugin/name`.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)

    @classmethod
    @cache
    def discover(cls) -> Registry:
        """The core and every installed plugin; looked up once per process."""
        return cls(plugins())

    def components(self, kind: str) -> dict[str, Record]:
        """`plugin/name` -> record, for a kind of part, "objective" or "domain". Raises KgrecError for an unknown kind."""
        if kind not in ALL:
            raise choices("kind", kind, ALL)
        return {f"{plugin.name}/{record.name}": record for plugin in self.plugins for record in plugin.records.get(kind, ())}

    @property
    def domains(self) -> dict[str, Domain]:
        """Every domain by the shortest name that reaches it."""
        return {self.shortest("domain", full): domain for full, domain in self.components("domain").items()}

    def component(self, kind: str, use: str, folders: Iterable[Path] = ()) -> Component[Any]:
        """The record that `use` names; `folders` (then the current one) are searched for `my_file.py`. KgrecError if there is none."""
        return _foreign(kind, use, folders) if ":" in use else self.components(kind)[self.full(kind, use)]

    def domain(self, name: str) -> Domain:
        return self.components("domain")[self.full("domain", name)]

    def full(self, kind: str, use: str) -> str:
        """`plugin/name` of what a name reaches; `my_file:MyPart` is its own. Raises KgrecError where there is none, or no one first."""
        known = self.components(kind)
        owners = [use] if use in known or ":" in use else self._owners(kind, use)
        if len(owners) == 1:
            return owners[0]
        if owners:
            raise KgrecError(f"{kind} '{use}' is in {len(owners)} plugins; write {' or '.join(owners)}")
        absent = [f"plugin '{p.name}' is {p.state}: {p.reason}" for p in self.plugins if p.state != "active"]
        raise choices(kind, use, {self.shortest(kind, full) for full in known}, "; ".join(absent))

    def owner(self, full: str) -> Plugin | None:
        """The active plugin of `plugin/name`."""
        name = full.partition("/")[0]
        return next((plugin for plugin in self.plugins if plugin.name == name and plugin.state == "active"), None)

    def shortest(self, kind: str, full: str) -> str:
        """The plain name where that is enough to reach `plugin/name`."""
        plain = full.partition("/")[2]
        return plain if self._owners(kind, plain) == [full] else full

    def longer(self, plugin: Plugin) -> list[str]:
        """What of a plugin is not reached by its plain name, and whose that is."""
        found = []
        for kind, records in plugin.records.items():
            for record in records:
                full = f"{plugin.name}/{record.name}"
                if self.shortest(kind, full) == full:
                    others = [o for o in self._owners(kind, record.name) if o != full]
                    found.append(f"{kind} '{record.name}' is reached as {full}, for there is {' and '.join(others)}")
        return found

    def _owners(self, kind: str, plain: str) -> list[str]:
        """Whose a plain name is; several where nothing says who was first."""
        owners = [p for p in self.plugins if any(record.name == plain for record in p.records.get(kind, ()))]
        for first in (CORE, *(p.name for p in owners if kind == "domain" and DOMAINS.get(plain) == p.distribution)):
            if any(plugin.name == first for plugin in owners):
                return [f"{first}/{plain}"]
        earliest = min((plugin.since for plugin in owners), default=0.0)
        return [f"{plugin.name}/{plain}" for plugin in owners if plugin.since == earliest]


def load(component: Component[Any], kind: str) -> Callable[..., Any]:
    """The component's class or function, imported now. Raises KgrecError naming the part and what is missing."""
    if not isinstance(component.factory, str):
        return component.factory
    return load_target(component.factory, f"{kind} '{component.name}'")


def load_target(target: str, owner: str) -> Any:
    """What "package.module:attribute" names."""
    module, _, attribute = target.partition(":")
    try:
        with imports():
            return getattr(import_module(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if strict():
            raise
        raise KgrecError(f"{owner}: '{target}' cannot be loaded: {why(error)}") from error


def find_file(use: str, folders: Iterable[Path] = ()) -> Path:
    """The file of `my_file:MyPart`: beside the recipe that names it, or in the current folder."""
    places = list(dict.fromkeys([*map(Path, folders), Path.cwd()]))
    for place in places:
        file = (place / f"{use.partition(':')[0]}.py").resolve()
        if file.is_file():
            return file
    raise KgrecError(f"'{use}': there is no {use.partition(':')[0]}.py in {' or '.join(map(str, places))}")


def _foreign(kind: str, use: str, folders: Iterable[Path]) -> Foreign:
    file, attribute = find_file(use, folders), use.partition(":")[2]
    name = f"kgrec_foreign:{file}"
    module = sys.modules.get(name)
    if module is None:
        spec = util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = util.module_from_spec(spec)  # registered first: dataclasses look their module up
        try:
            with imports():
                spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, KeyboardInterrupt) or strict():
                raise
            raise KgrecError(f"{kind} '{use}': {file} cannot be loaded: {why(error)}") from error
    if not hasattr(module, attribute):
        raise choices(f"class in {file}", attribute, [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == name])
    return Foreign(use, getattr(module, attribute), (getattr(module, attribute).__doc__ or "").partition("\n")[0], file)
