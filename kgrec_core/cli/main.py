"""The command `kgrec`: the core's own commands, and every active domain as a group."""

from __future__ import annotations

from collections.abc import Sequence

import click

import kgrec_core
from kgrec_core.cli.domain import LazyGroup, Targets, domain_group
from kgrec_core.errors import KgrecError, choices
from kgrec_core.recipe.components import Domain
from kgrec_core.recipe.registry import Registry

OWN: Targets = {
    "plugins": ("kgrec_core.cli.parts:plugins", "List the installed plugins and why one is not active."),
    "list": ("kgrec_core.cli.parts:list_parts", "List the parts and domains a recipe can use."),
    "show": ("kgrec_core.cli.parts:show", "Show a part's recipe keys, or a domain's recipe."),
    "graph": ("kgrec_core.cli.graph:graph", "Build a knowledge graph from a recipe's tables, and look at it."),
    "compact": ("kgrec_core.cli.compact:compact", "Bake the edits of a run into it."),
    "shrink": ("kgrec_core.cli.shrink:shrink", "Make a run faster or smaller, measured again and refused where it lost too much."),
    "serve": ("kgrec_core.cli.serve:serve", "Answer over HTTP: every verb of a run's domain is an endpoint."),
    "review": ("kgrec_core.cli.review:review", "Decide on answers that rules or a classifier hold back."),
    "keys": ("kgrec_core.cli.keys:keys", "Make, list and revoke the keys of a service."),
    "feedback": ("kgrec_core.cli.feedback:feedback", "Show what callers made of a served run's answers, and write it to learn from."),
    "doctor": ("kgrec_core.cli.doctor:doctor", "Check the installation and say what would make it faster."),
}


class Kgrec(LazyGroup):
    """The core's commands and the domains of all plugins."""

    def domains(self) -> dict[str, Domain]:
        registry = Registry.discover()
        found = {full: domain for full, domain in registry.components("domain").items() if isinstance(domain, Domain)}
        names = {full: registry.shortest("domain", full) for full in found}  # a core command is not shadowed: plugin/name still works
        return {full if names[full] in self.targets else names[full]: domain for full, domain in found.items()}

    def sections(self) -> dict[str, dict[str, str]]:
        return {"Domains": {name: domain.summary for name, domain in self.domains().items()}, **super().sections()}

    def fetch(self, word: str) -> click.Command:
        return super().fetch(word) if word in self.targets else domain_group(self.domains()[word])

    def unknown(self, word: str, known: Sequence[str]) -> KgrecError:
        absent = [f"plugin '{p.name}' is {p.state}: {p.reason}" for p in Registry.discover().plugins if p.state != "active"]
        return choices("command or domain", word, known, "; ".join(absent))


main = Kgrec(
    "kgrec",
    OWN,
    help="Fine-tune a language model together with a knowledge graph, retrieve with FAISS, answer and explain.",
    epilog="Example: kgrec show retrieval faiss",
)
main = click.version_option(kgrec_core.__version__, prog_name="kgrec")(main)

if __name__ == "__main__":
    main(prog_name="kgrec")
