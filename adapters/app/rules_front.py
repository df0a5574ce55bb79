"""The front of a search for rules, as one HTML file that needs no network."""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from foreshade.envs.errors import InputError
from foreshade.training.rules.ground import MEASURES
from foreshade.training.rules.search import Front, Point, file_of, untuned_params

#: Pairs of axes that are drawn, where their measures differ.
_PLOTS = (("ratio", "unmet"), ("ratio", "migrations"), ("energy", "unmet"))
_NAMES = {
    "ratio": "Cost over the untuned rules'",
    "unmet": "Unmet demand, %",
    "migrations": "Migrations a run",
    "energy": "Energy a run, kWh",
}


def write_front(front: Front, folder: Path) -> Path:
    """Write ``folder/index.html`` and return its path.

    Raises:
        InputError: it cannot be written.

    """
    environment = Environment(
        loader=FunctionLoader(_template), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    text = environment.get_template("front.html.j2").render(
        front=front,
        measures=[(name, unit) for name, unit in MEASURES.items()],
        points=[_row(i, point) for i, point in enumerate(front.points)],
        plots=[f"{_NAMES[y]} against {_NAMES[x].lower()}" for x, y in _PLOTS],
        data=_data(front),
        style=Markup(_template("report.css")),  # noqa: S704  ours
        plotly=Markup(get_plotlyjs()),  # noqa: S704
    )
    path = folder / "index.html"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: expected a file that can be written, {error.strerror}") from error
    return path


def _template(name: str) -> str:
    return files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


def _row(i: int, point: Point) -> dict[str, Any]:
    base = untuned_params(point.knobs)
    return {
        "file": file_of(i),
        "trial": point.number,
        "trained": f"{point.trained['ratio']:.3f}",
        "judged": [
            {
                "text": f"{e.mean:+.3g}".replace("-", "−"),
                "spread": f"± {e.half_width:.2g}" if math.isfinite(e.half_width) else "",
                "verdict": "" if not e.resolved else "better" if e.mean < 0 else "worse",
            }
            for e in (point.judged[name] for name in MEASURES)
        ],
        "params": ", ".join(f"{name} {_short(value)}" for name, value in base.items()),
    }


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _data(front: Front) -> list[dict[str, Any]]:
    return [
        {
            "x": _NAMES[x],
            "y": _NAMES[y],
            "trials": [[one[x], one[y]] for one in front.trials],
            "front": [
                [point.trained[x], point.trained[y], file_of(i)] for i, point in enumerate(front.points)
            ],
            "untuned": [front.untuned[x], front.untuned[y]],
        }
        for x, y in _PLOTS
    ]
