"""Training the quantile LSTM in torch, on a CPU or a GPU; what comes out are NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foreshade.envs.extras import require
from foreshade.envs.forecast.learned.global_model import check_horizons
from foreshade.envs.forecast.learned.lag_features import LONGEST_CONTEXT
from foreshade.envs.forecast.learned.lstm_net import N_CHANNELS, n_summary, shown
from foreshade.envs.forecast.learned.quantile_model import DEFAULT_HORIZONS, F32, I64, QUANTILES
from foreshade.envs.forecast.learned.training_rows import draw_origins

_MODEL = "quantile LSTM"


@dataclass(frozen=True, slots=True)
class LstmConfig:
    """Size of the network and of its training."""

    horizons: tuple[int, ...] = DEFAULT_HORIZONS
    n_steps: int = 48  # samples that the LSTM reads; the day before comes in as a summary
    n_hidden: int = 32
    n_head: int = 64
    n_rows: int = 40_000  # origins
    shortest: int = 48  # ticks that must lie before an origin
    n_epochs: int = 6
    batch: int = 512
    learning_rate: float = 3e-3  # falls along a cosine to 0
    device: str = "cpu"  # or "cuda"
    n_threads: int = 1  # two threads on shared cores are slower than one
    seed: int = 0

    def __post_init__(self) -> None:
        check_horizons(self.horizons, _MODEL)


def train_lstm(
    history: F32, config: LstmConfig, start_tick: int | I64, regressors: F32 | None
) -> dict[str, F32]:
    """Minimise the pinball loss in the resource's unit; returns the arrays that ``lstm_net.WEIGHTS`` names.

    Raises:
        InputError: too little history for the longest horizon.
        MissingExtraError: torch is not installed.

    """
    torch = require("torch", "train", f"training the {_MODEL}")
    rows = _rows(history, config, start_tick, regressors)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.n_threads)
    state = torch.random.get_rng_state()
    try:
        return _descend(torch, rows, config, 0 if regressors is None else regressors.shape[1])
    finally:
        torch.set_num_threads(threads)
        torch.random.set_rng_state(state)


def _rows(history: F32, config: LstmConfig, start_tick: int | I64, regressors: F32 | None) -> tuple[F32, ...]:
    """Steps, summary, anchor, targets in units of scale (NaN = not measured), and the weight of each row."""
    longest = max(config.horizons)
    origins = draw_origins(history, longest, config.n_rows, config.shortest, config.seed, _MODEL)
    n = origins.series.size
    n_regressors = 0 if regressors is None else regressors.shape[1]
    steps = np.empty((n, config.n_steps, N_CHANNELS), np.float32)
    summary = np.empty((n, n_summary(len(config.horizons), n_regressors)), np.float32)
    anchor, scale, centre = (np.empty(n, np.float32) for _ in range(3))
    target = np.empty((n, len(config.horizons)), np.float32)
    start = np.broadcast_to(np.asarray(start_tick), (len(history),))
    for column, at in origins.by_column():
        series = origins.series[at]
        first = max(0, column + 1 - LONGEST_CONTEXT)
        ahead = None if regressors is None else regressors[first:]
        steps[at], summary[at], anchor[at], scale[at], centre[at] = shown(
            history[series, first : column + 1], config.n_steps, config.horizons, start[series] + first, ahead
        )
        for place, horizon in enumerate(config.horizons):
            target[at, place] = history[series, column + horizon]
    return steps, summary, anchor, (target - centre[:, None]) / scale[:, None], scale / scale.mean()


def _descend(torch: Any, rows: tuple[F32, ...], config: LstmConfig, n_regressors: int) -> dict[str, F32]:
    torch.manual_seed(config.seed)
    device = torch.device(config.device)
    steps, summary, anchor, target, weight = (torch.from_numpy(a).to(device) for a in rows)
    n_horizons = len(config.horizons)
    lstm = torch.nn.LSTM(N_CHANNELS, config.n_hidden, batch_first=True).to(device)
    wide = config.n_hidden + n_summary(n_horizons, n_regressors)
    hidden = torch.nn.Linear(wide, config.n_head).to(device)
    out = torch.nn.Linear(config.n_head, n_horizons * len(QUANTILES)).to(device)
    share = torch.zeros(n_horizons, device=device, requires_grad=True)
    parameters = [*lstm.parameters(), *hidden.parameters(), *out.parameters(), share]
    level = torch.tensor(QUANTILES, device=device)
    n_batches = max(1, -(-len(steps) // config.batch))
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.n_epochs * n_batches)
    generator = torch.Generator().manual_seed(config.seed)
    middle = len(QUANTILES) // 2
    for _ in range(config.n_epochs):
        for at in torch.randperm(len(steps), generator=generator).to(device).chunk(n_batches):
            _, (state, _) = lstm(steps[at])
            head = torch.relu(hidden(torch.cat([state[0], summary[at]], dim=1)))
            raw = out(head).reshape(len(at), n_horizons, len(QUANTILES))
            walked = anchor[at][:, None, None] * torch.sigmoid(share)[:, None]
            centre = raw[:, :, middle : middle + 1] + walked
            above = torch.cumsum(torch.nn.functional.softplus(raw[:, :, middle + 1 :]), 2)
            away = torch.nn.functional.softplus(raw[:, :, :middle]).flip(2)
            below = torch.cumsum(away, 2).flip(2)
            quantiles = torch.cat([centre - below, centre, centre + above], dim=2)
            error = target[at][:, :, None] - quantiles
            loss = torch.maximum(level * error, (level - 1) * error)
            known = torch.isfinite(loss)
            loss = torch.where(known, loss, torch.zeros_like(loss)) * weight[at][:, None, None]
            optimiser.zero_grad()
            (loss.sum() / known.sum().clamp(min=1)).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
    return {
        "input": _array(lstm.weight_ih_l0.T),
        "recurrent": _array(lstm.weight_hh_l0.T),
        "bias": _array(lstm.bias_ih_l0 + lstm.bias_hh_l0),
        "hidden": _array(hidden.weight.T),
        "hidden_bias": _array(hidden.bias),
        "out": _array(out.weight.T),
        "out_bias": _array(out.bias),
        "share": _array(share),
    }


def _array(tensor: Any) -> F32:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
