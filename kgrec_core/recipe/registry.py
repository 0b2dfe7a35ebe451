"""Which parts and domains exist: discovery of plugins in which no plugin can take the host down.

A plugin is one entry point of the group `kgrec`, naming a module (or `module:object`) that holds hook implementations.
pluggy checks and collects them, but its own loader stops at the first failing import, drops a second distribution under
the same name in silence, and one raising hook discards everybody's results. So plugins are loaded here, one by one, each
in a manager of its own: a plugin is active with all its records or, with a reason, not at all.

KGREC_PLUGINS=a,b loads only these (set but empty: none); KGREC_BLOCK=a loads all but a; KGREC_STRICT=1 raises what failed.
"""

from __future__ import annotations

import os
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import pluggy

import kgrec_core
from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe import builtin, hookspecs
from kgrec_core.recipe.components import KINDS, Component, Domain, Record

GROUP = "kgrec"
CORE = "core"
State = Literal["active", "blocked", "incompatible", "broken"]


@dataclass(frozen=True)
class Plugin:
    """What became of one entry point. `records` (kind -> records, kind "domain" too) are empty unless it is active."""

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Foreign(Component[Any]):
    """A part from a file that no plugin vouches for; a run that has one opens only when that is allowed."""

    file: Path = Path()
    foreign: ClassVar[bool] = True


class Registry:
    """All plugins, and their parts by name.

    `use` is a name, `plugin/name`, or `my_file:MyPart` (the file my_file.py). Nothing shadows anything: a plain name belongs
    to the core if the core has it, else to the one plugin that has it; any part is reachable as `plugin/name`.
    """

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(plugins)

    @classmethod
    @cache
    def discover(cls) -> Registry:
        """The core and every installed plugin; looked up once per process."""
        return cls(_load_all())

    def components(self, kind: str) -> dict[str, Record]:
        """`plugin/name` -> record, for a kind of part, "objective" or "domain". Raises KgrecError for an unknown kind."""
        if kind not in (*KINDS, "objective", "domain"):
            raise choices("kind", kind, (*KINDS, "objective", "domain"))
        return {f"{plugin.name}/{record.name}": record for plugin in self.plugins for record in plugin.records.get(kind, ())}

    @property
    def domains(self) -> dict[str, Domain]:
        """Every domain by the shortest name that reaches it."""
        return {self.shortest("domain", full): domain for full, domain in self.components("domain").items()}

    def component(self, kind: str, use: str, folders: Iterable[Path] = ()) -> Component[Any]:
        """The record that `use` names; `folders` (then the current one) are searched for `my_file.py`. KgrecError if there is none."""
        return _foreign(kind, use, folders) if ":" in use else self._find(kind, use)

    def domain(self, name: str) -> Domain:
        return self._find("domain", name)

    def shortest(self, kind: str, full: str) -> str:
        """The plain name where that is enough to reach `plugin/name`."""
        plain = full.partition("/")[2]
        return plain if self._owners(kind, plain) == [full] else full

    def _owners(self, kind: str, plain: str) -> list[str]:
        owners = [full for full in self.components(kind) if full.partition("/")[2] == plain]
        return [f"{CORE}/{plain}"] if f"{CORE}/{plain}" in owners else owners

    def _find(self, kind: str, use: str) -> Any:
        known = self.components(kind)
        owners = [use] if use in known else self._owners(kind, use)
        if len(owners) == 1:
            return known[owners[0]]
        if owners:
            raise KgrecError(f"{kind} '{use}' is in {len(owners)} plugins; write {' or '.join(owners)}")
        absent = [f"plugin '{p.name}' is {p.state}: {p.reason}" for p in self.plugins if p.state != "active"]
        raise choices(kind, use, {self.shortest(kind, full) for full in known}, "; ".join(absent))


def load(component: Component[Any], kind: str) -> Callable[..., Any]:
    """The component's class or function, imported now. Raises KgrecError naming the part and what is missing."""
    if not isinstance(component.factory, str):
        return component.factory
    return load_target(component.factory, f"{kind} '{component.name}'")


def load_target(target: str, owner: str) -> Any:
    """What "package.module:attribute" names."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        if os.environ.get("KGREC_STRICT") == "1":
            raise
        raise KgrecError(f"{owner}: '{target}' cannot be loaded: {_why(error)}") from error


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
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise KgrecError(f"{kind} '{use}': {file} cannot be loaded: {_why(error)}") from error
    if not hasattr(module, attribute):
        raise choices(f"class in {file}", attribute, [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == name])
    return Foreign(use, getattr(module, attribute), (getattr(module, attribute).__doc__ or "").partition("\n")[0], file)


def _load_all() -> Iterator[Plugin]:
    yield Plugin(CORE, "kgrec-core", kgrec_core.__version__, "active", "", {**_records(builtin, CORE), "objective": builtin.OBJECTIVES})
    allowed = _names("KGREC_PLUGINS") if "KGREC_PLUGINS" in os.environ else None
    blocked = _names("KGREC_BLOCK")
    seen = {CORE: "kgrec-core"}
    for found in sorted(_entry_points(), key=lambda found: (found.name, found.owner)):
        name, owner = found.name, found.owner
        if name in blocked:
            yield Plugin(name, owner, found.version, "blocked", "KGREC_BLOCK names it")
        elif allowed is not None and name not in allowed:
            yield Plugin(name, owner, found.version, "blocked", "KGREC_PLUGINS does not name it")
        elif name in seen:
            yield _failed(found, "broken", KgrecError(f"{seen[name]} and {owner} both call their plugin '{name}'; uninstall one of them"))
        else:
            seen[name] = owner
            yield _load(found)


class _Found(NamedTuple):
    """One entry point of one distribution; `load` gives what it names, or raises."""

    name: str
    owner: str
    version: str
    requires: list[str]
    load: Callable[[], Any]


def _entry_points() -> Iterator[_Found]:
    """Read distribution by distribution: one whose files are damaged must not hide the others."""
    seen = set()
    for distribution in metadata.distributions():
        text = distribution.read_text("entry_points.txt") or ""
        if f"[{GROUP}]" not in text:
            continue
        try:
            name, version, requires = distribution.name, distribution.version, distribution.requires or []
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            folder = getattr(distribution, "_path", Path("?")).name
            yield _Found(folder, folder, "?", [], partial(_refuse, f"its metadata cannot be read ({_why(error)}); install it again"))
            continue
        if name not in seen:  # the folder that comes first on the path wins, as it does in imports
            seen.add(name)
            yield from (_Found(entry.name, name, version, requires, entry.load) for entry in entries)


def _refuse(reason: str) -> None:
    raise KgrecError(reason)


def _load(found: _Found) -> Plugin:
    try:
        if misfit := _misfit(found):
            return _failed(found, "incompatible", KgrecError(misfit))
        return Plugin(found.name, found.owner, found.version, "active", "", _records(found.load(), found.name))
    except (Exception, SystemExit) as error:
        return _failed(found, "broken", error)


def _failed(found: _Found, state: State, error: BaseException) -> Plugin:
    if os.environ.get("KGREC_STRICT") == "1":
        raise error
    return Plugin(found.name, found.owner, found.version, state, _why(error))


def _misfit(found: _Found) -> str:
    """Why the distribution's own requirement excludes this kgrec-core; empty when it does not."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in found.requires:
        wanted = Requirement(line)
        if canonicalize_name(wanted.name) != "kgrec-core" or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        if not wanted.specifier.contains(kgrec_core.__version__, prereleases=True):
            return f"{found.owner} needs kgrec-core{wanted.specifier}, this is {kgrec_core.__version__}; upgrade one of the two"
    return ""


def _records(plugin: Any, name: str) -> dict[str, tuple[Record, ...]]:
    """Everything that the plugin's hooks give, checked; raises on the first fault, so that nothing of it is kept."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    hooks = [hook for hook in vars(hookspecs) if hook.startswith("kgrec_") and hook != "kgrec_core"]
    for hook in hooks:
        if isinstance(bare := getattr(plugin, hook, None), types.FunctionType) and not hasattr(bare, "kgrec_impl"):
            raise KgrecError(f"{hook} lacks @hookimpl (from kgrec_core import hookimpl)")
    manager.register(plugin, name)
    callers = manager.get_hookcallers(plugin) or []
    if not callers:
        raise KgrecError(f"no hook is implemented; the hooks are {', '.join(hooks)}")
    records: dict[str, tuple[Record, ...]] = {}
    for caller in callers:
        if not caller.has_spec():
            raise choices("hook", caller.name, hooks)
        kind = caller.name.removeprefix("kgrec_")
        for implementation in caller.get_hookimpls():
            try:
                found = tuple(implementation.function())  # a generator runs here, not later and without a name
            except (Exception, SystemExit) as error:
                error.add_note(f"hook {caller.name}")
                raise
            records[kind] = records.get(kind, ()) + tuple(_checked(record, caller.name) for record in found)
        twice = [name for name, n in Counter(record.name for record in records[kind]).items() if n > 1]
        if twice:
            raise KgrecError(f"{caller.name} gives '{twice[0]}' twice")
    return records


def _checked(record: Any, hook: str) -> Record:
    wanted = Domain if hook == "kgrec_domain" else Component
    if not isinstance(record, wanted):
        raise KgrecError(f"{hook} gives {record!r}; it must give {wanted.__name__} records")
    if not record.name or record.name == "none" or set(record.name) & set("/: "):
        raise KgrecError(f"{hook} gives the name '{record.name}'; a name has no '/', ':' or blank and is not 'none'")
    return record


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",")} - {""}


def _why(error: BaseException) -> str:
    """One line: hook, error and where it was raised; the place is left out for errors that explain themselves."""
    text = " ".join(str(error).split())
    if not isinstance(error, KgrecError):
        text = f"{type(error).__name__}: {text}"
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        if trace and trace.tb_frame.f_code.co_filename != __file__ and "importlib" not in trace.tb_frame.f_code.co_filename:
            text += f" ({Path(trace.tb_frame.f_code.co_filename).name} line {trace.tb_lineno})"
    return ": ".join([*getattr(error, "__notes__", ()), text])
