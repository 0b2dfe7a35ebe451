"""E-commerce for kgrec: which products for this shopper. Importing this imports nothing heavy.

import kgrec_core, kgrec_ecommerce

run = kgrec_core.open_run("runs/demo")
kgrec_ecommerce.recommend(run, user="13085", k=5, where="price < 5")
"""

from __future__ import annotations

from kgrec_core import Component, Domain, Verb, hookimpl
from kgrec_core.domain import words

SHOP = "kgrec_ecommerce.shop:"
DOMAIN = Domain(
    "ecommerce",
    "kgrec_ecommerce:recipe.toml",
    "Products for shoppers, from orders, product texts and what connects them.",
    verbs={
        "recommend": Verb(
            f"{SHOP}Recommend", f"{SHOP}recommend", help="Products for a customer, a history or a text.", shown=f"{SHOP}table"
        ),
        "similar": Verb(f"{SHOP}Similar", f"{SHOP}similar", help="Products like one product.", shown=f"{SHOP}table"),
        "add-items": Verb(
            "kgrec_ecommerce.catalogue:AddItems",
            "kgrec_ecommerce.catalogue:add_items",
            "edit",
            "Add products that can be recommended at once.",
            "kgrec_ecommerce.catalogue:told",
        ),
    },
    demo="kgrec_ecommerce.demo:Demo",
)


@hookimpl
def kgrec_data() -> list[Component]:
    return [Component("online-retail", "kgrec_ecommerce.sample:OnlineRetail", "a year of a gift shop's real orders, in the package")]


@hookimpl
def kgrec_domain() -> list[Domain]:
    return [DOMAIN]


__getattr__, __dir__, __all__ = words(__name__, DOMAIN, {"shop": "Recommend Similar", "catalogue": "AddItems Added"})
