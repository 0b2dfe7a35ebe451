"""A plugin without a fault: two encoders, one of them named like the core's, and a domain."""

from kgrec_core import Component, Domain, hookimpl


@hookimpl
def kgrec_encoder():
    yield Component("colour", "good_plugin.colour:Colour", "one number per colour")
    yield Component("text", "good_plugin.colour:Colour", "a name that the core has too")


@hookimpl
def kgrec_domain():
    commands = {
        "hello": ("good_plugin.commands:hello", "Greet the domain."),
        "wrong": ("good_plugin.commands:wrong", "Make a mistake."),
        "interrupted": ("good_plugin.commands:interrupted", "Be interrupted."),
        "lost": ("good_plugin.absent:lost", "A command whose module does not exist."),
    }
    return [Domain("shop", "good_plugin:recipe.toml", "a shop for tests", commands=commands)]
