"""What every route can reach: the controller, its latest sight, and the surface's own parts."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from foreshade.adapters.answers import KeptAnswers
from foreshade.adapters.app.api.answer import Rendered
from foreshade.adapters.app.api.event_bus import EventBus
from foreshade.adapters.app.api.problems import ProblemError, request_id_of
from foreshade.adapters.app.api.recent import Recent
from foreshade.adapters.app.api.sight import Sight
from foreshade.adapters.app.api.spells import Spells
from foreshade.adapters.audit.chain import Act
from foreshade.adapters.audit.log import AuditLog
from foreshade.adapters.auth.oidc import Oidc
from foreshade.adapters.auth.rate_limit import RateLimit
from foreshade.adapters.auth.role import Principal
from foreshade.adapters.auth.token import TokenStore, redact
from foreshade.adapters.control_service import ControlService
from foreshade.adapters.store.maintenance import MaintenanceBook
from foreshade.adapters.store.shelf import Shelf
from foreshade.adapters.webhooks import Webhook
from foreshade.adapters.wire.acting import ModeChange, Why
from foreshade.adapters.wire.forecast import Spell


class Known:
    """Credentials that were verified a moment ago, by their hash: a store that is slow is not asked each time.

    A token that another controller revokes is taken for ``kept_s`` more at most; one revoked here is forgotten.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, kept_s: float = 5.0, most: int = 2000
    ) -> None:
        self._clock, self._kept_s, self._most = clock, kept_s, most
        self._who: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    def get(self, key: bytes) -> Principal | None:
        """Who it was, if that was a moment ago."""
        found = self._who.get(key)
        return found[1] if found is not None and self._clock() < found[0] else None

    def put(self, key: bytes, who: Principal) -> None:
        """Remember."""
        self._who.pop(key, None)
        self._who[key] = (self._clock() + self._kept_s, who)
        if len(self._who) > self._most:
            self._who.popitem(last=False)

    def forget(self) -> None:
        """Verify everybody anew."""
        self._who.clear()


@dataclass
class Context:
    """Handed to every route."""

    service: ControlService
    world: str  # simulated or libvirt
    tokens: TokenStore
    oidc: Oidc | None
    answers: KeptAnswers
    audit: AuditLog
    shelf: Shelf
    book: MaintenanceBook
    limit: RateLimit  # by caller
    failures: RateLimit  # attempts without a good token, by address
    bus: EventBus
    recent: Recent = field(default_factory=Recent)
    spells: Spells = field(default_factory=Spells)
    known: Known = field(default_factory=Known)
    rendered: Rendered = field(default_factory=Rendered)
    webhooks: Sequence[Webhook] = ()
    windows: Callable[[], Sequence[Spell]] = tuple
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _simulating: threading.Lock = field(default_factory=threading.Lock)
    _sight: Sight | None = None

    @property
    def sight(self) -> Sight:
        """The latest snapshot.

        Raises:
            ProblemError: there is none yet.

        """
        snapshot = self.service.seen  # the narrator looks: a slow store must not stop the event loop
        if snapshot is None:
            raise ProblemError(503, "the cluster was not observed yet", headers={"Retry-After": "5"})
        sight = self._sight
        if sight is None or sight.snapshot is not snapshot:
            sight = self._sight = Sight(self.service.cluster, self.world, snapshot)
        return sight

    def rendered_before(self, request: Request) -> Response | None:
        """What this address was answered with on the same snapshot: the same for all who may ask."""
        sight = self._sight
        if sight is None or sight.snapshot is not self.service.seen:
            return None
        return self.rendered.kept(request, sight)

    def timeline(self) -> list[Spell]:
        """Anomalies, and windows that are known beforehand."""
        return sorted([*self.spells.all(), *self.windows()], key=lambda spell: spell.start)

    def record(
        self,
        request: Request,
        action: str,
        target: str = "",
        outcome: str = "ok",
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Put into the audit what the caller did."""
        who: Principal = request.state.principal
        self.audit.append(
            Act(self.now(), who.name, who.role.word, action, target, outcome, request_id_of(request), detail)
        )

    @contextmanager
    def act(
        self, request: Request, action: str, target: str, why: Why | ModeChange | None = None
    ) -> Iterator[str]:
        """Around what a caller does: it is in the audit before it is done, and once more where it failed.

        Yields the name under which it is done. A dry run does nothing, and is not recorded.
        """
        by = str(request.state.principal.name)
        if why is not None and why.dry_run:
            yield by
            return
        detail = {"reason": why.reason} if why is not None and why.reason else None
        self.record(request, action, target, "taken", detail)
        try:
            yield by
        except Exception as error:
            self.record(request, action, target, "failed", {"error": redact(str(error))[:500]})
            raise

    @contextmanager
    def simulating(self) -> Iterator[None]:
        """One simulation at a time: they take a core.

        Raises:
            ProblemError: another is running.

        """
        if not self._simulating.acquire(blocking=False):
            raise ProblemError(
                429, "expected one simulation at a time, another is running", headers={"Retry-After": "5"}
            )
        try:
            yield
        finally:
            self._simulating.release()

    def denied(self, request: Request, who: Principal | None, why: str = "") -> None:
        """Put into the audit that somebody was refused; many in a row are counted, not each recorded."""
        name, role = (who.name, who.role.word) if who is not None else ("", "")
        target = f"{request.method} {request.url.path}"[:200]
        self.audit.append_denied(
            Act(
                self.now(),
                name,
                role,
                "access",
                target,
                "denied",
                request_id_of(request),
                {"why": why} if why else None,
            )
        )


def context_of(request: Request) -> Context:
    """The context of the app that serves a request."""
    context: Context = request.app.state.context
    return context


async def _context(request: Request) -> Context:
    """On the event loop: FastAPI would put a plain function on a thread, for each request."""
    return context_of(request)


Surface = Annotated[Context, Depends(_context)]
