"""Names that a package or module exports without importing where they are from: what needs it is imported when a name is first used.

__getattr__, __dir__, __all__ = late(__name__, {"graph": "Graph Nodes", "pipeline": "fit"})
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import Any


def late(
    module: str, places: Mapping[str, str], also: Iterable[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__`. places: module of this package -> names in it; "new=old" exports `old` as `new`.

    also: names that the module defines itself.
    """
    package = module.partition(".")[0]
    found = {}
    for place, names in places.items():
        for name in names.split():
            new, _, old = name.partition("=")
            found[new] = (f"{package}.{place}", old or new)
    names = sorted({*found, *also})

    @cache
    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        place, attribute = found[name]
        return getattr(import_module(place), attribute)

    return get, lambda: sorted({*vars(sys.modules[module]), *names}), names
