"""The plugin `loud`; nothing heavy is imported here, so that commands start fast."""

from kgrec_core import Component, hookimpl


@hookimpl
def kgrec_encoder():
    return [Component("loud", "loud_encoder.loud:Loud", "an encoder around another one that learns how loud each dimension is")]
