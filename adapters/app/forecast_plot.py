"""Pictures of forecasts: fans over what came, and whether intervals hold what they promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from foreshade.envs.errors import InputError
from foreshade.envs.extras import require
from foreshade.envs.forecast.score import F32, LEVEL, Case, Model, transform

_INK, _RULE, _GRID, _PAPER = "#14191f", "#98a4b0", "#e6eaee", "#ffffff"
_TRUTH = "#14191f"
_MEDIAN = "#0a5ea8"
#: Lower and upper quantile of a band, what it promises, and its colour: darker where it is likelier.
_BANDS = ((0, 6, "95 %", "#d3e4f5"), (1, 5, "80 %", "#a9cbec"), (2, 4, "50 %", "#74aadf"))
_HUES = ("#0067c0", "#c2410c", "#0b7a5a", "#8b3fb8", "#8a6500", "#b3006b", "#007085", "#7a3b12")
_IMAGES = (".svg", ".png")
PARTS = ("both", "fans", "reliability")


@dataclass(frozen=True, slots=True)
class Rolling:
    """Forecasts of one horizon at consecutive origins."""

    case: Case
    horizon: int
    origins: tuple[int, ...]
    forecasts: Mapping[str, F32]  # by model: (n_series, n_origins, 7)

    @property
    def truth(self) -> F32:
        """(n_series, n_origins) what came, NaN = missing."""
        return self.case.values[:, np.array(self.origins) + self.horizon]


def roll(case: Case, models: Mapping[str, Model], horizon: int, hours: float) -> Rolling:
    """Forecast the last hours of a case, an origin at every step.

    Raises:
        InputError: a horizon or length that the case does not have.

    """
    n_steps = case.values.shape[1]
    n = round(hours * 3600 / case.step_s)
    if horizon < 1 or n < 2 or n + horizon + 1 > n_steps:
        raise InputError(
            f"forecast plot: expected a horizon of 1 or more and at least two steps that fit into {n_steps}, "
            f"got {horizon} and {hours:g} hours"
        )
    origins = tuple(range(n_steps - n - horizon, n_steps - horizon))
    said = {name: model(case.values, origins, (horizon,))[:, :, 0] for name, model in models.items()}
    return Rolling(case, horizon, origins, said)


def check_target(path: Path) -> None:
    """Raise InputError unless such a file can be written; ask before the work.

    Raises:
        InputError: neither HTML nor a picture, or no such folder.
        MissingExtraError: a picture, and what draws it is not installed.

    """
    if path.suffix not in {".html", *_IMAGES}:
        raise InputError(f"forecast plot: expected a file .html, .svg or .png, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"forecast plot: expected an existing folder, got {path.parent}")
    if path.suffix in _IMAGES:
        require("kaleido", "plot", "drawing SVG and PNG (HTML needs nothing)")


def write_plot(rolling: Rolling, series: Sequence[int], path: Path, part: str = "both") -> Path:
    """Draw fans of the first model for some series, and the reliability of all models.

    Args:
        rolling: forecasts.
        series: rows of the case.
        path: ``.html``, which needs nothing else, or ``.svg``, ``.png``.
        part: one of ``PARTS``.

    Raises:
        InputError: a series or part that does not exist, or a file that cannot be written.
        MissingExtraError: a picture, and what draws it is not installed.

    """
    check_target(path)
    n_series = len(rolling.case.values)
    if not series or any(not 0 <= row < n_series for row in series):
        raise InputError(f"forecast plot: expected series from 0 to {n_series - 1}, got {list(series)}")
    if part not in PARTS:
        raise InputError(f"forecast plot: expected {', '.join(PARTS)}, got {part!r}")
    rows = list(series) if part != "reliability" else []
    figure = _sheet(rolling, rows, with_reliability=part != "fans")
    try:
        if path.suffix == ".html":
            figure.write_html(path, include_plotlyjs=True, config={"displayModeBar": False})
        else:
            figure.write_image(path)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"forecast plot: cannot write {path}: {error}") from error
    return path


def _sheet(rolling: Rolling, series: Sequence[int], *, with_reliability: bool) -> Any:
    first = next(iter(rolling.forecasts))
    minutes = rolling.horizon * rolling.case.step_s / 60
    titles = [f"series {row}: {rolling.case.resource}, {minutes:g} min ahead, {first}" for row in series]
    titles += ["reliability: share of outcomes at or below each quantile"] * with_reliability
    n = len(titles)
    figure = make_subplots(rows=n, cols=1, subplot_titles=titles, vertical_spacing=0.32 / (n + 1))
    hours = np.arange(len(rolling.origins)) * rolling.case.step_s / 3600
    for place, row in enumerate(series, start=1):
        for trace in _fan(hours, rolling.forecasts[first][row], rolling.truth[row], legend=place == 1):
            figure.add_trace(trace, row=place, col=1)
        unit = "%" if rolling.case.resource in {"cpu", "gpu"} else "unit of the trace"
        figure.update_xaxes(title_text="hours", row=place, col=1)
        figure.update_yaxes(title_text=unit, rangemode="tozero", row=place, col=1)
    if with_reliability:
        for trace in _reliability(rolling):
            figure.add_trace(trace, row=n, col=1)
        figure.update_xaxes(title_text="promised", range=[0, 1], row=n, col=1)
        figure.update_yaxes(title_text="came", range=[0, 1], row=n, col=1)
    figure.update_layout(
        width=760, height=70 + 250 * len(series) + 340 * with_reliability,
        paper_bgcolor=_PAPER, plot_bgcolor=_PAPER, font={"color": _INK, "size": 12, "family": "sans-serif"},
        margin={"l": 56, "r": 16, "t": 64, "b": 48},
        legend={"orientation": "h", "yref": "container", "y": 0.995, "yanchor": "top", "x": 0},
    )  # fmt: skip
    figure.update_annotations(font_size=13, xanchor="left", x=0)
    figure.update_xaxes(gridcolor=_GRID, zeroline=False)
    figure.update_yaxes(gridcolor=_GRID, zeroline=False)
    return figure


def _fan(hours: np.ndarray[Any, Any], quantiles: F32, truth: F32, *, legend: bool) -> list[Any]:
    """Bands from the widest to the narrowest, the median, and what came."""
    traces = []
    for low, high, name, colour in _BANDS:
        outline = np.concatenate([quantiles[:, high], quantiles[::-1, low]])
        traces.append(
            go.Scatter(
                x=_short(np.concatenate([hours, hours[::-1]])), y=_short(outline), fill="toself",
                mode="lines",
                fillcolor=colour, line={"width": 0}, name=name, legendgroup=name, showlegend=legend,
                hoverinfo="skip",
            )
        )  # fmt: skip
    lines = (("median", quantiles[:, 3], _MEDIAN, 1.5), ("came", truth, _TRUTH, 1.2))
    traces += [
        go.Scatter(
            x=_short(hours), y=_short(values), mode="lines", name=name, legendgroup=name, showlegend=legend,
            line={"color": colour, "width": width},
        )
        for name, values, colour, width in lines
    ]  # fmt: skip
    return traces


def _reliability(rolling: Rolling) -> list[Any]:
    seen = np.isfinite(rolling.truth)
    promised = [0, 1]
    traces = [
        go.Scatter(
            x=promised, y=promised, mode="lines", name="as promised", line={"color": _RULE, "width": 2}
        )
    ]
    for place, (name, quantiles) in enumerate(rolling.forecasts.items()):
        rank = transform(quantiles[seen], rolling.truth[seen], np.random.default_rng(0))
        came = [float((rank <= level).mean()) for level in LEVEL]
        traces.append(
            go.Scatter(
                x=LEVEL.tolist(), y=_short(np.array(came)), mode="lines+markers", name=name,
                line={"color": _HUES[place % len(_HUES)], "width": 1.5},
            )
        )  # fmt: skip
    return traces


def _short(values: np.ndarray[Any, Any]) -> list[float | None]:
    """Four significant digits: more than a picture can show; None for a gap."""
    return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values.tolist()]
