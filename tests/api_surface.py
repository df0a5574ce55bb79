"""A surface over the small controlled cluster, on a free port of the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="fastapi IS MISSING: the API is not tested")


from foreshade.adapters.app.api.server import ApiServer, Surface, build
from foreshade.adapters.app.api_config import ApiSection
from foreshade.adapters.auth.role import Role, Scope
from foreshade.adapters.auth.token import mint
from foreshade.adapters.control_service import ControlService
from foreshade.adapters.store.history import History
from foreshade.adapters.store.journal import StoreJournal
from foreshade.adapters.store.store import Store
from foreshade.agents.controller import Controller
from foreshade.envs.snapshot import Snapshot
from tests import control_worlds


@dataclass
class Served:
    """A controller that is ticked by hand, and clients of its surface by role."""

    surface: Surface
    service: ControlService
    controller: Controller
    history: History
    http: httpx.Client

    def token(self, role: Role = Role.ADMIN, scopes: frozenset[Scope] | None = None, **lifetime: Any) -> str:
        """A token that is in the store."""
        now = datetime.now(UTC) - timedelta(days=2)
        span = timedelta(**lifetime) if lifetime else timedelta(days=30)
        text, record = mint(role.word, role, span, now, scopes)
        self.surface.context.tokens.add(record)
        return text

    def ask(self, method: str, path: str, role: Role = Role.ADMIN, **kwargs: Any) -> Any:
        """A request of somebody with a role."""
        if role not in self._tokens:
            self._tokens[role] = self.token(role)
        headers = {"Authorization": f"Bearer {self._tokens[role]}", **kwargs.pop("headers", {})}
        return self.http.request(method, path, headers=headers, **kwargs)

    def get(self, path: str, **kwargs: Any) -> Any:
        """The JSON of a page that is there."""
        response = self.ask("GET", path, **kwargs)
        assert response.status_code == 200, response.text
        return response.json()

    def tick(self) -> None:
        """One tick, shown to the surface as a controller does."""
        self.controller.tick()
        view = self.controller.view
        if view is not None:  # it was synced
            snapshot = Snapshot.of(view.seen.state, view.seen.inventory, view.site, view.seen.now_s)
            self.service.show(snapshot)
            self.history.add(snapshot)
        self.service.publish()
        self.controller.cost_usd = self.controller.world.advance()

    def __post_init__(self) -> None:
        self._tokens: dict[Role, str] = {}


@contextmanager
def served(folder: Path, mode: str = "advise", store: Store | None = None, **config: Any) -> Iterator[Served]:
    """The surface once there is a plan; its store is a file in the folder unless another is given."""
    world = control_worlds.durable(folder)
    kept = control_worlds.journal(folder) if store is None else StoreJournal(store, wall_s=lambda: 0.0)
    kept.say("mode", mode, "test")
    controller = control_worlds.controller(world, kept)
    store = kept._store
    history = History(folder / "history", raw_days=1, hourly_days=1)
    service = ControlService(store, "tiny", history=lambda: history)
    section = {
        "port": 0,
        "rate": {"per_s": 1e5, "burst": 1e5, "failures_per_s": 1e5, "failures_burst": 1e5},
        **config,
    }
    said = ApiSection.model_validate(section)
    surface = build(said, service, "simulated")
    server = ApiServer(said, surface)
    server.start()
    try:
        with httpx.Client(base_url=server.url, timeout=30.0) as http:
            one = Served(surface, service, controller, history, http)
            for _ in range(60):
                one.tick()
                if service.count_plans():
                    break
            yield one
    finally:
        server.stop()
        world.close()
        store.close()
