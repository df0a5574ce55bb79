"""The connection to one host: kept by a thread that reconnects with back-off, used through deadlines.

``call`` never blocks longer than its timeout. A host that hangs keeps the threads of the calls that it does not
answer; once ``MOST_STUCK`` of them wait, further calls are refused at once, so that a dead host costs a tick nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit, urlunsplit

from foreshade.adapters.libvirt_world.deadline import Pending
from foreshade.adapters.libvirt_world.library import (
    NoAnswerError,
    is_lost,
    library,
    said,
    start_event_loop,
)
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require

T = TypeVar("T")

MOST_STUCK = 8


@dataclass(frozen=True, slots=True)
class Credentials:
    """Of a SASL login; TLS certificates and SSH keys are where libvirt looks for them."""

    user: str
    password_file: Path

    def password(self) -> str:
        """The file's first line; read at each login, so that it can be changed."""
        try:
            return self.password_file.read_text(encoding="utf-8").splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            raise InputError(f"{self.password_file}: expected a password, found {said(error)}") from error


@dataclass(frozen=True, slots=True)
class Retries:
    """How long to wait between attempts, seconds."""

    first_s: float = 0.5
    most_s: float = 60.0  # a host that reboots is back within a minute of being ready
    keepalive_s: int = 5
    keepalive_count: int = 3


class HostConnection:
    """One host by its URI. Opens by itself; ``close`` ends it."""

    def __init__(
        self,
        name: str,
        uri: str,
        *,
        credentials: Credentials | None = None,
        retries: Retries | None = None,
        on_event: Callable[[str, str], None] | None = None,
    ) -> None:
        """Start connecting; ``on_event`` is told (UUID, kind) of whatever happens to a domain."""
        self.name = name
        self.uri = unattended(uri)
        self._credentials = credentials
        self._retries = retries or Retries()
        self._on_event = on_event
        self._lock = threading.Lock()
        self._conn: Any = None
        self._why = "not connected yet"
        self._stuck = 0
        self._next_try = 0.0
        self._lost = threading.Event()
        self._opened = threading.Event()
        self._closed = threading.Event()
        self.times_connected = 0
        start_event_loop()
        self._tenacity: Any = require("tenacity", "live", "reconnecting to libvirt hosts")
        threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True).start()

    @property
    def connected(self) -> bool:
        """Whether calls are let through."""
        return self._conn is not None and self._stuck < MOST_STUCK

    @property
    def trouble(self) -> str:
        """Why not, in one line; empty while connected."""
        if self._conn is None:
            wait = max(0.0, self._next_try - time.monotonic())
            told = f"expected a connection, found: {self._why}; next try in {wait:.0f} s"
            return f"host {self.name}: {self.uri}: {told}"
        if self._stuck >= MOST_STUCK:
            return f"host {self.name}: expected answers, found {self._stuck} calls without one"
        return ""

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is connected; whether it is."""
        return self._opened.wait(max(timeout_s, 0.0))

    def call(self, what: str, act: Callable[[Any], T], timeout_s: float) -> T:
        """Do ``act(virConnect)`` and return its value; libvirt's errors about what was asked are raised as they are.

        Raises:
            NoAnswerError: not connected, the connection broke, or no answer within ``timeout_s``.

        """
        return self.start(what, act).result(timeout_s)

    def start(self, what: str, act: Callable[[Any], T]) -> Pending[T]:
        """Begin ``act(virConnect)`` without waiting for it; errors as in ``call``."""
        libvirt = library()
        conn = self._conn
        if conn is None or self._stuck >= MOST_STUCK:
            raise NoAnswerError(self.trouble or f"host {self.name}: expected a connection, found none")

        def guarded() -> T:
            try:
                return act(conn)
            except libvirt.libvirtError as error:
                # The same error may tell of a connection that the host itself failed to make, to a migration's end.
                if not alive(conn) or (is_lost(error) and not answers(conn)):
                    self._drop(conn, said(error))
                    raise NoAnswerError(f"host {self.name}: {what}: {said(error)}") from error
                raise

        with self._lock:
            self._stuck += 1
        return Pending(f"host {self.name}: {what}", guarded, self._unstuck)

    def close(self) -> None:
        """Disconnect and stay so."""
        self._closed.set()
        self._lost.set()

    def _unstuck(self) -> None:
        with self._lock:
            self._stuck -= 1

    def _drop(self, conn: Any, why: str) -> None:
        with self._lock:
            if self._conn is not conn:
                return
            self._conn, self._why = None, why
            self._stuck = 0
        self._opened.clear()
        self._lost.set()

    def _keep(self) -> None:
        """Open, wait until it is lost, and so on."""
        first, most = self._retries.first_s, self._retries.most_s
        waits = self._tenacity.wait_exponential(multiplier=first, max=most) + self._tenacity.wait_random(
            0, first
        )
        while not self._closed.is_set():
            retrying = self._tenacity.Retrying(
                wait=waits,
                stop=self._tenacity.stop_when_event_set(self._closed),
                sleep=self._sleep,
                reraise=True,
            )
            try:
                conn: Any = retrying(self._open)
            except Exception as error:  # only after close(): every other attempt is followed by another
                self._why = said(error)
                return
            with self._lock:
                self._lost.clear()
                self._conn, self._why, self._stuck = conn, "", 0
                self.times_connected += 1
            self._opened.set()
            self._lost.wait()
            self._conn = None
            # Closing sends a message: a host that hangs must not keep this thread.
            Pending(f"closing {self.name}", conn.close)

    def _sleep(self, seconds: float) -> None:
        self._next_try = time.monotonic() + seconds
        self._closed.wait(seconds)

    def _open(self) -> Any:
        libvirt = library()
        try:
            if self._credentials is None:
                conn = libvirt.open(self.uri)
            else:
                conn = libvirt.openAuth(self.uri, [_ASKED(libvirt), self._answer, self._credentials], 0)
        except (libvirt.libvirtError, InputError) as error:
            self._why = said(error)
            raise
        self._listen(conn)
        return conn

    @staticmethod
    def _answer(asked: list[list[Any]], credentials: Credentials) -> int:
        libvirt = library()
        for one in asked:
            one[4] = credentials.user if one[0] == libvirt.VIR_CRED_AUTHNAME else credentials.password()
        return 0

    def _listen(self, conn: Any) -> None:
        """Hear of the connection's end and of what happens to domains, as far as the driver tells."""
        libvirt = library()
        acts: tuple[Callable[[], Any], ...] = (
            lambda: conn.setKeepAlive(self._retries.keepalive_s, self._retries.keepalive_count),
            lambda: conn.registerCloseCallback(
                lambda c, reason, _: self._drop(c, f"closed, reason {reason}"), None
            ),
        )
        for act in acts:
            try:
                act()
            except libvirt.libvirtError as error:  # drivers without a wire have neither
                if is_lost(error):
                    self._why = said(error)
                    raise
        if self._on_event is None:
            return
        for name in EVENTS:
            number = getattr(libvirt, f"VIR_DOMAIN_EVENT_ID_{name}", None)
            if number is None:
                continue

            def heard(_conn: Any, domain: Any, *_rest: Any, _name: str = name) -> None:
                if self._on_event is not None:
                    self._on_event(domain.UUIDString(), _name)

            try:
                conn.domainEventRegisterAny(None, number, heard, None)
            except libvirt.libvirtError as error:
                if is_lost(error):
                    raise


#: Events after which what we know of a domain's definition is out of date.
EVENTS = (
    "LIFECYCLE",
    "REBOOT",
    "BALLOON_CHANGE",
    "DEVICE_ADDED",
    "DEVICE_REMOVED",
    "TUNABLE",
    "AGENT_LIFECYCLE",
    "METADATA_CHANGE",
    "MEMORY_DEVICE_SIZE_CHANGE",
    "JOB_COMPLETED",
)


def _ASKED(libvirt: Any) -> list[int]:  # noqa: N802
    return [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE, libvirt.VIR_CRED_NOECHOPROMPT]


def alive(conn: Any) -> bool:
    """Whether a connection still is one, without asking its host."""
    libvirt = library()
    try:
        return bool(conn.isAlive())
    except libvirt.libvirtError:
        return False


def answers(conn: Any) -> bool:
    """Whether a connection still is one, by a question to its host; blocks as long as the host lets it."""
    libvirt = library()
    try:
        conn.getLibVersion()
    except libvirt.libvirtError:
        return False
    return alive(conn)


def unattended(uri: str) -> str:
    """The URI such that SSH never asks a person, for there is none.

    Raises:
        InputError: it is no URI of a libvirt host.

    """
    parts = urlsplit(uri)
    if not parts.scheme or (not parts.path and not parts.netloc):
        raise InputError(f"expected a libvirt URI such as qemu+ssh://host/system, found {uri!r}")
    ssh = "ssh" in parts.scheme.partition("+")[2]
    if ssh and "no_tty" not in parse_qs(parts.query):
        query = f"{parts.query}&no_tty=1" if parts.query else "no_tty=1"
        return urlunsplit(parts._replace(query=query))
    return uri
