"""What a plugin hands to the host: named records. Nothing here imports the parts themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

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
class Domain:
    """A recipe that composes parts, and the domain's own commands.

    recipe: "package:file.toml", read from inside the installed package.
    commands: word -> ("package.module:click_command", one-line help); imported only when the word is typed.
    """

    name: str
    recipe: str
    summary: str = ""
    commands: Mapping[str, tuple[str, str]] = field(default_factory=dict)


KINDS: tuple[str, ...] = ("data", "encoder", "head", "retrieval")
Record = Component[Any] | Domain
