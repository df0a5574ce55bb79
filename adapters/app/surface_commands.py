"""``foreshade token create|list|revoke`` and ``foreshade audit verify|show``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshade.envs.errors import InputError

if TYPE_CHECKING:
    from foreshade.adapters.store.store import Store

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
    text, record = mint(name, said, span(expires), now, scopes)
    with _store(config, create=True) as store:
        who = _user()
        detail = {"name": name, "role": said.word}
        AuditLog(StoreAudit(store)).append(
            Act(now, who, "admin", "token.create", record.id, "taken", "command line", detail)
        )
        StoreTokens(store).add(record)
    if as_json:
        _say(json.dumps({"id": record.id, "token": text, "expires": record.expires.isoformat()}))
    else:
        _say(text)


@token_app.command("list")
def token_list(config: Config = None, as_json: Json = False) -> None:
    """Every token, without its secret."""
    from foreshade.adapters.store.tokens import StoreTokens  # noqa: PLC0415

    with _store(config) as store:
        records = StoreTokens(store).all()
    now = datetime.now(UTC)
    rows = [
        {
            "id": r.id,
            "name": r.name,
            "role": r.role.word,
            "scopes": None if r.scopes is None else sorted(r.scopes),
            "expires": r.expires.isoformat(timespec="seconds"),
            "state": "revoked" if r.revoked is not None else "expired" if r.expires <= now else "valid",
        }
        for r in records
    ]
    if as_json:
        _say(json.dumps({"tokens": rows}, indent=1))
        return
    for row in rows:
        scopes = "all" if row["scopes"] is None else ",".join(row["scopes"])
        _say(f"{row['id']}  {row['state']:8} {row['role']:8} {row['expires']}  {scopes}  {row['name']}")


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Argument(help="As `foreshade token list` shows it.")],
    config: Config = None,
) -> None:
    """End a token. Running controllers take it for five seconds more at most."""
    from foreshade.adapters.audit.chain import Act  # noqa: PLC0415
    from foreshade.adapters.audit.log import AuditLog  # noqa: PLC0415
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415
    from foreshade.adapters.store.tokens import StoreTokens  # noqa: PLC0415

    with _store(config) as store:
        tokens = StoreTokens(store)
        if tokens.get(token_id) is None:
            raise InputError(f"token {token_id}: expected the id of one, there is none")
        now = datetime.now(UTC)
        AuditLog(StoreAudit(store)).append(
            Act(now, _user(), "admin", "token.revoke", token_id, "taken", "command line")
        )
        done = tokens.revoke(token_id, now)
    _say(f"token {token_id}: {'revoked' if done else 'was revoked before'}")


@audit_app.command("verify")
def audit_verify(
    head: Annotated[
        str, typer.Option(help="A hash noted elsewhere that the chain must contain: a cut at the end shows.")
    ] = "",
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Read the whole audit; exit status 1 and one line where its chain breaks."""
    from foreshade.adapters.audit.log import AuditLog  # noqa: PLC0415
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415

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
    as_json: Json = False,
) -> None:
    """The newest entries, the oldest of them first."""
    from foreshade.adapters.store.audit import StoreAudit  # noqa: PLC0415

    with _store(config) as store:
        audit = StoreAudit(store)
        newest = audit.last()
        entries = audit.read(max(0, (newest.seq if newest else 0) - last), last)
    for entry in entries:
        act = entry.act
        if as_json:
            said = {"seq": entry.seq, "time": act.time.isoformat(), "actor": act.actor, "role": act.role}
            said |= {
                "action": act.action,
                "target": act.target,
                "outcome": act.outcome,
                "request": act.request,
            }
            _say(json.dumps({**said, "detail": dict(act.detail or {}), "hash": entry.hash}))
        else:
            when = act.time.isoformat(timespec="seconds")
            _say(
                f"{entry.seq:6} {when} {act.outcome:7} {act.actor} ({act.role}) {act.action} {act.target}".rstrip()
            )


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
