"""``foreshade token create|list|revoke`` and ``foreshade audit verify|show``."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from foreshade.adapters.app.control_access import Url, asked
from foreshade.adapters.app.control_tables import spelled
from foreshade.envs.errors import InputError

if TYPE_CHECKING:
    from foreshade.adapters.audit.chain import Act as AuditAct
    from foreshade.adapters.audit.chain import Verdict
    from foreshade.adapters.auth.token import TokenRecord
    from foreshade.adapters.client import Client
    from foreshade.adapters.store.store import Store
    from foreshade.adapters.wire.acting import AuditEntry, AuditVerdict, TokenView

token_app = typer.Typer(help="Tokens of the API: make, list, revoke.", no_args_is_help=True)
audit_app = typer.Typer(help="Who did what: show, verify.", no_args_is_help=True)

Config = Annotated[
    Path | None, typer.Option("--config", help="Configuration of the controller, whose store is used.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


@token_app.command("create")
def token_create(
    name: Annotated[str, typer.Argument(help="Who will hold it, as the audit shows it.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    expires: Annotated[str, typer.Option(help="When it ends: 15m, 12h, 30d; at most 366d.")] = "30d",
    scope: Annotated[
        list[str] | None, typer.Option(help="A part of the API; may be repeated; default: all of it.")
    ] = None,
    config: Config = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Make a token. Its text is printed once and kept nowhere."""
    from foreshade.adapters.audit.chain import Act  # noqa: PLC0415
    from foreshade.adapters.audit.log import AuditLog  # noqa: PLC0415
    from foreshade.adapters.auth.role import Role, Scope  # noqa: PLC0415
    from foreshade.adapters.auth.token import mint, span  # noqa: PLC0415
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415
    from foreshade.adapters.store.tokens import StoreTokens  # noqa: PLC0415

    try:
        said, scopes = Role.of(role), None if scope is None else frozenset(map(Scope.of, scope))
    except ValueError as error:
        raise InputError(f"token {name}: {error}") from error
    now = datetime.now(UTC)
    text, record = mint(name, said, span(expires), now, scopes)  # where it cannot be, nobody need be asked
    made = {"id": record.id, "token": text, "expires": record.expires.isoformat()}
    if url is not None:
        with _api(config, url) as api:
            answer = api.create_token(name, role, expires, scope)
        made = {
            "id": answer.record.id,
            "token": answer.token,
            "expires": answer.record.expires.isoformat(),
        }
    else:
        with _store(config, create=True) as store:
            detail = {"name": name, "role": said.word}
            AuditLog(StoreAudit(store)).append(
                Act(now, _user(), "admin", "token.create", record.id, "taken", "command line", detail)
            )
            StoreTokens(store).add(record)
    _say(json.dumps(made) if as_json else made["token"])


@token_app.command("list")
def token_list(config: Config = None, url: Url = None, as_json: Json = False) -> None:
    """Every token, without its secret."""
    from foreshade.adapters.store.tokens import StoreTokens  # noqa: PLC0415

    if url is not None:
        with _api(config, url) as api:
            rows = [_token(one, one.role, one.scopes) for one in api.tokens()]
    else:
        with _store(config) as store:
            rows = [_token(one, one.role.word, one.scopes) for one in StoreTokens(store).all()]
    if as_json:
        _say(json.dumps({"tokens": rows}, indent=1))
        return
    for row in rows:
        scopes = "all" if row["scopes"] is None else ",".join(row["scopes"])
        _say(f"{row['id']}  {row['state']:8} {row['role']:8} {row['expires']}  {scopes}  {row['name']}")


def _token(record: TokenRecord | TokenView, role: str, scopes: Collection[str] | None) -> dict[str, Any]:
    over = record.expires <= datetime.now(UTC)
    return {
        "id": record.id,
        "name": record.name,
        "role": role,
        "scopes": None if scopes is None else sorted(scopes),
        "expires": record.expires.isoformat(timespec="seconds"),
        "state": "revoked" if record.revoked is not None else "expired" if over else "valid",
    }


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(help="As `foreshade token list` shows it.")],
    config: Config = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """End a token. Running controllers take it for five seconds more at most."""
    from foreshade.adapters.audit.chain import Act  # noqa: PLC0415
    from foreshade.adapters.audit.log import AuditLog  # noqa: PLC0415
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415
    from foreshade.adapters.store.tokens import StoreTokens  # noqa: PLC0415

    if url is not None:
        with _api(config, url) as api:
            api.revoke_token(token_id)
        done = True
    else:
        with _store(config) as store:
            tokens = StoreTokens(store)
            if tokens.get(token_id) is None:
                raise InputError(f"token {token_id}: expected the id of one, there is none")
            now = datetime.now(UTC)
            AuditLog(StoreAudit(store)).append(
                Act(now, _user(), "admin", "token.revoke", token_id, "taken", "command line")
            )
            done = tokens.revoke(token_id, now)
    if as_json:
        _say(json.dumps({"id": token_id, "state": "revoked"}))
    else:
        _say(f"token {token_id}: {'revoked' if done else 'was revoked before'}")


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str, typer.Option(help="A hash noted elsewhere that the chain must contain: a cut at the end shows.")
    ] = "",
    config: Config = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Read the whole audit; exit status 1 and one line where its chain breaks."""
    from foreshade.adapters.audit.log import AuditLog  # noqa: PLC0415
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415

    verdict: Verdict | AuditVerdict
    if url is not None:
        with _api(config, url) as api:
            verdict = api.audit_verify(head)
    else:
        with _store(config) as store:
            verdict = AuditLog(StoreAudit(store)).verify(head)
    if as_json:
        said = {
            "whole": not verdict.error,
            "entries": verdict.entries,
            "head": verdict.head,
            "error": verdict.error,
        }
        _say(json.dumps(said))
    elif not verdict.error:
        _say(f"whole: {verdict.entries} entries, head {verdict.head}")
    if verdict.error:
        sys.stderr.write(
            f"foreshade: audit: {verdict.error}; {verdict.entries} entries before it are whole\n"
        )
        raise typer.Exit(1)


@audit_app.command("show")
def audit_show(
    last: Annotated[int, typer.Option(min=1, max=100_000, help="Newest entries shown.")] = 20,
    config: Config = None,
    url: Url = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print JSON, an object a line, and nothing else on standard output."),
    ] = False,
) -> None:
    """The newest entries, the oldest of them first."""
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415

    entries: list[tuple[int, AuditAct | AuditEntry, str]]
    if url is not None:
        with _api(config, url) as api:
            entries = [(entry.seq, entry, entry.hash) for entry in deque(api.audit(), maxlen=last)]
    else:
        with _store(config) as store:
            audit = StoreAudit(store)
            newest = audit.last()
            read = audit.read(max(0, (newest.seq if newest else 0) - last), last)
        entries = [(entry.seq, entry.act, entry.hash) for entry in read]
    for number, act, mark in entries:
        if as_json:
            said = {"seq": number, "time": act.time.isoformat(), "actor": act.actor, "role": act.role}
            said |= {
                "action": act.action,
                "target": act.target,
                "outcome": act.outcome,
                "request": act.request,
            }
            _say(json.dumps({**said, "detail": dict(act.detail or {}), "hash": mark}))
        else:
            when = act.time.isoformat(timespec="seconds")
            who = f"{act.actor} ({act.role})" if act.actor else "somebody"
            words = spelled(f"{who} {act.action} {act.target}")  # a stranger's, where he was refused
            _say(f"{number:6} {when} {act.outcome:7} {words}".rstrip())


@contextmanager
def _api(config: Path | None, url: str) -> Iterator[Client]:
    with asked(config, url) as api:
        yield cast("Client", api)


@contextmanager
def _store(config: Path | None, *, create: bool = False) -> Iterator[Store]:
    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.store.store import Store as Opened  # noqa: PLC0415

    said = load_config(config)
    if create:
        said.folder.mkdir(parents=True, exist_ok=True)
    store = Opened(said.store_url, create=create)
    try:
        yield store
    finally:
        store.close()


def _user() -> str:
    import getpass  # noqa: PLC0415

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
