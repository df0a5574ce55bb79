"""Serves API, page and metrics beside a controller, on a thread and an event loop of their own."""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Scope

from foreshade.adapters.app.api.app import create_app
from foreshade.adapters.app.api.context import Context
from foreshade.adapters.app.api.event_bus import EventBus
from foreshade.adapters.app.api.metrics import Metrics
from foreshade.adapters.app.api.middleware import Doorway
from foreshade.adapters.app.api.narrator import Narrator
from foreshade.adapters.app.api.site_routes import site_routes, warm
from foreshade.adapters.app.api.spells import window_spells
from foreshade.adapters.app.api_config import ApiSection
from foreshade.adapters.app.artefact_check import check_artefact
from foreshade.adapters.audit.chain import Act
from foreshade.adapters.audit.log import AuditLog
from foreshade.adapters.auth.oidc import Oidc
from foreshade.adapters.auth.rate_limit import Rate, RateLimit
from foreshade.adapters.auth.role import Role
from foreshade.adapters.auth.token import mint
from foreshade.adapters.control_service import ControlService
from foreshade.adapters.store.answers import StoreAnswers
from foreshade.adapters.store.audit import StoreAudit
from foreshade.adapters.store.maintenance import MaintenanceBook
from foreshade.adapters.store.shelf import Shelf
from foreshade.adapters.store.tokens import StoreTokens
from foreshade.adapters.tracing import TickTraces, TracingSection
from foreshade.adapters.webhooks import Webhook
from foreshade.adapters.wire.forecast import Spell
from foreshade.agents.guard import Window
from foreshade.envs.errors import ForeshadeError, InputError

LOG = logging.getLogger("foreshade.api")
_START_S = 20.0
_FIRST = "started here"  # name of tokens that are shown to whoever starts it
#: How long Python lets the loop go on while a request waits for its turn: 5 ms unless told, several times a request.
_SWITCH_S = 0.0005
_AHEAD_S = 7 * 86400.0  # of windows on the page's time line


@dataclass
class Surface:
    """Everything that is served, before a socket is opened."""

    context: Context
    metrics: Metrics
    narrator: Narrator
    app: FastAPI
    asgi: ASGIApp

    def start(self) -> None:
        """Begin to follow the controller and to deliver."""
        for hook in self.context.webhooks:
            self.context.bus.tap(hook.offer)
            hook.start()
        self.narrator.start()

    def stop(self) -> None:
        """End, in the order that loses least."""
        self.narrator.stop()
        for hook in self.context.webhooks:
            hook.stop()
        self.context.audit.close()


def build(
    config: ApiSection,
    service: ControlService,
    world: str,
    *,
    leader: Callable[[], bool] = lambda: False,
    windows: Sequence[Window] = (),
    tracing: TracingSection | None = None,
) -> Surface:
    """Put the parts together over a service.

    Raises:
        InputError: a file that the configuration names cannot be used.

    """
    store = service.store
    metrics = Metrics()

    def now() -> datetime:
        return datetime.now(UTC)

    book = MaintenanceBook(store)

    def known_windows() -> list[Spell]:
        snapshot = service.newest()
        known = list(windows)
        if snapshot is not None:
            known += book.guard_windows(snapshot.unix_s, _AHEAD_S, snapshot.inventory)
        return [spell for window in known for spell in window_spells(window)]

    bus = EventBus(secrets.token_hex(4), now)
    context = Context(
        service=service,
        world=world,
        tokens=StoreTokens(store),
        oidc=None if config.oidc is None else Oidc(config.oidc),
        answers=StoreAnswers(store),
        audit=AuditLog(StoreAudit(store)),
        shelf=Shelf(store, check_artefact),
        book=book,
        limit=RateLimit(Rate(config.rate.per_s, config.rate.burst), time.monotonic),
        failures=RateLimit(Rate(config.rate.failures_per_s, config.rate.failures_burst), time.monotonic),
        bus=bus,
        webhooks=tuple(Webhook(hook) for hook in config.webhooks),
        windows=known_windows,
    )

    def scraped() -> None:
        try:
            metrics.show_status(service.status(), leader=leader())
        except ForeshadeError:
            metrics.store_errors.inc()
        metrics.streams.set(bus.listeners)
        metrics.dropped.set(bus.dropped)
        metrics.audit_head.set(context.audit.seq)
        for hook in context.webhooks:
            fares = hook.delivered
            for outcome, count in (
                ("sent", fares.sent),
                ("given_up", fares.given_up),
                ("waiting", fares.waiting),
            ):
                metrics.webhooks.labels(hook.config.name, outcome).set(count)

    app = create_app(context, site_routes(context, metrics, scraped, open_metrics=config.open_metrics))

    def on_answer(scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "") or "other"
        metrics.requests.labels(scope["method"] if path != "other" else "other", path, str(status)).inc()
        metrics.request_seconds.labels(path).observe(seconds)

    asgi = Doorway(
        app,
        hosts=config.names,
        most_body=config.most_body,
        most_upload=config.most_policy,
        tls=config.tls_key is not None,
        on_answer=on_answer,
    )
    traces = None if tracing is None else TickTraces(tracing, service.cluster)
    narrator = Narrator(service, bus, context.recent, context.spells, metrics, traces)
    return Surface(context, metrics, narrator, app, asgi)


class ApiServer:
    """A surface on a socket."""

    def __init__(self, config: ApiSection, surface: Surface) -> None:
        """Open the socket, so that a port that is taken is said before anything begins.

        Raises:
            InputError: the address cannot be listened on, or the certificate cannot be used.

        """
        self._config, self._surface = config, surface
        _check_tls(config)
        self._socket = _listen(config)
        said = uvicorn.Config(
            surface.asgi,
            log_config=None,
            log_level="error",  # what strangers send is their affair: they could fill the log
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=64 << 10,
            limit_concurrency=2000,
            ssl_certfile=config.tls_certificate,
            ssl_keyfile=config.tls_key,
            ws="none",
        )
        if config.tls_key is not None:
            said.load()
            assert said.ssl is not None  # noqa: S101  a certificate is given
            said.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._server = uvicorn.Server(said)
        self._thread = threading.Thread(target=self._run, name="api", daemon=True)

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._socket.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        return f"{'https' if self._config.tls_key is not None else 'http'}://{name}:{port}"

    def start(self) -> None:
        """Serve; returns once it does."""
        sys.setswitchinterval(_SWITCH_S)
        self._surface.start()
        self._thread.start()
        until = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until:
                raise InputError(f"api: expected to serve {self.url} within {_START_S:g} s")
            time.sleep(0.01)
        threading.Thread(target=warm, name="page", daemon=True).start()
        LOG.info("serving %s", self.url)

    def stop(self) -> None:
        """End."""
        self._server.should_exit = True
        self._thread.join(10.0)
        self._surface.stop()
        self._socket.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


def first_token(surface: Surface) -> str | None:
    """An admin token for whoever starts the controller at a terminal, until there are proper ones in the store.

    It lives for twelve hours: long enough to make them.
    """
    context = surface.context
    now = context.now()
    taken = (record for record in context.tokens.all() if record.revoked is None and record.expires > now)
    if any(record.name != _FIRST for record in taken):
        return None
    text, record = mint(_FIRST, Role.ADMIN, timedelta(hours=12), now)
    context.audit.append(
        Act(now, "controller", "admin", "token.create", record.id, "taken", "", {"name": _FIRST})
    )
    context.tokens.add(record)
    return text


def _check_tls(config: ApiSection) -> None:
    for path in (config.tls_certificate, config.tls_key):
        if path is not None and not path.is_file():
            raise InputError(f"api: {path}: expected a PEM file, found none")
    if config.tls_certificate is not None and config.tls_key is not None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                config.tls_certificate, config.tls_key
            )
        except ssl.SSLError as error:
            raise InputError(
                f"api: {config.tls_certificate}, {config.tls_key}: expected a certificate and its key, {error.reason}"
            ) from error


def _listen(config: ApiSection) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            config.address, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as opened:
            listening = opened.enter_context(socket.socket(family, kind))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            opened.pop_all()  # it stays open
    except OSError as error:
        raise InputError(
            f"api: {config.address} port {config.port}: expected an address that can be listened on, {error.strerror}"
        ) from error
    return listening
