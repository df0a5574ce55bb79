"""A typed client of the API; it answers as ``ControlService`` does, so that who asks need not know which it is."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from foreshade.adapters.control_models import Explanation, Forecast, HostRecord, Plan, Said, Simulated, Status
from foreshade.adapters.wire.acting import AuditEntry, AuditVerdict, TokenMade, TokenView, Whoami
from foreshade.adapters.wire.event import Event
from foreshade.adapters.wire.inventory import ClusterView, HostView, RackView, VmView
from foreshade.adapters.wire.problem import Problem
from foreshade.adapters.wire.value import Page
from foreshade.agents.plan import Mode, PlanState
from foreshade.envs.errors import InputError, PlanError, WorldError
from foreshade.envs.extras import require

Answer = TypeVar("Answer", bound=BaseModel)
TOKEN, TOKEN_FILE, URL = "FORESHADE_TOKEN", "FORESHADE_TOKEN_FILE", "FORESHADE_URL"
_PAGE = 200


class Client:
    """A connection to one controller; close it, or use it as a context manager.

    Every method raises InputError where the request cannot be used or is not allowed, PlanError where a plan's state
    does not allow it, WorldError where the controller does not answer.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = 30.0,
        verify: bool | str = True,
        transport: Any = None,
    ) -> None:
        """Connect when the first request is made.

        Args:
            url: of the controller, as ``https://control.example:8460``.
            token: bearer token.
            timeout_s: longest wait for one answer.
            verify: False = any certificate; or a file of those that are trusted.
            transport: of httpx, for tests.

        Raises:
            InputError: the token is none that a header can hold; what it is is not said.

        """
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise InputError("token: expected one line of ASCII without a space, found something else")
        self._httpx = require("httpx", "api", "the client")
        self._url = url.rstrip("/")
        context = True if verify is True else _trust(verify)
        self._http = self._httpx.Client(
            base_url=f"{self._url}/v1/",
            timeout=timeout_s,
            headers={"Authorization": f"Bearer {token}"},
            verify=context,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    # -- questions

    def whoami(self) -> Whoami:
        """Who the token says that we are."""
        return self._get(Whoami, "whoami")

    def status(self) -> Status:
        """How the controller and its cluster are."""
        return self._get(Status, "status")

    def cluster(self) -> ClusterView:
        """The whole cluster at the last snapshot."""
        return self._get(ClusterView, "cluster")

    def racks(self) -> Iterator[RackView]:
        """Every rack, page by page."""
        return self._all(RackView, "racks", {})

    def hosts(self, **filters: str | float | bool) -> Iterator[HostView]:
        """Hosts that pass the filters of ``GET /v1/hosts``, page by page."""
        return self._all(HostView, "hosts", filters)

    def host_database(self) -> list[HostRecord]:
        """Every host: its capacity, what of it was in use over the last hour, the shadows on it."""
        return list(self._all(HostRecord, "host-database", {}))

    def vms(self, **filters: str | float) -> Iterator[VmView]:
        """VMs that pass the filters of ``GET /v1/vms``, page by page."""
        return self._all(VmView, "vms", filters)

    def plans(self, limit: int = 50, states: Sequence[PlanState] = ()) -> list[Plan]:
        """The newest plans first."""
        found: list[Plan] = []
        query: dict[str, Any] = {"state": [state.value for state in states]}
        for plan in self._all(Plan, "plans", query, min(limit, _PAGE)):
            if len(found) == limit:
                break
            found.append(plan)
        return found

    def plan(self, plan_id: str) -> Plan:
        """One plan; PlanError where there is none."""
        return self._get(Plan, f"plans/{_part(plan_id)}", absent=PlanError)

    def explain(self, plan_id: str) -> Explanation:
        """Why a plan is as it is."""
        return self._get(Explanation, f"plans/{_part(plan_id)}/explanation", absent=PlanError)

    def forecasts(self, vms: Sequence[str] = (), resource: str = "cpu_mhz") -> list[Forecast]:
        """Demand to come of some VMs, or of all."""
        return list(self._all(Forecast, "forecasts/vms", {"vm": list(vms), "resource": resource}))

    def audit_verify(self, head: str = "") -> AuditVerdict:
        """Read the whole audit, and say where its chain breaks."""
        return self._get(AuditVerdict, "audit/verify", {"head": head} if head else {})

    def audit(self) -> Iterator[AuditEntry]:
        """Every entry of the audit, the oldest first, page by page."""
        return self._all(AuditEntry, "audit", {}, 1000)

    def tokens(self) -> list[TokenView]:
        """Every token, without its secret."""
        return list(self._get(Page[TokenView], "tokens").items)

    def events(self, kinds: Sequence[str] = (), last_id: str = "") -> Iterator[Event]:
        """What happens, as it happens; ends when the controller ends the stream."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with self._http.stream(
                "GET",
                "events",
                params={"kind": list(kinds)},
                headers=headers,
                timeout=self._httpx.Timeout(30.0),
            ) as response:
                if response.status_code != 200:
                    response.read()
                    self._check(response, InputError)
                for line in response.iter_lines():
                    if line.startswith("data: "):
                        yield Event.model_validate_json(line.removeprefix("data: "))
        except self._httpx.HTTPError as error:
            raise WorldError(f"{self._url}: the stream has ended: {error}") from error

    # -- verbs; ``by`` is the token's holder, whatever is said here

    def approve(self, plan_id: str, by: str = "", *, dry_run: bool = False) -> Said:
        """Let a recommended plan be carried out."""
        return self._act(f"plans/{_part(plan_id)}/approve", by, dry_run=dry_run)

    def apply(self, plan_id: str, by: str = "", *, dry_run: bool = False) -> Said:
        """Approve where that is still to be done, so that it is carried out now."""
        return self._act(f"plans/{_part(plan_id)}/apply", by, dry_run=dry_run)

    def cancel(self, plan_id: str, by: str = "", reason: str = "", *, dry_run: bool = False) -> Said:
        """What was not begun is not begun any more."""
        return self._act(f"plans/{_part(plan_id)}/cancel", by, reason, dry_run=dry_run)

    def simulate(self, plan_id: str, ticks: int = 12) -> Simulated:
        """Run the newest snapshot forward with a plan and without it."""
        response = self._send(
            "POST", f"plans/{_part(plan_id)}/simulate", params={"ticks": ticks}, timeout=300.0
        )
        return self._read(Simulated, response, PlanError)

    def set_mode(self, mode: Mode, by: str = "", *, dry_run: bool = False) -> Said:
        """How far the controller goes by itself."""
        body = {"mode": mode.value, "reason": _reason(by), "dry_run": dry_run}
        return self._read(Said, self._send("PUT", "mode", json=body), InputError)

    def pause(self, by: str = "", reason: str = "", *, dry_run: bool = False) -> Said:
        """Nothing is begun from now on."""
        return self._act("pause", by, reason, dry_run=dry_run)

    def resume(self, by: str = "", *, dry_run: bool = False) -> Said:
        """The controller goes on."""
        return self._act("resume", by, dry_run=dry_run)

    def drain(self, host: str, by: str = "", *, undo: bool = False, dry_run: bool = False) -> Said:
        """Empty a host and keep it empty, or let it be filled again."""
        return self._act(f"hosts/{_part(host)}/{'undrain' if undo else 'drain'}", by, dry_run=dry_run)

    def create_token(
        self, name: str, role: str, lifetime: str = "30d", scopes: Sequence[str] | None = None
    ) -> TokenMade:
        """A new token; its text is in the answer and nowhere else."""
        body = {
            "name": name,
            "role": role,
            "lifetime": lifetime,
            "scopes": None if scopes is None else list(scopes),
        }
        return self._read(TokenMade, self._send("POST", "tokens", json=body), InputError)

    def revoke_token(self, token_id: str) -> TokenView:
        """End a token now."""
        return self._read(TokenView, self._send("DELETE", f"tokens/{_part(token_id)}"), InputError)

    # -- how

    def _act(self, path: str, by: str, reason: str = "", *, dry_run: bool) -> Said:
        body = {"reason": reason or _reason(by), "dry_run": dry_run}
        return self._read(Said, self._send("POST", path, json=body), PlanError)

    def _get(
        self,
        model: type[Answer],
        path: str,
        query: Mapping[str, Any] | None = None,
        absent: type[Exception] = InputError,
    ) -> Answer:
        return self._read(model, self._send("GET", path, params=dict(query or {})), absent)

    def _all(
        self, model: type[Answer], path: str, query: Mapping[str, Any], limit: int = _PAGE
    ) -> Iterator[Answer]:
        cursor = None
        while True:
            said = {key: _word(value) for key, value in query.items()} | {"limit": limit}
            page = self._get(Page[model], path, said if cursor is None else {**said, "cursor": cursor})  # type: ignore[valid-type]
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def _send(self, method: str, path: str, **kwargs: Any) -> Any:
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        try:
            return self._http.request(method, path, headers=headers, **kwargs)
        except self._httpx.HTTPError as error:
            raise WorldError(f"{self._url}: expected an answer, {type(error).__name__}: {error}") from error

    def _read(self, model: type[Answer], response: Any, absent: type[Exception]) -> Answer:
        self._check(response, absent)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise WorldError(
                f"{self._url}: expected an answer of this version, found {error.errors()[0]}"
            ) from error

    def _check(self, response: Any, absent: type[Exception]) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        try:
            said = Problem.model_validate_json(response.content)
        except ValidationError:
            said = Problem(title=response.reason_phrase or "no answer of ours", status=status)
        message = f"{self._url}: {said.title}: {said.detail or status}"
        if status == 404:
            raise absent(message)
        if status in (409, 412):
            raise PlanError(message)
        if status >= 500:
            raise WorldError(message)
        raise InputError(message)


def token_from(environment: Mapping[str, str] | None = None) -> str:
    """The token of the environment: FORESHADE_TOKEN_FILE, or FORESHADE_TOKEN.

    Raises:
        InputError: neither is set, or the file cannot be read.

    """
    said = os.environ if environment is None else environment
    if path := said.get(TOKEN_FILE):
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{TOKEN_FILE} {path}: expected a file with a token, found {error}") from error
    if text := said.get(TOKEN):
        return text.strip()
    raise InputError(f"expected a token in {TOKEN} or the name of its file in {TOKEN_FILE}, found neither")


def _trust(verify: bool | str) -> Any:
    import ssl  # noqa: PLC0415

    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=str(verify))


def _word(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, bool) else value


def _part(text: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return quote(text, safe="")


def _reason(by: str) -> str:
    return f"by {by}" if by else ""
