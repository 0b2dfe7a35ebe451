"""Cases drawn from the service's own OpenAPI document, and off it: no answer is a 500, none shows a traceback."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgrec_core.serving.document import document
from kgrec_core.serving.hosted import hosted
from kgrec_core.serving.schema import example_of
from kgrec_core.serving.service import Service

CASES = 12
few = settings(max_examples=CASES, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
PATHS = (
    "/v1/ecommerce/recommend",
    "/v1/ecommerce/similar",
    "/v1/ecommerce/add-items",
    "/v1/embeddings",
    "/v1/feedback",
    "/admin/promote",
    "/admin/reload",
    "/admin/rollback",
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def ask(published: Path, tmp_path_factory: pytest.TempPathFactory):
    from tests.asgi import Asking

    run = Path(shutil.copytree(published, tmp_path_factory.mktemp("drawn") / "shop"))
    found = Asking(Service(hosted([run], "ecommerce"), feedback=1))
    yield found
    found.close()


def check(found) -> None:
    assert found.status_code < 500 and "Traceback" not in found.text
    if found.status_code >= 400:
        assert found.headers["content-type"] == "application/problem+json" and found.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_cases_of_the_document(ask, path):
    schema = schemathesis.openapi.from_dict(ask("GET", "/openapi.json").json())

    @few
    @given(case=schema[path]["POST"].as_strategy())
    def drawn(case):
        body = {} if type(case.body).__name__ == "NotSet" else {"json": case.body}
        check(ask("POST", path, **body))

    drawn()


@pytest.mark.parametrize("path", PATHS[:5])
def test_cases_off_the_document(ask, path):
    names = list(next(iter(_schema(ask, path)))["properties"])

    @few
    @given(body=st.dictionaries(st.sampled_from(names), anything, max_size=4) | anything, raw=st.none() | st.binary(max_size=60))
    def drawn(body, raw):
        check(ask("POST", path, **({"json": body} if raw is None else {"content": raw})))

    drawn()


def _schema(ask, path):
    body = ask("GET", "/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return body.get("anyOf", [body])


def test_examples_are_those_of_the_commands():
    from kgrec_support import Ask, Edit, Remove

    assert example_of(Ask) == {"question": "Where is my parcel?", "budget": 0.05}
    assert example_of(Edit) == {"id": "a-1b2c", "answer": "Yes, until noon.", "questions": ["sunday delivery?"]}
    assert example_of(Remove) == {"ids": ["a-1b2c"]}
    assert document(True)["security"] == [{"key": []}]
