"""The hooks a plugin may implement. All are collected; none takes an argument; order never matters.

from kgrec_core import Component, hookimpl

@hookimpl
def kgrec_encoder():
    return [Component("loud", "my_package.loud:Loud", "a text encoder that shouts")]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

from kgrec_core.recipe.components import Component, Domain

if TYPE_CHECKING:
    from kgrec_core.interfaces import Data, Encoder, Head, Retrieval

hookspec = pluggy.HookspecMarker("kgrec")
hookimpl = pluggy.HookimplMarker("kgrec")


@hookspec
def kgrec_data() -> Iterable[Component[Data]]:
    """Parts that load a Dataset."""


@hookspec
def kgrec_encoder() -> Iterable[Component[Encoder]]:
    """Parts that turn nodes of the graph into vectors."""


@hookspec
def kgrec_head() -> Iterable[Component[Head]]:
    """Parts that turn vectors into scores and a loss."""


@hookspec
def kgrec_retrieval() -> Iterable[Component[Retrieval]]:
    """Channels that find candidates, and re-rankers around channels."""


@hookspec
def kgrec_domain() -> Iterable[Domain]:
    """Whole domains: a recipe and verbs."""
