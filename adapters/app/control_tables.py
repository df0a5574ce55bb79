"""What the verbs of a controller print: tables, lines and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from foreshade.agents.decisions import hesitation

if TYPE_CHECKING:
    from rich.text import Text

    from foreshade.adapters.control_models import Plan

_FILE_WIDTH = 140


class _Verbatim(Console):
    """Names and reasons come from guests and from other people: none of them is markup, or speaks to the terminal."""

    def render_str(self, text: str, **said: Any) -> Text:
        """The text with control characters spelled out."""
        return super().render_str(spelled(text, but="\n"), **said)


def print_out(what: Any) -> None:
    """A table, or a line as it is; wide where nobody's terminal sets the width."""
    console = _Verbatim(highlight=False, markup=False, emoji=False, soft_wrap=isinstance(what, str))
    if not console.is_terminal:
        console.width = max(console.width, _FILE_WIDTH)
    console.print(what)


def spelled(text: str, but: str = "") -> str:
    """The text with control characters spelled out, ``but`` these: ESC becomes a backslash and ``x1b``."""
    return "".join(c if c.isprintable() or c in but else ascii(c)[1:-1] for c in text)


def print_json(value: Any) -> None:
    """To standard output, indented."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def table_of(*columns: str, right: int | None = None) -> Table:
    """An empty table; columns from ``right`` on hold numbers. On a narrow terminal cells wrap: none is cut."""
    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for number, column in enumerate(columns):
        last = number == len(columns) - 1
        numeric = right is not None and number >= right and not (last and column in {"why", "reason"})
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    return table


def counts(number_of: Mapping[str, int]) -> str:
    """``3 on, 1 off``."""
    return ", ".join(f"{count} {name}" for name, count in number_of.items())


def print_plan(said: Plan) -> None:
    """A plan and each of its actions."""
    approved = f", approved by {said.approved_by}" if said.approved_by else ""
    print_out(
        f"plan {said.id}  tick {said.tick}  {said.state}{approved}  by {said.by}  {said.reason}".rstrip()
    )
    table = table_of("#", "action", "what", "from", "to", "state", "reason")
    for number, action in enumerate(said.actions):
        where = action.host or action.rack or action.application
        value = f" {action.value:g}" if action.kind in {"shift", "power", "rent"} else ""
        reason = action.reason + (f" · {action.outcome}" if action.outcome else "")
        table.add_row(
            str(number),
            action.kind + value,
            action.vm or where,
            action.source,
            action.host,
            action.state,
            reason,
        )
    print_out(table)


def decision_table(number: int, decision: Any, top: int) -> Table:
    """What could be done, the chosen first, and why the others lost."""
    ranked = sorted(
        decision["candidates"],
        key=lambda one: (one["index"] != decision["chosen"], not one["possible"], -one["preference"]),
    )
    chosen = ranked[0]
    why = hesitation(decision["doubt"], decision["out_of_range"], decision["confidence"])
    table = table_of("candidate", "score USD", "preference", "HAM", "why", right=1)
    table.title = f"Decision {number}: {chosen['what']}, taken by {decision['by']}" + (
        f", {why}" if why else ""
    )
    table.title_justify = "left"
    for one in ranked[:top] if top else ranked:
        odds = "" if one["probability"] is None else f"{one['probability']:.1%}"
        table.add_row(one["what"], f"{one['score']:.5f}", f"{one['preference']:.3f}", odds, one["verdict"])
    return table
