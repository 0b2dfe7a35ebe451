"""The plugin `loud`: what the entry point names. It imports nothing heavy, so that `kgrec --help` stays fast."""

from kgrec_core import Component, hookimpl


@hookimpl
def kgrec_encoder():
    return [Component("loud", "loud_encoder.loud:Loud", "an encoder whose dimensions each kind turns up or down")]
