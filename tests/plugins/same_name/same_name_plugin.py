"""Another distribution whose plugin is called `good` as well."""

from kgrec_core import Component, hookimpl


@hookimpl
def kgrec_encoder():
    return [Component("copy", "same_name_plugin:Copy")]
