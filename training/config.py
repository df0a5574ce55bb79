"""How HAM is trained: one frozen record per stage, read from and written to YAML.

Unknown keys, wrong types and values out of range are refused in one line that names file, line and key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, field_validator, model_validator

from foreshade.agents.baselines.registry import make_baseline
from foreshade.envs.catalogue.entry import Count, Entry, NotNegative, Positive, Share
from foreshade.envs.errors import InputError
from foreshade.envs.knobs import MOST_SEED
from foreshade.envs.yaml_document import Document, build, parse

Whole = Annotated[int, Field(ge=0)]


class NetworkConfig(Entry):
    """The networks of ``agents.ham.network``."""

    hidden: Count = 32  # wider layers were slower and no better on the little problems tried
    temperature: Positive = 0.125  # of the preference, a power of two: see ``network``
    attention: bool = False  # costs three to six times as much

    @field_validator("temperature")
    @classmethod
    def _power_of_two(cls, value: float) -> float:
        if value.hex().split("p")[0] != "0x1.0000000000000":
            raise ValueError(f"expected a power of two, found {value}")
        return value


class PpoConfig(Entry):
    """PPO; the defaults are for one CPU core, the batch for 64 environments x 256 decisions."""

    n_envs: Count = 64
    n_steps: Count = 256  # decisions of each environment per rollout
    batch_size: Count = 4096  # large minibatches are 11 times as fast as SB3's 64
    n_epochs: Count = 4
    learning_rate: Positive = 3e-4  # falls linearly to
    learning_rate_end: NotNegative = 3e-5
    clip_range: Positive = 0.1
    target_kl: Positive | None = 0.01
    entropy: NotNegative = 1e-3
    value_weight: Positive = 0.5
    max_grad_norm: Positive = 0.5  # of actor and critic each
    gae_lambda: Share = 0.95  # per tick
    reward_scale: Positive = 0.01  # 1 - discount of a tick: values are then means of a tick's reward
    kl_to_start: NotNegative = 0.1  # falls linearly to 0
    critic_warmup: Whole = 4  # rollouts
    float16: bool = True  # observations; 1.3 times as fast
    compile: Literal["auto", "never", "inductor", "graphs"] = "auto"

    @model_validator(mode="after")
    def _batches_are_equal(self) -> PpoConfig:
        if self.n_envs * self.n_steps % self.batch_size:
            raise ValueError(
                f"batch_size: expected a divisor of n_envs x n_steps = {self.n_envs * self.n_steps}, "
                f"found {self.batch_size}"
            )
        return self


class RolloutConfig(Entry):
    """The expert that plays candidates out (``training.rollouts``)."""

    candidates: Annotated[int, Field(ge=2)] = 12  # of a state, at most
    horizon_ticks: Count = 36  # three hours: what a migration or a boot costs is earned by then, or never
    tail_h: NotNegative = 2.0  # hours for which what is expected at the end counts
    futures: tuple[Positive, ...] = (0.997, 1.003)  # times the hidden demand
    discount: Annotated[float, Field(gt=0, le=1)] = 1.0  # of a tick


class ImitationConfig(Entry):
    """Learning what candidates save from an expert (``training.advantage``); ``rounds`` 0 = left out."""

    rounds: Whole = 0
    states: Count = 1000  # labelled in a round
    share: Annotated[float, Field(gt=0, le=1)] = 0.02  # of the decisions that are labelled
    stray: Share = 0.02  # of the steps that take a candidate at random
    least_gain: NotNegative = 1.0  # below it the learner does as the rules do while it plays
    #: Kinds of candidates that the learner may take where the rules do not; empty = all. The others count as costing
    #: ``unwanted``: a play-out that goes on by the rules values one choice, not a habit of choosing so.
    kinds: tuple[str, ...] = ()
    unwanted: Positive = 3.0  # idle ticks
    most_gain: Positive = 20.0  # idle ticks; what saves or costs more counts as that
    huber: Positive = 1.0  # idle ticks from which a deviation counts linearly
    n_epochs: Count = 60  # over everything labelled so far, after each round
    batch_size: Count = 128
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.1
    rollout: RolloutConfig = RolloutConfig()


class HabitsConfig(Entry):
    """Habits of the options beside the rules' own ways (``training.habits``); learn: false = left out."""

    learn: bool = False
    options: tuple[str, ...] = ()  # names of those that are tried; empty = all
    #: Columns of the context that savings are read from: what demand is like, whatever is done about it. Several
    #: sets, tried by cross-validation as the margins are; an empty one = the same everywhere.
    columns: tuple[tuple[str, ...], ...] = (
        (),
        ("new_peaks",),
        ("memory_of_flavour", "new_peaks"),
        ("new_peaks", "jitter"),
    )
    ridge: Positive = 1.0  # penalty on the weights of standardised columns, in workloads
    margins: tuple[NotNegative, ...] = (0.0, 1.0)  # per cent to be saved at least


def _baseline(label: str) -> str:
    try:
        make_baseline(label)
    except InputError as error:
        raise ValueError(str(error)) from error
    return label


class EvaluationConfig(Entry):
    """Paired evaluation of the frozen policy against the rules and baselines, on seeds that never train."""

    #: Opponents beside the rules, named as for ``foreshade evaluate``; the gate holds against each of them. The
    #: default is the best that places alone, on every scenario.
    baselines: tuple[Annotated[str, AfterValidator(_baseline)], ...] = ("expected-cost",)

    every_rollouts: Count = 60  # about a million decisions; a checkpoint is written at the same time
    episodes: Annotated[int, Field(ge=2)] = 32
    patience: Whole = 0  # evaluations without a better one before training ends; 0 = never
    gate_episodes: Annotated[int, Field(ge=2)] = (
        128  # on seeds of their own: the best was picked on the others
    )
    confidence_floor: Share = 0.01  # below it the rules decide: the two best are as good as tied
    #: Logits that a choice must have above the rules'; which is best is tried on the evaluation's episodes.
    least_gains: tuple[NotNegative, ...] = (0.0,)


class TrainConfig(Entry):
    """Everything that a run is made of."""

    scenario: str = "enterprise"
    timesteps: Whole = 10_000_000  # decisions of PPO; 0 = habits or what was imitated is all
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    #: Where options are tried and policies are judged. ``native``: in the native batch, which is fast and has no
    #: components. Else each workload of ``training.cases`` is played once, with components as ``foreshade evaluate``
    #: takes them (``default`` = those that are on), whatever ``evaluation`` says of episodes.
    components: str = "native"
    processes: Count = 1  # that play workloads with components at the same time
    network: NetworkConfig = NetworkConfig()
    ppo: PpoConfig = PpoConfig()
    imitation: ImitationConfig = ImitationConfig()
    habits: HabitsConfig = HabitsConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _one_start(self) -> TrainConfig:
        if self.habits.learn and self.imitation.rounds:
            raise ValueError("habits and imitation: expected one of them, as each makes the start of PPO")
        if not (self.timesteps or self.habits.learn or self.imitation.rounds):
            raise ValueError(
                "timesteps: expected above 0, or habits.learn or imitation.rounds, found 0 and nothing to learn"
            )
        return self

    def changed(self, **keys: Any) -> TrainConfig:
        """The same with other values, as options of a command give them, checked again; None leaves one as it is.

        Raises:
            InputError: a value that cannot be; it is named as an option.

        """
        said = self.model_dump() | {key: value for key, value in keys.items() if value is not None}
        return build(TrainConfig, Document("--", said, {}))

    def to_yaml(self) -> str:
        """Every key; ``read_config`` reads it back."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


def read_config(path: str | Path) -> TrainConfig:
    """Read a YAML file; a key that it lacks has its default.

    Raises:
        InputError: cannot be read, an unknown key, a wrong type, a value out of range.

    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a training configuration ({error})") from error
    return build(TrainConfig, parse(text, str(path)))
