"""Break important lines one at a time, in a copy of the tree, and see whether the tests that should notice do.

    python tests/mutations.py [NAME ...]

Not part of the tests: it takes minutes. Without names all mutations; ends with how many were caught, exit code 1 where one lives.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Mutation(NamedTuple):
    """What is said of it, the file below kgrec_core, a text that stands in it once, what is put in its place, and who must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


VIEWS, PIPELINE, CHANNELS = "tests/split", "tests/test_pipeline.py", "tests/retrieval/test_channels.py"
MUTATIONS = [
    Mutation("a view knows the part it is asked for", "split/views.py", "keep &= of.part < limit", "keep &= of.part <= limit", VIEWS),
    Mutation("a basket sees itself", "split/views.py", "before=time[edges[first]])", "before=time[edges[first]] + 1)", VIEWS),
    Mutation("the last edge is not the test", "split/parts.py", "long & (left == 1)", "long & (left == 3)", VIEWS),
    Mutation(
        "hidden targets are read",
        "graph/graph.py",
        "found = found.keep(~np.isin(found.owner * width + found.rows, hidden.owner * width + hidden.rows))",
        "found = found.keep(np.ones(len(found.rows), bool))",
        VIEWS,
    ),
    Mutation(
        "a candidate knows the batch's own edges, dated",
        "training/examples.py",
        "before=np.full(len(rows), queries.before.min())",
        "before=None",
        "tests/training/test_leak.py",
    ),
    Mutation(
        "a candidate knows the batch's own edges, undated",
        "training/examples.py",
        "hide={relation: Ragged.of(owner, queries.rows, len(rows))}",
        "hide=None",
        "tests/training/test_leak.py",
    ),
    Mutation(
        "known targets are in the ranking",
        "evaluation/variants.py",
        "return Case(queries, None if task.repeats else history(queries, task))",
        "return Case(queries, None)",
        f"{PIPELINE} -k without_repeats",
    ),
    Mutation(
        "what is published was built on the test view",
        "pipeline.py",
        "            chain.build(dataset.graph)",
        "            pass",
        f"{PIPELINE} -k published_is",
    ),
    Mutation("the floor chooses on test", "comparison/floor.py", "self._drawn(case(self.select, self.task))", "self._drawn(case(self.test, self.task))", "tests/comparison/test_floor.py"),
    Mutation("a floor's weights are not used", "comparison/floor.py", 'fuse(pairs, dict.fromkeys(scores), scores, "score", weights)', 'fuse(pairs, dict.fromkeys(scores), scores, "score", {})', "tests/comparison/test_floor.py"),
    Mutation("any hit is a perfect list", "evaluation/metrics.py", "[np.clip(n, 1, k) - 1]", "[np.clip(n, 1, 1) - 1]", "tests/evaluation"),
    Mutation("ties are won", "evaluation/ranks.py", "counts[part] = (higher + as_high + 1) / 2", "counts[part] = higher + 1", "tests/evaluation"),
    Mutation("a gain is not paired", "evaluation/interval.py", "return interval(values - reference, seed)", "return interval(values, seed)", "tests/evaluation"),
    Mutation("excluded rows are found", "retrieval/blockwise.py", "s[gone.owner[known], gone.rows[known]] = 0", "s[gone.owner[known], gone.rows[known]] += 0", CHANNELS),
    Mutation(
        "an item goes together with itself",
        "retrieval/cooccurrence.py",
        " * ~(others & (part.indices == owner))",
        "",
        "tests/retrieval/test_cooccurrence.py",
    ),
    Mutation("weights of a merge are not used", "retrieval/merge.py", "np.float32(weights.get(name, 1.0))", "np.float32(1.0)", "tests/retrieval/test_merge.py"),
    Mutation("known candidates are negatives", "head/rank.py", 'logits.masked_fill(batch.mask, float("-inf"))', "logits", "tests/head/test_rank.py"),
    Mutation("wrong answers count as right", "calibration/confidence.py", "return wanted & (first >= 0)", "return ~wanted", "tests/calibration"),
    Mutation("a damaged file is read", "run/folder.py", "if checksum(folder / name) != expected:", "if False:", "tests/run/test_run.py -k refused_by_name"),
    Mutation("a limit draws more than it says", "limits.py", "choice(n, most, replace=False)", "choice(n, most + 1, replace=False)", "tests/test_limits.py -k seed"),
]  # fmt: skip


def main(names: list[str]) -> int:
    wanted = [m for m in MUTATIONS if not names or m.name in names]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "shared", "runs"))
        plugins = [str(path) for path in (copy / "plugins").iterdir() if path.is_dir()]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(copy), *plugins]), "PYTHONDONTWRITEBYTECODE": "1"}
        environment |= {"OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}

        def passes(tests: str) -> bool:
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-x", "-q", *tests.split(" ")]
            return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode == 0

        sound = {tests: passes(tests) for tests in dict.fromkeys(m.tests for m in wanted)}
        caught = 0
        for mutation in wanted:
            file = copy / "kgrec_core" / mutation.file
            whole = file.read_text()
            if whole.count(mutation.old) != 1 or not sound[mutation.tests]:
                why = "stands not once in" if whole.count(mutation.old) != 1 else f"{mutation.tests} fails even without it:"
                print(f"BROKEN  {mutation.name}: {why} {mutation.file}", flush=True)
                continue
            file.write_text(whole.replace(mutation.old, mutation.new))
            lives = passes(mutation.tests)
            file.write_text(whole)
            caught += not lives
            print(f"{'LIVES ' if lives else 'caught'}  {mutation.name}", flush=True)
    print(f"{caught} of {len(wanted)} caught")
    return int(caught < len(wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
