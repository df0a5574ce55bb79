"""``foreshade template list|show|validate|select``."""

from __future__ import annotations

import json
import math
import sys
from typing import Annotated

import typer

from foreshade.envs.errors import InputError

template_app = typer.Typer(help="List, show, check and select templates of VMs.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


@template_app.command("list")
def template_list(as_json: Json = False) -> None:
    """The templates that ship with Foreshade."""
    from foreshade.envs.templates.template import templates  # noqa: PLC0415  keeps --help fast

    known = templates().values()
    if as_json:
        rows = [{"name": t.name, "version": t.version, "description": t.description} for t in known]
        _say(json.dumps({"templates": rows}, indent=1))
        return
    for t in known:
        _say(f"{t.name:12} {t.version:8} {t.description}")


@template_app.command("show")
def template_show(
    name: Annotated[str, typer.Argument(help="A shipped template's name, or a YAML file.")],
    as_json: Json = False,
) -> None:
    """A template as YAML, defaults included."""
    from foreshade.envs.templates.template import show, template  # noqa: PLC0415

    said = template(name)
    _say(json.dumps(said.model_dump(mode="json"), indent=1) if as_json else show(said).rstrip())


@template_app.command("validate")
def template_validate(
    files: Annotated[list[str], typer.Argument(help="Template files or names.")],
    scenario: Annotated[
        str | None, typer.Option(help="Check too that each fits on a host of this scenario.")
    ] = None,
) -> None:
    """Check template files; the first error ends it with status 2."""
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415
    from foreshade.envs.templates.template import check_fits, template  # noqa: PLC0415

    fleet = None if scenario is None else load_scenario(scenario)
    for file in files:
        said = template(file)
        if fleet is not None:
            check_fits(said, fleet)
        _say(f"{file}: ok, {said.name} {said.version} for {said.application}")


@template_app.command("select")
def template_select(
    demand: Annotated[
        str, typer.Argument(help="Predicted demand: MHz,MiB,MiB/s,Mbit/s,GPUs; what is left out is 0.")
    ],
    application: Annotated[str, typer.Option(help="The application's type, where known.")] = "",
    lead_s: Annotated[float, typer.Option(min=0, help="Seconds until the demand comes.")] = math.inf,
    hypervisor: Annotated[str, typer.Option(help="Of the catalogue; its boot times count.")] = "kvm",
    as_json: Json = False,
) -> None:
    """Which template serves a predicted demand.

    How many VMs, how large, how booted.
    """
    from foreshade.envs.model.action import five  # noqa: PLC0415
    from foreshade.envs.templates.select import ApplicationProfile, select_template  # noqa: PLC0415

    words = demand.split(",")
    try:
        amounts = [float(word) for word in words]
    except ValueError:
        amounts = []
    if not 1 <= len(amounts) <= 5:
        raise InputError(f"demand: expected 1 to 5 numbers with commas, found {demand!r}")
    amounts += [0.0] * (5 - len(amounts))
    found = select_template(five(amounts), ApplicationProfile(application, lead_s, hypervisor))
    if as_json:
        row = {
            "template": found.template.name,
            "version": found.template.version,
            "vms": found.vms,
            "allocation": list(found.allocation),
            "boot": found.boot.name.lower(),
            "ready_s": found.ready_s,
            "in_time": found.in_time,
            "usd_h": found.usd_h,
        }
        _say(json.dumps(row, indent=1))
        return
    cpu, memory, disk, network, gpus = found.allocation
    _say(
        f"{found.vms} x {found.template.name} {found.template.version}: {cpu:,.0f} MHz, {memory:,.0f} MiB, "
        f"{disk:,.0f} MiB/s, {network:,.0f} Mbit/s, {gpus:g} GPUs each; {found.boot.name.lower()} boot, ready in "
        f"{found.ready_s:g} s{'' if found.in_time else ', too late'}; {found.usd_h:.3f} USD/h"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
