"""A plugin whose second record fails: its first one must not stay."""

from kgrec_core import Component, hookimpl


@hookimpl
def kgrec_head():
    return [Component("fine", "half_way_plugin:Fine")]


@hookimpl
def kgrec_encoder():
    yield Component("first", "half_way_plugin:First")
    raise ValueError("no\nsecond record")
