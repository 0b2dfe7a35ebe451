"""Cases drawn by schemathesis from the service's own OpenAPI document, half of them against it: no answer is a 500, none shows a traceback.

    python examples/benchmarks/http_cases.py [--small] [--run FOLDER] [--cases 10000]

A real server over FOLDER, or over a small shop that is fitted here; every operation gets its share of the cases. Jobs (evaluate, update) are left
out: they run for minutes and take files. Prints the number of cases by status as one JSON line last; exits with 1 where one was 500 or
above or had a traceback in its body, and tells each such case.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from serving import fitted, server

JOBS = ("evaluate", "label-next", "price", "report", "update")


def measure(run: Path, cases: int) -> dict:
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    with server(run, 1, "--feedback", "1") as (_, url), httpx.Client(base_url=url, timeout=60) as http:
        schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
        every = [found.ok() for found in schema.get_all_operations()]
        operations = [operation for operation in every if not operation.path.endswith(JOBS)]
        each = -(-cases // (2 * len(operations)))
        how = settings(max_examples=each, deadline=None, database=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))  # fmt: skip
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                except Exception as error:  # what takes nothing cannot be asked wrongly
                    print(f"{operation.label}: no {mode.value} cases ({type(error).__name__})", file=sys.stderr)
                    continue

                @how
                @given(case=strategy)
                def drawn(case) -> None:
                    found = case.call(base_url=url)
                    statuses[found.status_code] += 1
                    if found.status_code >= 500 or "Traceback" in found.text:
                        wrong.append(f"{case.method} {case.path} {str(case.body)[:300]} -> {found.status_code} {found.text[:300]}")

                try:
                    drawn()
                except schemathesis.errors.SchemathesisError as error:
                    print(f"{operation.label}: {mode.value} cases end ({error})", file=sys.stderr)
                except Exception as error:
                    if "Unsatisfiable" not in type(error).__name__:
                        raise
        alive = http.get("/health/ready").status_code == 200
    for line in wrong:
        print(line, file=sys.stderr)
    return {"operations": len(operations), "cases": sum(statuses.values()), "statuses": {str(k): n for k, n in sorted(statuses.items())}, "wrong": len(wrong), "ready afterwards": alive}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        run = Path(shutil.copytree(asked.run, Path(name) / asked.run.name)) if asked.run else fitted(Path(name))
        found = measure(run, 60 if asked.small else asked.cases)
    print(json.dumps({"benchmark": "http_cases", "small": asked.small, **found}))
    return 1 if found["wrong"] or not found["ready afterwards"] else 0


if __name__ == "__main__":
    sys.exit(main())
