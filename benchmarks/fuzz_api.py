"""The API fuzzed from its own OpenAPI document: no 5xx, nothing that the document does not say.

    PYTHONPATH=. python benchmarks/fuzz_api.py                    # at least 10,000 cases
    PYTHONPATH=. python benchmarks/fuzz_api.py --examples 20 --seed 7

Schemathesis makes the requests, good and bad ones, as an admin against a controller of a small simulated cluster that
goes on ticking beside it. The endless stream ``/v1/events`` is left out; the streams have tests of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

from foreshade.adapters.auth.role import Role
from tests.api_surface import Served, served

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "ignored_auth",
)


def fuzz(one: Served, folder: Path, token: str, examples: int, seed: int) -> int:
    """Schemathesis's exit status; what it found it prints."""
    document = folder / "openapi.json"
    document.write_text(json.dumps(one.get("/v1/openapi.json")))
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", str(one.http.base_url),
        "--header", f"Authorization: Bearer {token}", "--checks", ",".join(CHECKS),
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples), "--seed", str(seed),
        "--exclude-path", "/v1/events", "--request-timeout", "60", "--continue-on-failure", "--no-color",
        "--suppress-health-check", "all",
    ]  # fmt: skip
    root = str(Path(__file__).resolve().parents[1])
    told = {**os.environ, "SCHEMATHESIS_HOOKS": "benchmarks.fuzz_hooks", "PYTHONPATH": root}
    return subprocess.run(
        command, check=False, env=told, cwd=folder
    ).returncode  # it keeps a cache where it runs


def tick_until(one: Served, over: threading.Event, counted: list[int], troubles: list[str]) -> None:
    """The controller's loop, beside."""
    while not over.wait(1.0) and not one.controller.world.done:
        try:
            one.tick()
            counted[0] += 1
        except Exception as error:
            troubles.append(repr(error))
            return


def statuses(one: Served) -> dict[str, int]:
    """How many answers of each status there were, so that a run of refusals is not taken for a good one."""
    found: Counter[str] = Counter()
    for family in one.surface.metrics.requests.collect():
        for sample in family.samples:
            if sample.name.endswith("_total"):
                found[sample.labels["status"]] += int(sample.value)
    return dict(sorted(found.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=200, help="random cases of each operation")
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, served(Path(name)) as one:
        over, counted, troubles = threading.Event(), [0], []
        thread = threading.Thread(target=tick_until, args=(one, over, counted, troubles))
        thread.start()
        token = one.token(Role.ADMIN)
        status = fuzz(one, Path(name), token, said.examples, said.seed)
        over.set()
        thread.join()
        audit = one.surface.context.audit.verify()
        last = one.http.get("/v1/whoami", headers={"Authorization": f"Bearer {token}"}).status_code
        answers = statuses(one)
    print(json.dumps({"ticks": counted[0], "troubles": troubles, "answers": answers, "audit": audit.entries}))
    if status or troubles or audit.error or last != 200:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
