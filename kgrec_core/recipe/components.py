"""What a plugin hands to the host: named records. Nothing here imports the parts themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Component(Generic[T]):
    """A part of one kind (data, encoder, head or retrieval) under a name.

    factory: the class or function itself, or "package.module:attribute", imported only when the part is built.
    """

    name: str
    factory: str | Callable[..., T]
    summary: str = ""


@dataclass(frozen=True)
class Verb:
    """What a domain can do, written once: the command, the Python word and the bulk job come from it (`kgrec_core.verbs`).

    request: "module:Class", a frozen dataclass; its docstring explains the fields ("name: text").
    function: "module:function".
        ask: (snapshot, requests) -> list of results; where one request is at fault, its KgrecError stands in its place.
        edit: (run, requests) -> the same.
        job: (run, request, progress) -> result; long work, or what asks no question of a snapshot.
    help: one line, shown without importing anything.
    shown: "module:function", (result, request) -> str for people; without one they see the JSON.
    many: whether an ask also takes rows of a file (--in) or every known query (--all). opens: whether there is a run (--run); None = there may be.
    needs: names of relations, one of which the run must predict; () = any run will do.
    """

    request: str
    function: str
    kind: Literal["ask", "edit", "job"] = "ask"
    help: str = ""
    shown: str = ""
    many: bool = True
    opens: bool | None = True
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Domain:
    """A recipe that composes parts, and the domain's verbs. Everything is named, and imported only when it is used.

    recipe: "package:file.toml", read from inside the installed package.
    verbs: word -> Verb. `recipe`, `fit`, `evaluate` and `report` are the core's, unless the domain has such a word itself.
    files: "module:Class", a dataclass whose fields are options of `fit`; its `layer()` gives the recipe layer of the own files.
    after_fit: "module:function", (run, progress) -> lines for people, "" for none; it may recalibrate.
    demo: "module:Class", a dataclass whose fields are options of `demo`; `layer()` gives the recipe layer, `shown(run)` what goes beside
        run and metrics into the JSON, `told(run, shown)` that for people.
    commands: word -> ("package.module:click_command", one-line help), for what is no verb.
    desk: what the console's page for editors uses of the verbs, by role: "search" (its field `words` takes words; results have an `id`), "add",
        "edit" and "remove" (`id` or `ids`), "undo", "look" (what an editor should look at; for each of
        its result's `unanswered`, a `title` and how often it was `asked`, the page drafts an entry, its `question` filled in). Without roles there is no such page.
    watch: of the console's page of alerts: "alerts": "module:function", (run's folder) -> rows with id, title, open, severity, opened, until, level,
        threshold, acknowledged; "series": the same -> a whole HTML page, or None; "acknowledge": a verb with `episode` and `note`.
    """

    name: str
    recipe: str
    summary: str = ""
    verbs: Mapping[str, Verb] = field(default_factory=dict)
    files: str = ""
    after_fit: str = ""
    demo: str = ""
    commands: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    desk: Mapping[str, str] = field(default_factory=dict)
    watch: Mapping[str, str] = field(default_factory=dict)


KINDS: tuple[str, ...] = ("data", "encoder", "head", "retrieval")
Record = Component[Any] | Domain
