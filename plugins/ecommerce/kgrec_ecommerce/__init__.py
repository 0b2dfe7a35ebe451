"""E-commerce for kgrec: which products for this shopper. Importing this imports nothing heavy.

import kgrec_core, kgrec_ecommerce

run = kgrec_core.open_run("runs/demo")
kgrec_ecommerce.recommend(run, user="13085", k=5, where="price < 5")
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kgrec_core import Component, Domain, hookimpl

__all__ = ["DOMAIN", "add_items", "recommend", "similar"]

DOMAIN = Domain(
    "ecommerce",
    "kgrec_ecommerce:recipe.toml",
    "Products for shoppers, from orders, product texts and what connects them.",
    {
        "demo": ("kgrec_ecommerce.commands:demo", "Fit the embedded order book, show what was gained, recommend."),
        "recommend": ("kgrec_ecommerce.commands:recommend", "Products for a customer, a history or a text."),
        "similar": ("kgrec_ecommerce.commands:similar", "Products like one product."),
        "add-items": ("kgrec_ecommerce.commands:add_items", "Add products that can be recommended at once."),
    },
)


@hookimpl
def kgrec_data() -> list[Component]:
    return [Component("online-retail", "kgrec_ecommerce.sample:OnlineRetail", "a year of a gift shop's real orders, in the package")]


@hookimpl
def kgrec_domain() -> list[Domain]:
    return [DOMAIN]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kgrec_ecommerce' has no attribute '{name}'")
    return getattr(import_module("kgrec_ecommerce.shop"), name)
