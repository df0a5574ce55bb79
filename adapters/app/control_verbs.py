"""The verbs that the controller acts on: approve, apply, cancel, mode, pause, resume, drain."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshade.adapters.app.control_access import (
    By,
    Config,
    Deed,
    DryRun,
    Json,
    PlanId,
    Url,
    give_order,
    who,
)
from foreshade.envs.errors import InputError


def approve(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let a recommended plan be carried out."""
    deed = Deed("plan.approve", plan_id, who(by), dry_run=dry_run)
    give_order(config, url, as_json, deed, lambda at: at.approve(plan_id, deed.by, dry_run=dry_run))


def apply(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Have a plan begun now, approved where it is not yet."""
    deed = Deed("plan.apply", plan_id, who(by), dry_run=dry_run)
    give_order(config, url, as_json, deed, lambda at: at.apply(plan_id, deed.by, dry_run=dry_run))


def cancel(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    reason: Annotated[str, typer.Option(help="For the journal.")] = "",
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Begin no more of a plan.

    What is under way is seen to its end.
    """
    deed = Deed("plan.cancel", plan_id, who(by), reason, dry_run)
    give_order(config, url, as_json, deed, lambda at: at.cancel(plan_id, deed.by, reason, dry_run=dry_run))


def mode(
    name: Annotated[str, typer.Argument(help="observe, advise or auto.")],
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """How far the controller goes by itself, from its next tick."""
    from foreshade.agents.plan import Mode  # noqa: PLC0415

    if name not in list(Mode):
        raise InputError(f"mode {name}: expected one of {', '.join(Mode)}")
    deed = Deed("mode.set", name, who(by), dry_run=dry_run)
    give_order(config, url, as_json, deed, lambda at: at.set_mode(Mode(name), deed.by, dry_run=dry_run))


def pause(
    config: Config = None,
    url: Url = None,
    reason: Annotated[str, typer.Option(help="For whoever finds it paused.")] = "",
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Begin nothing from now on.

    What is under way is seen to its end.
    """
    deed = Deed("pause", "", who(by), reason, dry_run)
    give_order(config, url, as_json, deed, lambda at: at.pause(deed.by, reason, dry_run=dry_run))


def resume(
    config: Config = None, url: Url = None, by: By = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Go on after a pause."""
    deed = Deed("resume", "", who(by), dry_run=dry_run)
    give_order(config, url, as_json, deed, lambda at: at.resume(deed.by, dry_run=dry_run))


def drain(
    host: Annotated[str, typer.Argument(help="Name of the host.")],
    config: Config = None,
    url: Url = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let it be filled again.")] = False,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Empty a host and keep it empty."""
    deed = Deed("host.undrain" if undo else "host.drain", host, who(by), dry_run=dry_run)
    give_order(config, url, as_json, deed, lambda at: at.drain(host, deed.by, undo=undo, dry_run=dry_run))
