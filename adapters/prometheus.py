"""Series of a Prometheus server as outside knowledge: user activity, orders a minute, queue lengths.

One range query (``/api/v1/query_range``) over the regressors' clock, in as many requests as the server's
limit of 11,000 points a series asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.learned.regressors import RegressorClock, Regressors, held_columns

F64 = npt.NDArray[np.float64]
_MOST_POINTS = 11_000  # of one series in one answer; the server refuses more


@dataclass(frozen=True, slots=True)
class RangeSeries:
    """One series of an answer."""

    name: str  # its labels, in order: job="web",zone="a"
    time_s: F64  # (n,) Unix time, ascending
    values: F64  # (n,) NaN where the server says so


class Prometheus:
    """A small client of the HTTP API, for range queries alone. Queries change nothing and may be repeated.

    Args:
        url: of the server, such as ``http://prometheus:9090``; a path before ``/api`` is kept.
        timeout_s: for each request.
        headers: such as an authorisation.

    Raises:
        MissingExtraError: httpx is not installed.

    """

    def __init__(
        self, url: str, *, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None
    ) -> None:
        self._httpx: Any = require("httpx", "live", "asking Prometheus")
        self._url = f"{url.rstrip('/')}/api/v1/query_range"
        self._client = self._httpx.Client(timeout=timeout_s, headers=dict(headers or {}))

    def __enter__(self) -> Self:
        """As itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def query_range(
        self, promql: str, start_s: float, end_s: float, step_s: float
    ) -> tuple[RangeSeries, ...]:
        """Evaluate an expression from ``start_s`` to ``end_s``, both included, every ``step_s``.

        Raises:
            InputError: no answer in time, an error of the server (its own words), or an answer that is no
            matrix.

        """
        if not (end_s >= start_s and step_s > 0):
            raise InputError(
                f"prometheus: expected an end after the start and a step above 0, got {start_s:.0f} to "
                f"{end_s:.0f} every {step_s:g}"
            )
        found: dict[str, list[tuple[float, float]]] = {}
        begin = start_s
        while begin <= end_s:
            end = min(end_s, begin + (_MOST_POINTS - 1) * step_s)
            for name, points in self._ask(promql, begin, end, step_s):
                found.setdefault(name, []).extend(points)
            begin = end + step_s
        return tuple(
            RangeSeries(name, *np.array(points, np.float64).reshape(-1, 2).T)
            for name, points in found.items()
        )

    def _ask(
        self, promql: str, start_s: float, end_s: float, step_s: float
    ) -> list[tuple[str, list[tuple[float, float]]]]:
        question = {"query": promql, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:g}"}
        where = f"prometheus: {self._url}: {promql}"
        try:
            answer = self._client.post(self._url, data=question)
        except self._httpx.HTTPError as error:
            raise InputError(f"{where}: expected an answer ({type(error).__name__}: {error})") from error
        try:
            body = answer.json()
        except ValueError as error:
            raise InputError(f"{where}: expected JSON, got status {answer.status_code}") from error
        if not isinstance(body, dict) or body.get("status") != "success":
            said = body.get("error", "") if isinstance(body, dict) else ""
            raise InputError(f"{where}: expected success, got status {answer.status_code}: {said}")
        try:
            if body["data"]["resultType"] != "matrix":
                raise InputError(f"{where}: expected a matrix, got a {body['data']['resultType']}")
            return [
                (_name(row["metric"]), [(float(at), float(value)) for at, value in row["values"]])
                for row in body["data"]["result"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{where}: expected series of times and values ({error!r})") from error


def regressors_of(
    client: Prometheus, promql: str, clock: RegressorClock, known_after_ticks: int
) -> Regressors:
    """The series of an expression as regressors, as ``series_from_csv`` makes them of a file.

    Only what lies in the past of the clock's last tick by ``known_after_ticks`` is asked for.

    Raises:
        InputError: no series, or what ``query_range`` refuses.

    """
    delay_s = known_after_ticks * clock.tick_s
    first = float(clock.epoch_s[0]) - delay_s
    found = client.query_range(promql, first, float(clock.epoch_s[-1]) - delay_s, clock.tick_s)
    if not found:
        raise InputError(f"prometheus: {promql}: expected at least one series, found none")
    columns = [held_columns(s.time_s, s.values[:, None], clock, known_after_ticks) for s in found]
    return Regressors(tuple(s.name for s in found), np.concatenate(columns, axis=1))


def _name(labels: Mapping[str, str]) -> str:
    return ",".join(f'{key}="{value}"' for key, value in sorted(labels.items())) or "value"
