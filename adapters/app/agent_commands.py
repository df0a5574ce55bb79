"""``foreshade agent list``."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

agent_app = typer.Typer(help="List the agents that can be played.", no_args_is_help=True)


@agent_app.callback()
def _agent() -> None:
    """Keep ``list`` a command of its own while it is the only one."""


@agent_app.command("list")
def agent_list(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")
    ] = False,
) -> None:
    """Every agent, and what it goes by; a number at the end is a parameter."""
    from foreshade.agents.baselines.registry import agent_names, idea_of  # noqa: PLC0415  keeps --help fast

    if as_json:
        rows = [{"name": name, "idea": idea_of(name)} for name in agent_names()]
        sys.stdout.write(json.dumps({"agents": rows}, indent=1) + "\n")
        return
    for name in agent_names():
        sys.stdout.write(f"{name:14} {idea_of(name)}\n")
