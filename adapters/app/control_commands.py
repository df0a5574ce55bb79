"""``foreshade control``, and its verbs put on the command line.

The verbs work on the store that the configuration names; the controller reads what they leave there.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from foreshade.adapters.app.control_verbs import apply, approve, cancel, drain, mode, pause, resume
from foreshade.adapters.app.control_views import forecast_show, plan, show, simulate, status
from foreshade.envs.errors import InputError


def register(app: typer.Typer, forecast_app: typer.Typer) -> None:
    """Put the commands on the command line."""
    for command in (
        control,
        status,
        plan,
        show,
        approve,
        apply,
        cancel,
        simulate,
        mode,
        pause,
        resume,
        drain,
    ):
        app.command()(command)
    forecast_app.command("show")(forecast_show)


def control(
    config: Annotated[
        Path | None,
        typer.Option("--config", help="YAML; default: a simulated cluster in accelerated time, mode auto."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="observe, advise or auto, instead of the file's.")
    ] = None,
    ticks: Annotated[int | None, typer.Option(min=1, help="End after so many.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the configuration and the files it names, and end.")
    ] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference of all keys and end.")
    ] = False,
) -> None:
    """Drive a cluster, tick by tick.

    Observe, decide, check, write down, carry out, verify.
    """
    from foreshade.adapters.app.control import assemble, install_signals, run  # noqa: PLC0415
    from foreshade.adapters.app.control_check import check as look_for_what_it_names  # noqa: PLC0415
    from foreshade.adapters.app.control_config import load_config  # noqa: PLC0415
    from foreshade.adapters.app.control_log import start_log  # noqa: PLC0415
    from foreshade.adapters.app.control_reference import reference as written  # noqa: PLC0415
    from foreshade.adapters.app.serve import serve  # noqa: PLC0415
    from foreshade.agents.plan import Mode  # noqa: PLC0415

    if reference:
        sys.stdout.write(written())
        return
    said = load_config(config)
    if mode is not None:
        if mode not in list(Mode):
            raise InputError(f"--mode {mode}: expected one of {', '.join(Mode)}")
        said = said.model_copy(update={"mode": Mode(mode)})
    if check:
        if doubt := look_for_what_it_names(said):
            sys.stderr.write(f"foreshade: the rules will decide in HAM's place: {doubt}\n")
        sys.stdout.write(f"{config or 'defaults'}: ok, cluster {said.cluster}, mode {said.mode}\n")
        return
    start_log(said.log.level, said.log.format)
    running = assemble(said, [partial(serve, hint=f" --config {config}" if config else "")])
    install_signals(running)
    run(running, ticks=ticks, reread=lambda: load_config(config))
