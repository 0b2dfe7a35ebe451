"""For authors of domains: what a domain is made of, and what its verbs are written with. Everything is imported when first used.

The graph and what parts are made of are in `kgrec_core`, the built-in parts in `kgrec_core.parts`, the conformance kit in
`kgrec_core.testing`. These four are what plugins import; every other module may change.
"""

from __future__ import annotations

from kgrec_core.late import late

__getattr__, __dir__, __all__ = late(
    __name__,
    {
        # a domain, its verbs, its commands
        "recipe.components": "Component Domain Verb",
        "recipe.hookspecs": "hookimpl",
        "recipe.recipe": "Layer Recipe resolve",
        "recipe.registry": "Registry",
        "errors": "KgrecError choices damage",
        "requests": "as_data made",
        "stages": "Progress",
        "verbs": "each grouped one refuse_other words",
        "cli.domain": "domain_group",
        "cli.run": "run_options",
        "cli.verbs": "options_of",
        "printing": "columns figures say say_json",
        # a run
        "comparison.chains": "Chain",
        "pipeline": "fit",
        "lifecycle.update": "Updated update",
        "lifecycle.tune": "Tuned tune",
        "lifecycle.label_next": "label_next",
        "knowledge.generators": "Generate causal endpoint generator local",
        "lifecycle.held_out": "evaluate_again held_out unseen",
        "lifecycle.audit": "Audit audited fitted_chain",
        "knowledge.leaks": "Leak leaks",
        "loading": "loaded",
        "jobs.bulk": "bulk",
        "run.run": "Run open_run",
        "run.certain": "roles uncalibrated",
        "encoder.fitness": "unread_by",
        "run.rules": "Rules",
        "run.asks": "Answer Judged",
        "run.snapshot": "Snapshot",
        "explain.explanation": "Explanation",
        "explain.fidelity": "fidelity",
        "explain.shown": "told_why with_reasons",
        "run.texts": "TOGETHER Near Past Probabilities",
        "run.asked": "known with_queries",
        "run.folder": "MANIFEST checksum",
        "report.page": "STYLE render",
        "report.plots": "ticks",
        # calibration and evaluation
        "calibration.calibration": "Calibration auroc calibrate upper_bound",
        "comparison.floor": "Floor floor_methods=methods",
        "evaluation.rank_tables": "DEPTH",
        "evaluation.interval": "gain interval intervals",
        "evaluation.metrics": "RANKED measure",
        "evaluation.ranks": "block_ranks dense_ranks hits_ranks",
        "evaluation.variants": "whole",
        "split": "Split split",
        # files
        "outputs": "output",
        "data.appending": "append",
        "data.columns": "Columns Known check_names identity lacking match open_columns plain_name rivals",
        "data.files": "opened readable refuse_foreign",
        "data.formulas": "guarded",
        "data.ids": "NOBODY identifier listed",
        "data.moments": "microseconds refuse_form",
        "data.plain": "plain",
        "data.reading": "column_names read",
        "data.summary": "Summary",
        "data.table": "Table written",
    },
)
