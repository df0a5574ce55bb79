"""Range queries against a server on the loopback that answers like Prometheus."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import numpy as np
import pytest

pytest.importorskip("httpx", reason="httpx IS MISSING: Prometheus is not asked")

from foreshade.adapters.prometheus import Prometheus, regressors_of
from foreshade.envs.errors import InputError
from foreshade.envs.forecast.learned.regressors import RegressorClock


@contextmanager
def server(answer):
    """Yields its address and the questions it was asked; ``answer(question)`` gives status and text."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            question = {key: values[0] for key, values in parse_qs(body).items()} | {"path": self.path}
            question["headers"] = self.headers.get("Authorization")
            asked.append(question)
            status, text = answer(question)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.server_port}", asked
    finally:
        found.shutdown()
        thread.join()
        found.server_close()


def matrix(question):
    """Two series: the time in minutes, and one that is there half of the time."""
    start, end, step = (float(question[key]) for key in ("start", "end", "step"))
    times = np.arange(start, end + 1e-6, step).tolist()
    rows = [
        {"metric": {"zone": "a", "job": "web"}, "values": [[t, str(t / 60)] for t in times]},
        {"metric": {}, "values": [[t, "NaN" if i % 2 else "+3e0"] for i, t in enumerate(times)]},
    ]
    return 200, json.dumps({"status": "success", "data": {"resultType": "matrix", "result": rows}})


def test_a_range_is_asked_for_and_read():
    with server(matrix) as (url, asked), Prometheus(url + "/prom/", headers={"Authorization": "x"}) as client:
        web, plain = client.query_range("rate(orders[5m])", 600, 1200, 300)
    assert asked[0]["path"] == "/prom/api/v1/query_range"
    assert asked[0]["query"] == "rate(orders[5m])"
    assert asked[0]["headers"] == "x"
    assert web.name == 'job="web",zone="a"'
    assert web.time_s.tolist() == [600, 900, 1200]
    assert web.values.tolist() == [10, 15, 20]
    assert plain.name == "value"
    np.testing.assert_array_equal(plain.values, [3, np.nan, 3])


def test_a_long_range_is_asked_for_in_parts_without_seams():
    with server(matrix) as (url, asked), Prometheus(url) as client:
        web, _ = client.query_range("up", 0, 300 * 11_500, 300)
    assert len(asked) == 2
    assert web.time_s.tolist() == (300.0 * np.arange(11_501)).tolist()


def test_series_become_regressors_that_were_known_at_the_origin():
    clock = RegressorClock(60_000, 300, 10)
    with server(matrix) as (url, asked), Prometheus(url) as client:
        found = regressors_of(client, "up", clock, known_after_ticks=4)
    assert float(asked[0]["end"]) == 60_000 + 300 * (9 - 4)
    assert found.values.shape == (10, 2)
    np.testing.assert_allclose(found.values[:, 0], (np.arange(10) - 4.5) / np.arange(10).std(), rtol=1e-5)
    assert (found.values[:, 1] == 0).all()  # held over the gaps it is constant


@pytest.mark.parametrize(
    ("status", "text", "message"),
    [
        (400, '{"status": "error", "error": "parse error: unexpected end"}', "status 400: parse error"),
        (502, "<html>bad gateway</html>", "expected JSON, got status 502"),
        (200, '{"status": "success", "data": {"resultType": "vector", "result": []}}', "got a vector"),
        (200, '{"status": "success", "data": {"resultType": "matrix", "result": [{}]}}', "times and values"),
    ],
)
def test_a_bad_answer_is_one_clear_line(status, text, message):
    with server(lambda _: (status, text)) as (url, _), Prometheus(url) as client:
        with pytest.raises(InputError, match=message) as raised:
            client.query_range("up", 0, 300, 300)
        assert "\n" not in str(raised.value)


def test_no_server_and_no_series_are_told():
    with (
        Prometheus("http://127.0.0.1:9", timeout_s=1.0) as client,
        pytest.raises(InputError, match="expected an answer"),
    ):
        client.query_range("up", 0, 300, 300)
    empty = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": []}})
    with (
        server(lambda _: (200, empty)) as (url, _),
        Prometheus(url) as client,
        pytest.raises(InputError, match="at least one series, found none"),
    ):
        regressors_of(client, "up", RegressorClock(0, 300, 5), 0)
