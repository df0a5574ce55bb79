"""Types of the native core."""

import enum
from collections.abc import Sequence
from typing import ClassVar, TypeAlias, TypedDict

import numpy as np
import numpy.typing as npt

F32: TypeAlias = npt.NDArray[np.float32]
F64: TypeAlias = npt.NDArray[np.float64]
Shown: TypeAlias = F32 | npt.NDArray[np.float16]
I32: TypeAlias = npt.NDArray[np.int32]
I64: TypeAlias = npt.NDArray[np.int64]
U8: TypeAlias = npt.NDArray[np.uint8]
U32: TypeAlias = npt.NDArray[np.uint32]

class HostColumns:
    @property
    def capacity(self) -> F32: ...
    @property
    def allocated(self) -> F32: ...
    @property
    def usage(self) -> F32: ...
    @property
    def overcommit(self) -> F32: ...
    @property
    def contention(self) -> F32: ...
    @property
    def power_w(self) -> F32: ...
    @property
    def idle_w(self) -> F32: ...
    @property
    def peak_w(self) -> F32: ...
    @property
    def boot_s(self) -> F32: ...
    @property
    def price_usd_h(self) -> F32: ...
    @property
    def hazard_per_h(self) -> F32: ...
    @property
    def hazard_confidence(self) -> F32: ...
    @property
    def inlet_c(self) -> F32: ...
    @property
    def since_s(self) -> F32: ...
    @property
    def age_s(self) -> F32: ...
    @property
    def n_vms(self) -> I32: ...
    @property
    def arriving(self) -> I32: ...
    @property
    def rack(self) -> I32: ...
    @property
    def zone(self) -> I32: ...
    @property
    def model(self) -> I32: ...
    @property
    def profile(self) -> I32: ...
    @property
    def state(self) -> U8: ...
    @property
    def anomaly(self) -> U8: ...

class VmColumns:
    @property
    def flavour(self) -> F32: ...
    @property
    def allocation(self) -> F32: ...
    @property
    def usage(self) -> F32: ...
    @property
    def demand(self) -> F32: ...
    @property
    def contention(self) -> F32: ...
    @property
    def weight(self) -> F32: ...
    @property
    def credit(self) -> F32: ...
    @property
    def since_move_s(self) -> F32: ...
    @property
    def age_s(self) -> F32: ...
    @property
    def anomaly_p(self) -> F32: ...
    @property
    def widen(self) -> F32: ...
    @property
    def birth(self) -> U32: ...
    @property
    def app(self) -> I32: ...
    @property
    def host(self) -> I32: ...
    @property
    def destination(self) -> I32: ...
    @property
    def primary(self) -> I32: ...
    @property
    def state(self) -> U8: ...
    @property
    def kind(self) -> U8: ...
    @property
    def anomaly(self) -> U8: ...

class ForecastColumns:
    @property
    def moments(self) -> F32: ...
    @property
    def quantiles(self) -> F32: ...
    @property
    def levels(self) -> F32: ...
    @property
    def horizons(self) -> I32: ...
    @property
    def series(self) -> I32: ...
    @property
    def share(self) -> F32: ...
    @property
    def memory_share(self) -> F32: ...

class ClusterState:
    def __init__(self) -> None: ...
    @property
    def time_s(self) -> float: ...
    @property
    def tick(self) -> int: ...
    @property
    def hosts(self) -> HostColumns: ...
    @property
    def vms(self) -> VmColumns: ...
    def show_anomalies(self, vm: U8, vm_p: F32, vm_widen: F32, host: U8) -> None: ...
    def show_hazards(self, per_h: F32, confidence: F32) -> None: ...
    def fill(
        self,
        time_s: float,
        tick: int,
        n_hosts: int,
        n_vms: int,
        hosts: dict[str, npt.NDArray[np.generic]],
        vms: dict[str, npt.NDArray[np.generic]],
    ) -> None: ...
    def show_forecasts(
        self,
        moments: F32,
        quantiles: F32,
        horizons: I32,
        levels: F32,
        series: I32,
        share: F32,
        memory_share: F32,
    ) -> None: ...
    @property
    def forecasts(self) -> ForecastColumns: ...
    def copy(self) -> ClusterState: ...

class ServerModel:
    name: str
    capacity: list[float]
    cores: int
    power_w: list[float]
    off_w: float
    sleep_w: float
    boot_w: float
    boot_s: float
    shutdown_s: float
    sleep_enter_s: float
    wake_s: float
    gpu_idle_w: float
    gpu_peak_w: float

class HypervisorProfile:
    name: str
    efficiency: list[float]
    vm_cpu_mhz: float
    vm_memory_mib: float
    boot_s: list[float]
    shutdown_s: float
    cpu_up: bool
    cpu_down: bool
    memory_up: bool
    memory_down: bool
    disk: bool
    network: bool
    swap_factor: float
    oom_overflow: float
    migration_mbit_s: float
    migration_setup_s: float
    downtime_limit_s: float
    resume_s: float
    max_rounds: int
    max_concurrent: int
    migration_cpu_mhz_per_mbit: float
    migration_slowdown: float
    dirty_share_per_s: float
    working_set: float

class Rack:
    zone: int
    overhead_w: float
    uplink_mbit_s: float
    heat_c_per_kw: float

class Host:
    model: int
    profile: int
    rack: int
    overcommit: list[float]
    rented: bool
    price_usd_h: float
    provision_s: float
    committed: bool
    reclaims_per_h: float
    notice_s: float

class Prices:
    electricity_usd_kwh: list[float]
    carbon_g_kwh: list[float]
    carbon_usd_per_t: float
    pue: float
    unmet_usd_h: list[float]
    late_usd_ghz_h: float
    downtime_usd_h: float
    migration_usd: float
    boot_usd: float

class Failures:
    mtbf_h: float
    repair_h: float
    recall: float
    false_alarms_per_host_day: float
    lead_h: float

class MaintenanceWindow:
    host: int
    start_s: float
    end_s: float

class Scheduler:
    first_fit: Scheduler
    best_fit: Scheduler
    worst_fit: Scheduler

#: sense, reach, applications, VMs, hosts (of `within`), USD/h (0 = hard)
AffinityTuple: TypeAlias = tuple[int, int, list[int], list[int], list[int], float]

class Affinity:
    def __init__(
        self, rules: list[AffinityTuple], rack: list[int], zone: list[int], app: list[int], n_apps: int
    ) -> None: ...
    def __len__(self) -> int: ...
    def company_of(self, vm: int) -> list[int]: ...

class AffinityBook:
    def __init__(self, rules: Affinity) -> None: ...
    def read(self, state: ClusterState) -> None: ...
    def allows(self, vm: int, host: int) -> bool: ...
    def allows_company(self, vms: list[int], host: int) -> bool: ...
    def allows_new(self, app: int, kind: int, host: int) -> bool: ...
    def usd_h(self, vm: int, host: int) -> float: ...
    def companions(self, vm: int) -> list[int]: ...
    def move(self, vm: int, host: int, destination: int = -1) -> None: ...
    def broken(self) -> list[int]: ...

class DataCentre:
    tick_s: float
    models: list[ServerModel]
    profiles: list[HypervisorProfile]
    racks: list[Rack]
    hosts: list[Host]
    prices: Prices
    failures: Failures
    maintenance: list[MaintenanceWindow]
    scheduler: Scheduler
    slo_stretch: float
    knee: float
    guest_cpu: float
    supply_c: float
    spare_slots: int
    affinity: Affinity | None

class Plant:
    def __init__(
        self,
        spec: DataCentre,
        demand: F32,
        gpu: F32,
        gpu_series: I32,
        app_series: I32,
        app_members: I32,
        app_memory_floor: F32,
        app_offloadable: F32,
        vm_app: I32,
        vm_flavour: F32,
        vm_arrival: I32,
        vm_departure: I32,
        vm_credit: F32,
        allowed: list[int],
        forecast: ForecastTable | EngineConfig | None = None,
    ) -> None: ...

class Action:
    def __init__(
        self,
        kind: int,
        vm: int = -1,
        host: int = -1,
        app: int = -1,
        rack: int = -1,
        value: float = 0.0,
        value2: float = 0.0,
        allocation: Sequence[float] | None = None,
    ) -> None: ...

class Totals(TypedDict):
    host_kwh: float
    rack_kwh: float
    demand: list[float]
    unmet: list[float]
    late_mhz_s: float
    migration_unmet_mhz_s: float
    on_s: float
    overloaded_s: float
    used_mhz_s: float
    capacity_mhz_s: float
    dark_s: float
    migration_downtime_s: float
    migrations: int
    migrations_failed: int
    host_shutdowns: int
    host_boots: int
    host_failures: int
    hosts_reclaimed: int
    crashed_s: float
    oom_kills: int
    sla_violations: int
    spawned: int
    scheduled: int
    refused: int
    cost: dict[str, float]

class Simulator:
    def __init__(self, plant: Plant, seed: int) -> None: ...
    def reset(self, seed: int, start_tick: int = 0) -> None: ...
    def execute(self, actions: Sequence[Action]) -> list[tuple[str, int]]: ...
    def schedule(self) -> int: ...
    def advance(self) -> None: ...
    def prepare(self, state: ClusterState) -> None: ...
    def observe(self, state: ClusterState) -> None: ...
    @property
    def done(self) -> bool: ...
    @property
    def tick(self) -> int: ...
    @property
    def time_s(self) -> float: ...
    @property
    def worst_vm_unmet(self) -> float: ...
    @property
    def memory_bytes(self) -> int: ...
    def last_cost(self) -> dict[str, float]: ...
    def last_tick(self) -> Totals: ...
    def totals(self) -> Totals: ...
    def record_history(self, on: bool) -> None: ...
    def perturb_hidden_demand(self, factor: float) -> None: ...
    def postpone_silent_failures(self, by_s: float) -> None: ...
    def history(self) -> dict[str, npt.NDArray[np.float64]]: ...

class Batch:
    def __init__(self, plant: Plant, n_envs: int, seed: int, threads: int = 1) -> None: ...
    def advance(self, ticks: int = 1) -> None: ...
    def start_at(self, env: int, tick: int) -> None: ...
    def __len__(self) -> int: ...
    def env(self, i: int) -> Simulator: ...
    @property
    def memory_bytes(self) -> int: ...
    @property
    def bytes_per_tick(self) -> int: ...

def triad_bytes_per_s(n: int, repeats: int = 5) -> float: ...

class CloudSimMoveError(RuntimeError): ...
class CloudSimAbortError(RuntimeError): ...

class CloudSimPolicy(enum.IntEnum):
    NONE = 0
    THR = 1
    IQR = 2
    MAD = 3
    LR = 4
    LRR = 5

class CloudSimMetrics:
    @property
    def energy_kwh(self) -> float: ...
    @property
    def migrations(self) -> int: ...
    @property
    def slatah(self) -> float: ...
    @property
    def pdm(self) -> float: ...
    @property
    def slav(self) -> float: ...
    @property
    def esv(self) -> float: ...
    @property
    def overall_sla(self) -> float: ...
    @property
    def average_sla(self) -> float: ...
    @property
    def host_shutdowns(self) -> int: ...
    @property
    def unmet_demand(self) -> float: ...
    @property
    def unmet_demand_worst_vm(self) -> float: ...

class CloudSimSeries:
    @property
    def power_w(self) -> F64: ...
    @property
    def hosts_on(self) -> I32: ...
    @property
    def migrations(self) -> I32: ...
    @property
    def requested_mips(self) -> F64: ...
    @property
    def allocated_mips(self) -> F64: ...

class CloudSim:
    def __init__(
        self,
        percent: I32,
        *,
        n_hosts: int = 800,
        keep_zero: bool = False,
        full_power: bool = False,
        first_fit: bool = False,
    ) -> None: ...
    def advance(self) -> None: ...
    @property
    def done(self) -> bool: ...
    @property
    def time_s(self) -> float: ...
    @property
    def step(self) -> int: ...
    @property
    def n_hosts(self) -> int: ...
    @property
    def n_vms(self) -> int: ...
    def optimise(self, policy: CloudSimPolicy, parameter: float) -> I32: ...
    def migrate(self, moves: I32) -> None: ...
    def run(self, policy: CloudSimPolicy, parameter: float) -> None: ...
    def metrics(self) -> CloudSimMetrics: ...
    def series(self) -> CloudSimSeries: ...
    def new_state(self) -> ClusterState: ...
    def observe(self, state: ClusterState) -> None: ...

def expected_excess(excess: float, sigma: float) -> float: ...

class CostPrices:
    def __init__(self) -> None: ...
    unmet_usd_h: list[float]
    late_usd_mhz_h: float
    slo_stretch: float
    swap_factor: float
    sigma_scale: float

class ExpectedCost:
    def __init__(
        self, prices: CostPrices, capacity: F32, vm_overhead: F32, power_w: F32, cores: I32
    ) -> None: ...
    def set_energy_price(self, usd_kwh: float) -> None: ...
    def power_w(self, host: int, share: float) -> float: ...
    def hosts(self, mean: F32, variance: F32, credit: F32, out: F32) -> None: ...
    def moves(
        self,
        mean: F32,
        variance: F32,
        credit: F32,
        vm_mean: F32,
        vm_variance: F32,
        vm_credit: F32,
        vm_host: I32,
        out: F32,
    ) -> None: ...
    @property
    def n_hosts(self) -> int: ...

class WindowKnobs:
    def __init__(self) -> None: ...
    ticks: int
    last: float
    prior_ticks: float
    prior_mean: list[float]
    prior_sigma: list[float]
    floor_sigma: list[float]
    sigma_ticks: float
    forecast: float
    forecast_ticks: int

class DemandWindow:
    def __init__(self, knobs: WindowKnobs, n_vms: int, tick_s: float) -> None: ...
    def update(self, state: ClusterState) -> None: ...
    @property
    def mean(self) -> F32: ...
    @property
    def variance(self) -> F32: ...

class Economy:
    def __init__(self) -> None: ...
    usd_kwh: list[float]
    unmet_usd_h: list[float]
    late_usd_mhz_h: float
    downtime_usd_h: float
    migration_usd: float
    boot_usd: float
    slo_stretch: float

class Site:
    def __init__(self) -> None: ...
    tick_s: float
    capabilities: int
    economy: Economy
    power_w: list[float]
    cores: list[int]
    off_w: list[float]
    vm_overhead: list[float]
    sleep_w: list[float]
    wake_s: list[float]
    rented: list[int]
    largest_vm: list[float]
    migration_mbit_s: float
    rack_w: list[float]
    offloadable: list[float]
    guest_cpu: float
    affinity: Affinity | None

class PackerKnobs:
    def __init__(self) -> None: ...
    def check(self) -> None: ...
    window: WindowKnobs
    horizon_ticks: int
    drain_ticks: int
    margin_usd: float
    boot_weight: float
    move_weight: float
    drain_hosts: int
    drain_trials: int
    drain_misses: int
    near: int
    reserve: float
    failover: float
    grace_s: float
    hazard_per_h: float
    racks: bool
    rack_credit: float
    wake_trials: int
    layout: bool
    acute_weight: float
    acute_uneven: float
    kin: float
    whole_racks: bool
    urgent: bool
    urgent_gpus: bool
    peaks: bool
    z: float
    target: float
    relief: float
    fullest: bool
    sigma_scale: float

class PackerMemory:
    def __init__(self, window: WindowKnobs, tick_s: float) -> None: ...
    def reset(self) -> None: ...
    def observe(self, state: ClusterState) -> None: ...

class Packer:
    def __init__(self, site: Site, knobs: PackerKnobs, memory: PackerMemory | None = None) -> None: ...
    def reset(self) -> None: ...
    def observe(self, state: ClusterState) -> None: ...
    def plan(self, state: ClusterState) -> list[tuple[int, int, int, int, float, str]]:
        """Kind, VM, host, rack, value and reason of each action."""
    def gain_usd(self) -> float: ...
    def dark_racks(self) -> list[bool]: ...
    def assume_dark(self, racks: Sequence[bool]) -> None: ...

class AnomalyLabel(enum.IntEnum):
    NORMAL = 0
    SURGE = 1
    DROP = 2
    STUCK = 3
    MISSING = 4

class EpisodeOptions:
    alarm_surprise: float
    clear_surprise: float
    clear_steps: int
    refractory_steps: int
    accept_steps: int
    escalation: float
    ranked_steps: int
    def __init__(self) -> None: ...

class AnomalyOptions:
    slow_steps: float
    spans: list[float]
    warmup_steps: int
    season_s: float
    slots: int
    profile_weight: float
    stuck_steps: int
    stuck_surprise: float
    missing_steps: int
    away_deviation: float
    episode: EpisodeOptions
    def __init__(self) -> None: ...

class JointOptions:
    slow_steps: float
    scale_floor: float
    ridge: float
    smooth_steps: float
    power: float
    warmup_steps: int
    refit_steps: int
    missing_steps: int
    episode: EpisodeOptions
    def __init__(self) -> None: ...

class AnomalyBank:
    def __init__(self, n_series: int, options: AnomalyOptions) -> None: ...
    @property
    def n_series(self) -> int: ...
    @property
    def surprise(self) -> F32: ...
    @property
    def deviation(self) -> F32: ...
    @property
    def since_s(self) -> F64: ...
    @property
    def label(self) -> U8: ...
    @property
    def alarm(self) -> U8: ...
    @property
    def gaps(self) -> U32: ...
    @property
    def stale(self) -> U32: ...
    def observe(self, time_s: F64, values: F64) -> None: ...
    def run(self, time_s: F64, values: F64) -> tuple[F32, U8, U8]: ...
    def forget(self, series: int, /) -> None: ...
    def save(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...

class JointBank:
    def __init__(self, n_machines: int, n_metrics: int, options: JointOptions) -> None: ...
    @property
    def n_machines(self) -> int: ...
    @property
    def n_metrics(self) -> int: ...
    @property
    def surprise(self) -> F32: ...
    @property
    def deviation(self) -> F32: ...
    @property
    def since_s(self) -> F64: ...
    @property
    def label(self) -> U8: ...
    @property
    def alarm(self) -> U8: ...
    @property
    def gaps(self) -> U32: ...
    @property
    def stale(self) -> U32: ...
    @property
    def contribution(self) -> F32: ...
    def observe(self, time_s: F64, values: F64) -> None: ...
    def run(self, time_s: F64, values: F64) -> tuple[F32, U8, U8]: ...
    def forget(self, machine: int, /) -> None: ...
    def save(self) -> bytes: ...
    def restore(self, state: bytes) -> None: ...

class EngineConfig:
    def __init__(
        self,
        horizons: Sequence[int],
        strides: Sequence[int],
        young_strides: Sequence[int],
        young_steps: int,
        extra_rows: int,
        rates: dict[str, float],
        threads: int = 1,
    ) -> None: ...

class ForecastTable:
    def __init__(
        self, moments: F32, quantiles: F32 | None, horizons: Sequence[int], levels: Sequence[float]
    ) -> None: ...
    @property
    def n_ticks(self) -> int: ...
    @property
    def n_rows(self) -> int: ...

class DemandForecaster:
    def __init__(self, config: EngineConfig, n_rows: int) -> None: ...
    def own(self, owner: I32) -> None: ...
    def observe(self, demand: F32) -> None: ...
    def predict(self, moments: F32, quantiles: F32 | None = None) -> None: ...
    @property
    def memory_bytes(self) -> int: ...

def moments_of(quantiles: F32) -> F32: ...

class ForecastEngine:
    def __init__(self, config: EngineConfig, n_series: int) -> None: ...
    def observe(self, samples: F32) -> None: ...
    def predict(self) -> F32: ...
    def experts(self, horizon: int) -> F32: ...
    def offer(self, extra_row: int, quantiles: F32) -> None: ...
    def add(self, count: int) -> None: ...
    def remove(self, who: Sequence[int]) -> None: ...
    def save(self) -> bytes: ...
    def load(self, bytes: bytes) -> None: ...
    @property
    def rejected(self) -> dict[str, int]: ...
    @property
    def bytes_per_series(self) -> int: ...
    @property
    def memory_bytes(self) -> int: ...
    def __len__(self) -> int: ...

class PlanKnobs:
    def __init__(self) -> None: ...
    packer: PackerKnobs
    preferred: bool
    eager: bool
    every_ticks: int

class RuleNode:
    def __init__(self) -> None: ...
    verdict: int  # 0 test, 1 add, 2 never, 3 score, 4 first
    feature: int
    low: float
    high: float
    kinds: int
    then: int
    otherwise: int
    value: float
    rule: int

class Sizing:
    def __init__(self) -> None: ...
    headroom: float
    slack: float
    slack_floor: float
    unseen: float
    settle_ticks: int

class ProposerKnobs:
    def __init__(self) -> None: ...
    plans: list[PlanKnobs]
    rules: list[RuleNode]
    k: int
    decisions: int
    horizon_ticks: int
    off_ticks: int
    sigma_scale: float
    window: WindowKnobs
    crowded_hosts: int
    leavers: int
    drains: int
    arrivals: int
    reshapes: int
    switches: int
    helpers: int
    outgrown: int
    sizing: Sizing
    sizings: list[Sizing]
    floor: float
    ceiling: float
    memory_ceiling: float
    least_change: float
    peak_ticks: int
    shadow_share: float
    micro_share: float
    micro_life_s: float
    preferred: int
    threshold: float

ActionTuple: TypeAlias = tuple[
    int, int, int, int, int, float, float, list[float]
]  # kind, vm, host, app, rack, value, value2, allocation

OfferTuple: TypeAlias = tuple[
    int,
    tuple[int, int, int],
    tuple[float, float, float, float],
    float,
    bool,
    str,
    str,
    str,
    list[ActionTuple],
]  # kind, (vm, host, source), (performance, utilisation, cost, latency), ready_h, preferred, by, reason, claim, actions

class CandidateDict(TypedDict):
    kind: str
    reason: str
    by: str  # the component that offered it; "" = the proposer itself
    offer: int  # which of the offers that were added; -1 = none
    vm: int
    host: int
    source: int
    plan: (
        int  # which of the knobs' plans, of right_size which of the other sizings; -1 = none, the rules' own
    )
    z: float  # safety factor of a plan, headroom of right-sizing
    actions: int
    ready_h: float  # until it has its effect
    performance: float
    utilisation: float
    cost: float
    latency: float
    score: float
    preference: float
    rule: int  # whose word changed the preference; -1 = none did
    possible: bool

class Proposer:
    def __init__(self, site: Site, knobs: ProposerKnobs) -> None: ...
    def reset(self, factors: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> None: ...
    def restrain(self, fixed: U8, hosts: U8) -> None: ...
    def observe(self, state: ClusterState) -> None: ...
    def add(self, offers: Sequence[OfferTuple]) -> None: ...
    def retune(self, headroom: float, threshold: float) -> None: ...
    def dark_racks(self, state: ClusterState) -> list[int]: ...
    def choose(self, index: int) -> None: ...
    def possible(self, index: int) -> bool: ...
    @property
    def preferred(self) -> int: ...
    @property
    def decisions_left(self) -> int: ...
    @property
    def k(self) -> int: ...
    @property
    def unit_usd(self) -> float: ...
    @property
    def expected_usd_h(self) -> float: ...
    def potential(self, shaping_h: float, unit_usd: float) -> float: ...
    def __len__(self) -> int: ...
    def plan(self) -> list[ActionTuple]: ...
    @property
    def n_planned(self) -> int: ...  # actions of the plan
    def actions(self, index: int) -> list[ActionTuple]: ...
    def describe(self, index: int) -> CandidateDict: ...
    def width(self) -> int: ...
    def write(self, observation: F32) -> None: ...

class EpisodeKnobs:
    def __init__(self) -> None: ...
    least_ticks: int
    most_ticks: int
    random_start: bool
    scattered: bool
    price_spread: float
    discount: float
    shaping_h: float

class EpisodeDict(TypedDict):
    terms: dict[str, float]
    actions: dict[str, int]
    reward: float
    ticks: int
    steps: int
    refused: int
    invalid: int

def roll_out(
    batch: DecisionBatch,
    environment: int,
    candidates: I64,
    marks: Sequence[int],
    futures: Sequence[float],
    discount: float = 1.0,
) -> tuple[F32, F32]: ...

class DecisionBatch:
    def __init__(
        self,
        plants: Sequence[Plant],
        sites: Sequence[Site],
        knobs: ProposerKnobs,
        episode: EpisodeKnobs,
        n_envs: int,
        seed: int,
        threads: int = 1,
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def width(self) -> int: ...
    def keep(self, observations: tuple[Shown, ...]) -> None: ...
    def reset(self, observations: Shown, seed: int | None = None) -> None: ...
    def step(
        self,
        actions: I64,
        observations: Shown,
        final_observations: F32 | None,
        rewards: F32,
        discounts: F32,
        dones: U8,
        invalid: U8,
    ) -> None: ...
    def preferred(self, out: I64) -> None: ...
    def finished(self, i: int) -> EpisodeDict: ...
    def sums(self, i: int) -> EpisodeDict: ...

ColumnTuple: TypeAlias = tuple[str, str, float, float, str]  # name, unit, low, high, doc

def context_columns() -> list[ColumnTuple]: ...
def rule_columns() -> list[tuple[str, str, float, float, str]]: ...
def candidate_columns() -> list[ColumnTuple]: ...
def candidate_kinds() -> list[str]: ...
def cost_terms() -> list[str]: ...
def lanes() -> int: ...
def tick_reward(cost: Sequence[float], factors: Sequence[float], unit_usd: float) -> float: ...
def reward_unit_usd(site: Site, state: ClusterState) -> float: ...
def episode_seed(seed: int, number: int) -> int: ...
def draw_episode(
    knobs: EpisodeKnobs, n_ticks: int, seed: int
) -> tuple[tuple[float, float, float, float], int, int]: ...
def shaped(reward: float, discount: float, before: float, after: float) -> float: ...

class GrownTree:
    def __init__(
        self,
        feature: Sequence[int],
        threshold: Sequence[float],
        nan_left: Sequence[int],
        left: Sequence[int],
        right: Sequence[int],
        leaf: Sequence[float],
    ) -> None: ...

class TreeSums:
    most_leaves: ClassVar[int]
    def __init__(self, n_features: int) -> None: ...
    def add_output(self, trees: Sequence[GrownTree]) -> None: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    def predict(self, rows: F32) -> F64: ...
