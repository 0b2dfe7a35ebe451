"""What a part's constructor takes, read from its source: a recipe is checked without importing what needs torch.

A stand-in has the class's name, docstring and parameters, as `parameters` reads them; it cannot be built.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable
from functools import cache
from importlib import import_module, util
from pathlib import Path
from typing import Any, Union

from kgrec_core.errors import KgrecError
from kgrec_core.recipe import ranges
from kgrec_core.recipe.components import KINDS, Component
from kgrec_core.recipe.registry import load

PARTS = {f"kgrec_core.interfaces:{kind.capitalize()}": kind for kind in KINDS} | {"kgrec_core.training.objective:Objective": "objective"}
RANGES = ranges.__name__  # its names are types, and it needs nothing
SHOWN = ("kgrec_core", "kgrec_core.parts", "kgrec_core.domain")  # that export the parts' bases and the ranges, too


def light(component: Component[Any], kind: str) -> Callable[..., Any]:
    """The part itself where it is imported already or comes from no module, else a stand-in; as `load` where the source cannot be read."""
    target = component.factory
    if kind in ("data", "knowledge") or not isinstance(target, str):
        return load(component, kind)
    return stand_in(target) or load(component, kind)


@cache
def stand_in(target: str) -> type | None:
    """Of "package.module:Class"; None where its source does not tell."""
    module, _, name = target.partition(":")
    found = _source(module)
    node = next((n for n in found.body if isinstance(n, ast.ClassDef) and n.name == name), None) if found else None
    if node is None:
        return None
    own = _Names(module, found)
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    decorated = {d.func.id if isinstance(d, ast.Call) else d.id for d in node.decorator_list if isinstance(getattr(d, "func", d), ast.Name)}
    if init is not None:
        keys = _arguments(init.args, own)
    elif "dataclass" in decorated:
        keys = [
            _key(n.target.id, n.annotation, n.value, own)
            for n in node.body
            if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) and not n.target.id.startswith("_")
        ]
    else:
        base = next((own.target(b.id) for b in node.bases if isinstance(b, ast.Name)), None)
        return None if base is None or base in PARTS else stand_in(base)
    signature = inspect.Signature(keys)

    def __init__(self: Any) -> None:
        raise KgrecError(f"{target} is only read, not built")

    __init__.__annotations__ = {key.name: key.annotation for key in keys}
    return type(name, (), {"__doc__": ast.get_docstring(node), "__module__": module, "__init__": __init__, "__signature__": signature})


def _source(module: str) -> ast.Module | None:
    try:
        spec = util.find_spec(module)
        return ast.parse(Path(spec.origin).read_text("utf-8")) if spec and spec.origin and spec.origin.endswith(".py") else None
    except (ImportError, OSError, SyntaxError, ValueError):
        return None


def _arguments(given: ast.arguments, names: _Names) -> list[inspect.Parameter]:
    plain = given.args[1:]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults[-len(plain) :] if plain else [])
    pairs = [*zip(plain, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    return [_key(arg.arg, arg.annotation, default, names) for arg, default in pairs]


def _key(name: str, annotation: ast.expr | None, default: ast.expr | None, names: _Names) -> inspect.Parameter:
    value = inspect.Parameter.empty if default is None else default.value if isinstance(default, ast.Constant) else ...
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value, annotation=names.meaning(annotation))


class _Names:
    """What the names of a module's annotations mean; what would need an import of the package is anything (Any)."""

    def __init__(self, module: str, source: ast.Module) -> None:
        self.module, self.local = module, {n.name for n in source.body if isinstance(n, ast.ClassDef)}
        self.imported: dict[str, str] = {}
        for node in ast.walk(source):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self.imported |= {alias.asname or alias.name: f"{node.module}:{alias.name}" for alias in node.names}
        self.values = {
            n.targets[0].id: n.value
            for n in source.body
            if isinstance(n, ast.Assign) and len(n.targets) == 1 and isinstance(n.targets[0], ast.Name)
        }

    def target(self, name: str) -> str | None:
        """ "module:name" that a name stands for."""
        found = f"{self.module}:{name}" if name in self.local else self.imported.get(name)
        if found is None:
            return None
        module, _, own = found.partition(":")
        home = RANGES if hasattr(ranges, own) else "kgrec_core.interfaces"
        return f"{home}:{own}" if module in SHOWN else found

    def meaning(self, node: ast.expr | None) -> Any:
        if isinstance(node, ast.Constant):
            return (
                types.NoneType
                if node.value is None
                else self.meaning(ast.parse(node.value, mode="eval").body)
                if isinstance(node.value, str)
                else Any
            )
        if isinstance(node, ast.BinOp):
            return Union[self.meaning(node.left), self.meaning(node.right)]  # noqa: UP007
        if isinstance(node, ast.Subscript):
            return self._of(node)
        return self._named(node.id) if isinstance(node, ast.Name) else Any

    def _of(self, node: ast.Subscript) -> Any:
        origin = self.meaning(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if getattr(origin, "_name", "") == "Literal":
            return origin[tuple(ast.literal_eval(part) for part in parts)]
        inside = tuple(... if isinstance(p, ast.Constant) and p.value is ... else self.meaning(p) for p in parts)
        try:
            return Any if origin is Any else origin[inside if len(inside) > 1 else inside[0]]
        except TypeError:
            return Any

    def _named(self, name: str) -> Any:
        found = self.target(name)
        if found is None:
            if name in self.values:  # an alias of an annotation
                return self.meaning(self.values[name])
            return {"bool": bool, "int": int, "float": float, "str": str, "list": list, "tuple": tuple, "set": set, "dict": dict}.get(
                name, Any
            )
        module, _, own = found.partition(":")
        if found in PARTS:
            return type(own, (), {"__module__": module})
        if module.partition(".")[0] in sys.stdlib_module_names or module == RANGES:
            return getattr(import_module(module), own, Any)
        other = _source(module) if module != self.module else None
        return _Names(module, other)._named(own) if other else Any
