"""Measurements of a server that speaks PromQL over HTTP: Prometheus, VictoriaMetrics, Thanos, Mimir."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshade.adapters.metrics import Measured, MetricsError
from foreshade.envs.extras import require


class PromqlMetrics:
    """One expression, whose series are told apart by one label.

    An instant query (``/api/v1/query``) shows a sample for five minutes after it was taken as if it were new. So the
    time of the samples is asked for beside the values, and the age is the server's clock less that.
    """

    def __init__(
        self,
        url: str,
        query: str,
        *,
        seen: str,
        label: str,
        token_file: Path | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """Nothing is asked yet.

        Args:
            url: of the server, such as ``http://prometheus:9090``; a path before ``/api`` is kept.
            query: an expression with one value for each host or guest.
            seen: an expression with the Unix time at which each was measured.
            label: of both, that names host or guest; a port behind it is left out.
            token_file: of a bearer token, read anew for each question.
            timeout_s: for each question.

        Raises:
            MissingExtraError: httpx is not installed.

        """
        self._httpx: Any = require("httpx", "live", "asking Prometheus")
        self._query, self._seen, self._label = query, seen, label
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._token_file = token_file
        self._client = self._httpx.Client(timeout=timeout_s)

    def read(self) -> Mapping[str, Measured]:
        """The newest values; one that is no number, or whose time is not known, is not there."""
        values = self._ask(self._query)
        times = self._ask(self._seen)
        return {
            name: Measured(value, max(0.0, times[name][0] - times[name][1]))
            for name, (_, value) in values.items()
            if math.isfinite(value) and name in times and math.isfinite(times[name][1])
        }

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _ask(self, promql: str) -> dict[str, tuple[float, float]]:
        """Time of the server's evaluation and value by name; a name that is there twice is an error."""
        where = f"prometheus: {self._url}: {promql}"
        try:
            answer = self._client.post(self._url, data={"query": promql}, headers=self._headers())
            body = answer.json()
        except self._httpx.HTTPError as error:
            raise MetricsError(f"{where}: expected an answer ({type(error).__name__}: {error})") from error
        except ValueError as error:
            raise MetricsError(f"{where}: expected JSON, found status {answer.status_code}") from error
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error", "") if isinstance(body, dict) else ""
            raise MetricsError(f"{where}: expected success, found status {answer.status_code}: {said}")
        found: dict[str, tuple[float, float]] = {}
        try:
            if body["data"]["resultType"] != "vector":
                raise MetricsError(
                    f"{where}: expected a value for each series, found a {body['data']['resultType']}"
                )
            for row in body["data"]["result"]:
                name = _without_port(str(row["metric"].get(self._label, "")))
                if not name:
                    continue
                if name in found:
                    raise MetricsError(f"{where}: expected {self._label}={name} once, found it again")
                found[name] = (float(row["value"][0]), float(row["value"][1]))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise MetricsError(f"{where}: expected series with time and value ({error!r})") from error
        return found

    def _headers(self) -> dict[str, str]:
        if self._token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self._token_file.read_text(encoding='utf-8').strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise MetricsError(
                f"prometheus: token_file {self._token_file}: expected a readable token ({error})"
            ) from error


def _without_port(name: str) -> str:
    head, colon, port = name.rpartition(":")
    return head if colon and port.isdigit() else name
