"""Whom a verb asks, the store that a configuration names or a controller's API, and the options that say so."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshade.adapters.app.control_tables import print_json, print_out
from foreshade.envs.errors import ForeshadeError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from foreshade.adapters.app.control_config import ControlConfig
    from foreshade.adapters.client import Client as ApiClient
    from foreshade.adapters.control_models import Said
    from foreshade.adapters.control_service import ControlService
    from foreshade.adapters.store.history import History

    Asked = ControlService | ApiClient

_MOST_NAME = 100  # as of a token
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration of the controller; default: the simulated one without configuration."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="FORESHADE_URL",
        help="Ask a controller's API instead of its store; the token stands in FORESHADE_TOKEN or _TOKEN_FILE.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
By = Annotated[
    str | None, typer.Option("--by", help="Who says so, for the journal; default: the user's name.")
]
PlanId = Annotated[str, typer.Argument(help="Of the plan, as in `foreshade plan`.")]


@contextmanager
def asked(config: Path | None, url: str | None = None) -> Iterator[Asked]:
    """The service on the store of a configuration, or a client of a controller's API."""
    if url is not None:
        from foreshade.adapters.client import Client, token_from  # noqa: PLC0415

        if config is not None:
            raise InputError("expected one of --config and --url (or FORESHADE_URL), found both")
        with Client(url, token_from()) as client:
            yield client
        return
    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.control_service import ControlService as Service  # noqa: PLC0415
    from foreshade.adapters.store.store import Store  # noqa: PLC0415

    said = load_config(config)
    store = Store(said.store_url, create=False)
    try:
        yield Service(store, said.cluster, history=lambda: _history(said))
    finally:
        store.close()


def _history(said: ControlConfig) -> History:
    from foreshade.adapters.app.control import open_history  # noqa: PLC0415  few verbs ask it

    return open_history(said)


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody does, as the audit has it."""

    action: str
    target: str
    by: str
    reason: str = ""
    dry_run: bool = False  # nothing is done, and nothing recorded


def give_order(
    config: Path | None, url: str | None, as_json: bool, deed: Deed, verb: Callable[[Asked], Said]
) -> None:
    """Carry out a verb, and print what it came to. Where an API is asked, the audit is its own."""
    with asked(config, url) as service:
        recorded = nullcontext() if url is not None or deed.dry_run else _recorded(service, deed)
        with recorded:
            said = verb(service)
        running = service.status().running
    if as_json:
        print_json(said.model_dump(mode="json"))
        return
    print_out(said.what)
    if said.done and not running:
        print_out("no controller is running: it is done once one is")


@contextmanager
def _recorded(service: Any, deed: Deed) -> Iterator[None]:
    """In the audit before it is done, and once more where it failed."""
    from foreshade.adapters.audit.chain import Act  # noqa: PLC0415
    from foreshade.adapters.audit.log import AuditLog  # noqa: PLC0415
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415

    log = AuditLog(StoreAudit(service.store))

    def record(outcome: str, detail: dict[str, str]) -> None:
        now = datetime.now(UTC)
        log.append(
            Act(now, deed.by, "admin", deed.action, deed.target, outcome, "command line", detail or None)
        )

    record("taken", {"reason": deed.reason} if deed.reason else {})
    try:
        yield
    except ForeshadeError as error:
        record("failed", {"error": str(error)[:500]})
        raise


def who(by: str | None) -> str:
    """The name that journal and audit get.

    Raises:
        InputError: it is none that a line of a log could hold.

    """
    if by is not None:
        if not by.isprintable() or not 0 < len(by) <= _MOST_NAME:
            raise InputError(f"--by: expected 1 to {_MOST_NAME} printable characters, found {by[:150]!r}")
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
