"""A few requests for every operation, made from the API's own document; benchmarks/fuzz_api.py makes thousands."""

import pytest

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")
pytest.importorskip("schemathesis", reason="schemathesis IS MISSING: the API is not fuzzed")

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks

from benchmarks import fuzz_hooks  # noqa: F401  tells how a policy is put on the wire
from foreshade.adapters.auth.role import Role
from tests.api_surface import served

ENDLESS = "/v1/events"


def test_no_request_of_the_document_gets_a_5xx_or_an_answer_that_it_does_not_describe(tmp_path):
    with served(tmp_path) as one:
        document = one.get("/v1/openapi.json")
        schema = schemathesis.openapi.from_dict(document)
        headers = {"Authorization": f"Bearer {one.token(Role.ADMIN)}"}
        wanted = [checks.not_a_server_error, checks.CHECKS.get_one("response_schema_conformance")]
        tried, paths = [0], set()
        for found in schema.get_all_operations():
            operation = found.ok()
            if operation.path == ENDLESS:
                continue

            @settings(
                max_examples=3, derandomize=True, deadline=None, database=None,
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy())
            def ask(case):
                tried[0] += 1
                case.call_and_validate(base_url=str(one.http.base_url), headers=headers, checks=wanted)

            ask()
            paths.add((operation.method.upper(), operation.path))
        written = {(m.upper(), p) for p, ops in document["paths"].items() for m in ops if p != ENDLESS}
        assert paths == written
        assert tried[0] > len(paths)
        one.tick()
        assert one.get("/v1/audit/verify")["whole"]
