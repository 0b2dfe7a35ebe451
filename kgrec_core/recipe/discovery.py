"""Which plugins there are, and what became of each: discovery in which no plugin can take the host down.

A plugin is one entry point of the group `kgrec`, naming a module (or `module:object`) that holds hook implementations.
pluggy checks and collects them, but its own loader stops at the first failing import, drops a second distribution under
the same name in silence, and one raising hook discards everybody's results. So plugins are loaded here, one by one, each
in a manager of its own: a plugin is active with all its records or, with a reason, not at all. Code of others may raise anything:
a Rust extension's panic is a BaseException, and ends its plugin, not the host.

KGREC_PLUGINS=a,b loads only these (set but empty: none); KGREC_BLOCK=a loads all but a; KGREC_STRICT=1 raises what failed.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pluggy

import kgrec_core
from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe import builtin, hookspecs
from kgrec_core.recipe.components import Component, Domain, Record

log = logging.getLogger("kgrec")
GROUP = "kgrec"
CORE = "core"
NAME = re.compile(r"[a-z0-9_-]+")
State = Literal["active", "blocked", "incompatible", "broken", "absent"]


@dataclass(frozen=True)
class Plugin:
    """What became of one entry point. `records` (kind -> records, kind "domain" too) are empty unless it is active.

    since: when its distribution was installed, in seconds as of the file system; seconds: what its import took.
    """

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)
    since: float = 0.0
    seconds: float = 0.0


def plugins() -> Iterator[Plugin]:
    """The core, every entry point, and what KGREC_PLUGINS or KGREC_BLOCK name in vain."""
    yield Plugin(
        CORE,
        "kgrec-core",
        kgrec_core.__version__,
        "active",
        "",
        {**_records(builtin, CORE), "knowledge": builtin.SOURCES, "objective": builtin.OBJECTIVES},
    )
    allowed = _names("KGREC_PLUGINS") if "KGREC_PLUGINS" in os.environ else None
    blocked = _names("KGREC_BLOCK")
    seen = {CORE: "kgrec-core"}
    # of two that call their plugin alike, ours is first, then the one that was there first: a newcomer displaces nobody
    for found in sorted(_entry_points(), key=lambda f: (f.name, builtin.DOMAINS.get(f.name) != f.owner, f.since, f.owner)):
        name, owner = found.name, found.owner
        if name in blocked:
            yield _plugin(found, "blocked", "KGREC_BLOCK names it")
        elif allowed is not None and name not in allowed:
            yield _plugin(found, "blocked", "KGREC_PLUGINS does not name it")
        elif name in seen:
            yield _failed(found, "broken", KgrecError(f"{seen[name]} and {owner} both call their plugin '{name}'; uninstall one of them"))
        else:
            seen[name] = owner
            yield _load(found)
    yield from _unknown("KGREC_PLUGINS", allowed or (), {found.name for found in _entry_points()})
    yield from _unknown("KGREC_BLOCK", blocked, {found.name for found in _entry_points()})


def why(error: BaseException) -> str:
    """One line: hook, error and where it was raised; the place is left out for errors that explain themselves."""
    text = " ".join(str(error).split())
    if not isinstance(error, KgrecError):
        text = f"{type(error).__name__}: {text}".rstrip(": ")
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        if trace and trace.tb_frame.f_code.co_filename != __file__ and "importlib" not in trace.tb_frame.f_code.co_filename:
            text += f" ({Path(trace.tb_frame.f_code.co_filename).name} line {trace.tb_lineno})"
    return ": ".join([*getattr(error, "__notes__", ()), text])


def strict() -> bool:
    """Whether what fails in a plugin or a part is raised as it is, for who writes one."""
    return os.environ.get("KGREC_STRICT") == "1"


@contextmanager
def imports() -> Iterator[None]:
    """Around an import of others' code: what it prints goes to stderr, for stdout may be JSON that somebody reads."""
    with redirect_stdout(sys.stderr):
        yield


class _Found(NamedTuple):
    """One entry point of one distribution; `load` gives what it names, or raises."""

    name: str
    owner: str
    version: str
    requires: list[str]
    load: Callable[[], Any]
    since: float = 0.0


def _entry_points() -> Iterator[_Found]:
    """Read distribution by distribution: one whose files are damaged must not hide the others."""
    seen = set()
    for distribution in metadata.distributions():
        text = distribution.read_text("entry_points.txt") or ""
        if f"[{GROUP}]" not in text:
            continue
        folder = Path(getattr(distribution, "_path", "?"))
        try:
            name, version, requires = distribution.name, distribution.version, distribution.requires or []
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"its metadata cannot be read ({why(error)}); install it again"
            yield _Found(folder.name, folder.name, "?", [], partial(_refuse, reason))
            continue
        if name not in seen:  # the folder that comes first on the path wins, as it does in imports
            seen.add(name)
            since = folder.stat().st_mtime if folder.exists() else 0.0
            yield from (_Found(entry.name, name, version, requires, entry.load, since) for entry in entries)


def _refuse(reason: str) -> None:
    raise KgrecError(reason)


def _load(found: _Found) -> Plugin:
    began = time.perf_counter()
    try:
        if misfit := _misfit(found):
            return _failed(found, "incompatible", KgrecError(misfit))
        if not NAME.fullmatch(found.name) and found.version != "?":
            _refuse(f"the plugin name '{found.name}' is none: it has small letters, digits, _ and - only")
        with imports():
            records = _records(found.load(), found.name)
        return replace(_plugin(found, "active", ""), records=records, seconds=time.perf_counter() - began)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return replace(_failed(found, "broken", error), seconds=time.perf_counter() - began)


def _plugin(found: _Found, state: State, reason: str) -> Plugin:
    return Plugin(found.name, found.owner, found.version, state, reason, since=found.since)


def _failed(found: _Found, state: State, error: BaseException) -> Plugin:
    if strict():
        raise error
    return _plugin(found, state, why(error))


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
            except BaseException as error:
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
    words = (*record.verbs, *record.commands) if isinstance(record, Domain) else ()
    for name in (record.name, *words):
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == "none":
            raise KgrecError(f"{hook} gives the name {name!r}; a name has small letters, digits, _ and - only, and is not 'none'")
    return record


def _names(variable: str) -> set[str]:
    return {name.strip() for name in os.environ.get(variable, "").split(",")} - {""}


def _unknown(variable: str, named: Collection[str], known: Collection[str]) -> Iterator[Plugin]:
    """What a variable names in vain; where it resembles a plugin, that is said at once."""
    for name in sorted(set(named) - set(known)):
        near = get_close_matches(name, known, n=1)
        told = f"{variable} names it, but no plugin is called that"
        if near:
            told += f"; did you mean '{near[0]}'?"
            log.warning("plugin '%s': %s", name, told)
        yield Plugin(name, "", "", "absent", told)
