"""Webhooks against a receiver on the loopback that checks signatures, is slow, fails, or is gone."""

import json
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("httpx", reason="httpx IS MISSING: webhooks are not tested")

from foreshade.adapters.webhooks import Webhook, WebhookConfig, check
from foreshade.adapters.wire.event import Event
from foreshade.envs.errors import InputError

SECRET = b"0123456789abcdef0123456789abcdef"


@contextmanager
def receiver(statuses):
    """Yields its address and the events that it took; ``statuses`` are its answers in turn, then 200."""
    taken, left = [], list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert check(SECRET, {k.lower(): v for k, v in self.headers.items()}, body, time.time())
            status = left.pop(0) if left else 200
            if status == 200:
                taken.append(json.loads(body)["id"])
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hook_to(url, tmp_path, **kwargs):
    file = tmp_path / "secret"
    file.write_bytes(SECRET + b"\n")
    return Webhook(WebhookConfig(name="pager", url=url, secret_file=file, **kwargs), sleep=lambda _: None)


def event(number, kind="plan"):
    return Event(id=f"e-{number}", time=datetime.now(UTC), kind=kind, data={"n": number})


def settled(hook, count):
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        fares = hook.delivered
        if fares.sent + fares.given_up == count:
            return fares
        time.sleep(0.01)
    raise AssertionError(hook.delivered)


def test_events_arrive_signed_in_order_and_again_where_the_receiver_failed(tmp_path):
    with receiver([500, 429]) as (url, taken):
        hook = hook_to(url, tmp_path)
        hook.start()
        for number in range(3):
            hook.offer(event(number))
        hook.offer(event(9, kind="tick"))  # not asked for
        assert settled(hook, 3).sent == 3
        hook.stop()
    assert taken == ["e-0", "e-1", "e-2"]


def test_what_is_refused_for_good_or_reaches_nobody_is_given_up_and_counted(tmp_path):
    with receiver([404]) as (url, taken):
        hook = hook_to(url, tmp_path, attempts=3)
        hook.start()
        hook.offer(event(1))
        assert settled(hook, 1).last_error == "expected a status of 2xx, found 404"
        hook.stop()
    assert taken == []
    gone = hook_to(url, tmp_path, attempts=2)
    gone.start()
    gone.offer(event(1))
    assert settled(gone, 1).last_error.startswith("ConnectError")
    gone.stop()


def test_a_full_queue_gives_up_the_oldest(tmp_path):
    hook = hook_to("http://127.0.0.1:9/", tmp_path, queue=2)  # not started: nothing is taken out
    for number in range(5):
        hook.offer(event(number))
    assert (hook.delivered.waiting, hook.delivered.given_up) == (2, 3)


def test_a_signature_of_another_body_secret_or_hour_is_none(tmp_path):
    from foreshade.adapters.webhooks import sign  # noqa: PLC0415

    headers = {
        "webhook-id": "e-1",
        "webhook-timestamp": "1000",
        "webhook-signature": sign(SECRET, "e-1", 1000, b"x"),
    }
    assert check(SECRET, headers, b"x", 1010.0)
    assert not check(SECRET, headers, b"y", 1010.0)
    assert not check(SECRET[::-1], headers, b"x", 1010.0)
    assert not check(SECRET, headers, b"x", 2000.0)
    assert not check(SECRET, {}, b"x", 1010.0)


def test_a_short_or_missing_secret_is_refused(tmp_path):
    file = tmp_path / "short"
    file.write_text("short")
    with pytest.raises(InputError, match="at least 24 bytes, found 5"):
        Webhook(WebhookConfig(name="pager", url="https://x/", secret_file=file))
    with pytest.raises(InputError, match="expected a file"):
        Webhook(WebhookConfig(name="pager", url="https://x/", secret_file=tmp_path / "none"))
    with pytest.raises(ValueError, match="url"):
        WebhookConfig(name="pager", url="http://elsewhere/", secret_file=file)
