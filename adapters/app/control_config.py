"""The configuration of ``foreshade control``: one YAML file, strict, with the environment laid over it.

``FORESHADE_CONTROL__GUARD__ACTIONS_PER_TICK=5`` replaces ``guard.actions_per_tick``; values are read as YAML. An
error names the file with line and key, or the variable. Secrets stand in files of their own, named by keys that end
in ``_file``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from foreshade.adapters.app.api_config import ApiSection
from foreshade.adapters.executor import ExecutorKnobs
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.adapters.tracing import TracingSection
from foreshade.agents.breaker import BreakerKnobs
from foreshade.agents.guard import GuardKnobs
from foreshade.agents.plan import Mode
from foreshade.envs.errors import InputError, ScenarioError
from foreshade.envs.knobs import Knobs
from foreshade.envs.yaml_document import Document, build, parse

PREFIX = "FORESHADE_CONTROL__"
NO_WORLD = "configuration: expected a section simulated or libvirt, found neither"


class SimulatedSection(Knobs):
    """A simulated cluster instead of a real one."""

    scenario: str = Field(default="enterprise", description="A shipped scenario's name, or a YAML file.")
    variant: str = Field(default="", description="A variant of the scenario.")
    workload: str | None = Field(
        default="generated:enterprise?days=14", description="KIND:PATH?key=value; null = the scenario's own."
    )
    seed: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Of failures and of a generated workload."
    )
    acceleration: Annotated[float, Field(gt=0)] = Field(
        default=60.0,
        description="Simulated seconds in a second: at 60 a tick of five minutes takes five seconds.",
    )
    forecast: Literal["none", "online"] = Field(
        default="online", description="Whether the native engine forecasts demand from what is observed."
    )


class StoreSection(Knobs):
    """Where journal, history and what people said are kept."""

    url: str | None = Field(
        default=None, description="A path (SQLite) or a database URL; null = control.db in the state folder."
    )
    url_file: Path | None = Field(
        default=None, description="File that holds the URL, where it has a password."
    )

    @model_validator(mode="after")
    def _one(self) -> StoreSection:
        if self.url is not None and self.url_file is not None:
            raise ValueError("expected one of url, url_file, found both")
        return self


class LeaseSection(Knobs):
    """Who may act, where more than one controller is started."""

    length_s: Annotated[float, Field(ge=1)] = Field(
        default=30.0,
        description="How long a holder that falls silent is waited for; renewed at a third of it.",
    )
    standby: bool = Field(
        default=False, description="Wait for the lease instead of refusing where another controller holds it."
    )


class AgentSection(Knobs):
    """Who decides."""

    name: Literal["ham", "rules"] = Field(
        default="ham", description="ham decides and is compared with the rules; or the rules."
    )
    policy: Path | None = Field(
        default=None, description="Folder of a frozen policy; null = the one that ships."
    )
    rules: Path | None = Field(default=None, description="YAML of the rules; null = those that ship.")
    components: str | None = Field(
        default=None, description="Names, all, none or a YAML file; null = those that are enabled."
    )
    anomalies: bool = Field(
        default=True,
        description="Detect strange VMs and hosts; a surge widens the forecasts that decisions are made on.",
    )
    explain: bool = Field(
        default=True, description="Keep every candidate of every decision, for `foreshade explain --plan`."
    )


class HistorySection(Knobs):
    """Series of what was measured, kept for people and for forecasts."""

    raw_days: Annotated[float, Field(gt=0)] = Field(default=7.0, description="How long every sample is kept.")
    hourly_days: Annotated[float, Field(gt=0)] = Field(
        default=90.0, description="How long means and peaks by the hour are kept."
    )


class ForecastSection(Knobs):
    """What forecasts demand on real hosts, beside the native engine that learns in every tick."""

    models: tuple[Literal["arima", "ets", "mstl", "prophet", "boosted", "lstm"], ...] = Field(
        default=(),
        description="Refitted by a process of its own, mixed with the engine's by what they were worth; arima, ets, "
        "mstl, prophet need the extra classical, boosted forecast, lstm train.",
    )
    resources: tuple[Literal["cpu", "memory", "disk", "network"], ...] = Field(
        default=("cpu", "memory"), description="That they forecast."
    )
    budget_cpu_s: Annotated[float, Field(gt=0)] = Field(
        default=20.0,
        description="CPU seconds of one turn of a classical model: leaves a core to everything else.",
    )
    retrain_h: Annotated[float, Field(gt=0)] = Field(
        default=24.0, description="How often a learned model is trained anew, on the last eight days."
    )
    limit_s: Annotated[float, Field(gt=0)] = Field(
        default=1800.0, description="Longest turn; then the process is ended and another begun."
    )


class LogSection(Knobs):
    """What the controller says."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is written."
    )
    format: Literal["auto", "json", "text"] = Field(
        default="auto", description="JSON lines, or text for people; auto = text on a terminal."
    )


class ControlConfig(Knobs):
    """Everything that ``foreshade control`` can be told."""

    cluster: Annotated[str, Field(min_length=1, max_length=128)] = Field(
        default="cluster",
        description="Name of what is controlled: of its lease, in metrics, and of its folder; no slash.",
    )
    state_dir: Path | None = Field(
        default=None,
        description="Folder for the store and the simulated world; null = systemd's STATE_DIRECTORY, or a "
        "folder of the user's own.",
    )
    mode: Mode = Field(
        default=Mode.OBSERVE,
        description="observe: plans are written down; advise: they wait for approval; auto: they are carried out.",
    )
    tick_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Control interval; null = the world's own (300)."
    )
    simulated: SimulatedSection | None = Field(default=None, description="Control a simulated cluster.")
    libvirt: LibvirtSettings | None = Field(default=None, description="Control real libvirt hosts.")
    store: StoreSection = StoreSection()
    lease: LeaseSection = LeaseSection()
    agent: AgentSection = AgentSection()
    guard: GuardKnobs = GuardKnobs()
    breaker: BreakerKnobs = BreakerKnobs()
    executor: ExecutorKnobs = ExecutorKnobs()
    forecast: ForecastSection = ForecastSection()
    history: HistorySection = HistorySection()
    api: ApiSection = ApiSection()
    tracing: TracingSection | None = Field(
        default=None, description="OpenTelemetry traces of ticks; null = none."
    )
    log: LogSection = LogSection()

    @field_validator("cluster")
    @classmethod
    def _a_name(cls, cluster: str) -> str:
        if not cluster.isprintable() or "/" in cluster or cluster in (".", ".."):
            raise ValueError(f"expected a name that a folder can have, found {cluster!r}")
        return cluster

    @model_validator(mode="after")
    def _one_world(self) -> ControlConfig:
        if self.simulated is not None and self.libvirt is not None:
            raise ValueError("expected one of simulated, libvirt, found both")
        return self

    @property
    def folder(self) -> Path:
        """Where the state is."""
        if self.state_dir is not None:
            return self.state_dir
        if said := os.environ.get("STATE_DIRECTORY"):
            return Path(said.split(":", 1)[0])
        home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(home) / "foreshade" / self.cluster

    @property
    def store_url(self) -> str:
        """Where the store is.

        Raises:
            InputError: the file with its URL cannot be read.

        """
        if self.store.url_file is not None:
            return read_secret(self.store.url_file, "store.url_file")
        return self.store.url or str(self.folder / "control.db")


def read_secret(path: Path, key: str) -> str:
    """A secret of one line; the message never holds it."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise InputError(f"{key} {path}: expected a file with the secret, {reason}") from error
    if not text or "\n" in text:
        raise InputError(f"{key} {path}: expected one line, found {len(text.splitlines())}")
    return text


def load_config(path: Path | None, environment: Mapping[str, str] | None = None) -> ControlConfig:
    """The file with the environment laid over it; without a file, a simulated cluster in mode auto.

    Raises:
        InputError: the file cannot be read, or a key or value is not what it should be.

    """
    if path is None:
        document = Document("defaults", {"mode": "auto", "simulated": {}}, {(): 1})
    else:
        try:
            document = parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: expected a readable configuration, found {error}") from error
        if not isinstance(document.value, Mapping):
            found = "a list" if isinstance(document.value, tuple) else repr(document.value)[:60]
            raise InputError(f"{path}:1: expected keys and values, found {found}")
    config = build(ControlConfig, document)
    value: Any = document.value
    for name, text in sorted((os.environ if environment is None else environment).items()):
        if name.startswith(PREFIX):
            keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
            value = _laid_over(value, keys, name, text)
            lines: dict[tuple[str | int, ...], int] = {keys[:depth]: 1 for depth in range(len(keys) + 1)}
            try:
                config = build(ControlConfig, Document(name, value, lines))
            except ScenarioError as error:
                raise InputError(str(error).replace(f"{name}:1: ", f"{name}: ", 1)) from error
    return config


def _laid_over(value: Mapping[str, Any], keys: Sequence[str], name: str, text: str) -> dict[str, Any]:
    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{name}: expected YAML, found {text!r}") from error
    root = dict(value)
    at = root
    for key in keys[:-1]:
        below = at.get(key)
        at[key] = dict(below) if isinstance(below, Mapping) else {}
        at = at[key]
    at[keys[-1]] = said
    return root
