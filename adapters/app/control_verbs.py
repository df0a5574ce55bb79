"""The verbs that the controller acts on: approve, apply, cancel, mode, pause, resume, drain."""

from __future__ import annotations

from typing import Annotated

import typer

from foreshade.adapters.app.control_access import By, Config, DryRun, Json, PlanId, Url, give_order, who
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
    give_order(config, url, as_json, lambda service: service.approve(plan_id, who(by), dry_run=dry_run))


def apply(
    plan_id: PlanId,
    config: Config = None,
    url: Url = None,
    by: By = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Have a plan begun now, approved where it is not yet."""
    give_order(config, url, as_json, lambda service: service.apply(plan_id, who(by), dry_run=dry_run))


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
    give_order(
        config, url, as_json, lambda service: service.cancel(plan_id, who(by), reason, dry_run=dry_run)
    )


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
    give_order(config, url, as_json, lambda service: service.set_mode(Mode(name), who(by), dry_run=dry_run))


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
    give_order(config, url, as_json, lambda service: service.pause(who(by), reason, dry_run=dry_run))


def resume(
    config: Config = None, url: Url = None, by: By = None, dry_run: DryRun = False, as_json: Json = False
) -> None:
    """Go on after a pause."""
    give_order(config, url, as_json, lambda service: service.resume(who(by), dry_run=dry_run))


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
    give_order(config, url, as_json, lambda service: service.drain(host, who(by), undo=undo, dry_run=dry_run))
