"""Events sent to other systems as signed POST requests, in the form of the Standard Webhooks specification.

Addresses and secrets come from the configuration alone: whoever holds a token of the API can neither make the
controller call an address of theirs nor read a secret. Delivery is at least once and in order per webhook; a receiver
tells repeats by ``webhook-id``. One thread serves one webhook, so a slow receiver delays nobody but itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from foreshade.adapters.wire.event import Event, EventKind
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require

LOG = logging.getLogger("foreshade.webhooks")


class WebhookConfig(BaseModel):
    """Where to, what, and how patiently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    url: Annotated[str, Field(pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")]
    secret_file: Path  # at least 24 bytes; only its owner should be able to read it
    events: tuple[EventKind, ...] = ("plan", "mode", "anomaly", "trouble")
    attempts: Annotated[int, Field(ge=1, le=20)] = 8
    backoff_s: Annotated[float, Field(gt=0, le=60)] = 1.0  # doubled after each attempt, at most 300 s
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    queue: Annotated[int, Field(ge=1, le=100_000)] = (
        1000  # events that wait; beyond it the oldest is given up
    )


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of a webhook's events so far."""

    sent: int
    given_up: int
    waiting: int
    last_error: str


def sign(secret: bytes, event_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: ``v1,`` and base64 of HMAC-SHA256 over id, time and body."""
    mac = hmac.new(secret, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


def check(
    secret: bytes, headers: dict[str, str], body: bytes, now_s: float, tolerance_s: float = 300.0
) -> bool:
    """For receivers: whether a request is ours and not an old one sent again."""
    stamp = headers.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(now_s - int(stamp)) > tolerance_s:
        return False
    wanted = sign(secret, headers.get("webhook-id", ""), int(stamp), body)
    return any(hmac.compare_digest(wanted, said) for said in headers.get("webhook-signature", "").split())


class Webhook:
    """One receiver, and the thread that serves it."""

    def __init__(self, config: WebhookConfig, sleep: Callable[[float], Any] | None = None) -> None:
        """Read the secret.

        Raises:
            InputError: the file cannot be read, or holds less than 24 bytes.

        """
        self.config = config
        self._httpx = require("httpx", "api", "webhooks")
        try:
            self._secret = config.secret_file.read_bytes().strip()
        except OSError as error:
            raise InputError(
                f"webhook {config.name}: secret_file {config.secret_file}: expected a file, {error.strerror}"
            ) from error
        if len(self._secret) < 24:
            raise InputError(
                f"webhook {config.name}: secret_file {config.secret_file}: expected at least 24 bytes, "
                f"found {len(self._secret)}"
            )
        self._waiting: deque[Event] = deque()
        self._wake = threading.Condition()
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._sent = self._given_up = 0
        self._last_error = ""
        self._thread = threading.Thread(target=self._run, name=f"webhook-{config.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End after the request that is under way; what waits is given up."""
        self._stopped.set()
        with self._wake:
            self._wake.notify()
        self._thread.join(timeout_s)

    def offer(self, event: Event) -> None:
        """Take an event, at once; from any thread."""
        if event.kind not in self.config.events:
            return
        with self._wake:
            if len(self._waiting) >= self.config.queue:
                self._waiting.popleft()
                self._given_up += 1
                self._last_error = f"queue of {self.config.queue} was full"
            self._waiting.append(event)
            self._wake.notify()

    @property
    def delivered(self) -> Delivered:
        """Counts so far."""
        with self._wake:
            return Delivered(self._sent, self._given_up, len(self._waiting), self._last_error)

    def _run(self) -> None:
        with self._httpx.Client(timeout=self.config.timeout_s, follow_redirects=False) as client:
            while not self._stopped.is_set():
                with self._wake:
                    while not self._waiting and not self._stopped.is_set():
                        self._wake.wait()
                    if self._stopped.is_set():
                        return
                    event = self._waiting.popleft()
                self._deliver(client, event)

    def _deliver(self, client: Any, event: Event) -> None:
        body = event.model_dump_json().encode()
        error = ""
        for attempt in range(self.config.attempts):
            if attempt:
                self._sleep(min(self.config.backoff_s * 2.0 ** (attempt - 1), 300.0))
                if self._stopped.is_set():
                    break
            stamp = int(time.time())
            headers = {
                "Content-Type": "application/json",
                "webhook-id": event.id,
                "webhook-timestamp": str(stamp),
                "webhook-signature": sign(self._secret, event.id, stamp, body),
            }
            try:
                status = client.post(self.config.url, content=body, headers=headers).status_code
            except self._httpx.HTTPError as failure:
                error = f"{type(failure).__name__}: {failure}"
                continue
            if 200 <= status < 300:
                with self._wake:
                    self._sent += 1
                return
            error = f"expected a status of 2xx, found {status}"
            if 400 <= status < 500 and status not in (408, 425, 429):
                break  # it will not take it the next time either
        with self._wake:
            self._given_up += 1
            self._last_error = error
        LOG.warning("webhook %s: gave up event %s: %s", self.config.name, event.id, error)
