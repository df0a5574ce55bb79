"""The command line: ``foreshade evaluate``, ``explain``, ``train``, ``tune``, ``export``, ``recommend``, ``agent``,
``workload``, ``scenario``, ``template``, ``rules``, ``profile``, ``forecast``, ``anomaly``, ``hazard``, ``bench``.

Results go to standard output, everything else to standard error. Input that cannot be used ends with one line
and exit status 2.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from foreshade.adapters.app.agent_commands import agent_app
from foreshade.adapters.app.control_access import Url
from foreshade.adapters.app.control_commands import register as register_control
from foreshade.adapters.app.control_views import explain_plan
from foreshade.adapters.app.prediction_commands import anomaly_app, forecast_app, hazard_app
from foreshade.adapters.app.profile_commands import profile_app
from foreshade.adapters.app.recommend import recommend
from foreshade.adapters.app.rules_commands import rules_app
from foreshade.adapters.app.surface_commands import audit_app, token_app
from foreshade.adapters.app.template_commands import template_app
from foreshade.adapters.app.training_commands import bench_train, export, train, tune
from foreshade.envs.errors import ForeshadeError, InputError
from foreshade.envs.knobs import MOST_SEED

app = typer.Typer(
    name="foreshade",
    help="Predictive resource orchestration for hypervisors.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
workload_app = typer.Typer(help="Look at, generate and convert workloads.", no_args_is_help=True)
scenario_app = typer.Typer(help="List, show and check scenarios.", no_args_is_help=True)
bench_app = typer.Typer(help="Measure the speed of the core on this machine.", no_args_is_help=True)
app.add_typer(agent_app, name="agent")
app.add_typer(workload_app, name="workload")
app.add_typer(scenario_app, name="scenario")
app.add_typer(template_app, name="template")
app.add_typer(rules_app, name="rules")
app.add_typer(profile_app, name="profile")
app.add_typer(bench_app, name="bench")
app.add_typer(forecast_app, name="forecast")
app.add_typer(anomaly_app, name="anomaly")
app.add_typer(hazard_app, name="hazard")
app.add_typer(token_app, name="token")
app.add_typer(audit_app, name="audit")
register_control(app, forecast_app)
app.command()(train)
app.command()(tune)
app.command()(export)
app.command()(recommend)
bench_app.command("train")(bench_train)

Policy = Annotated[
    Path | None,
    typer.Option(help="Folder of a frozen policy for the agent ham; default: the one that ships."),
]
RulesFile = Annotated[
    Path | None,
    typer.Option("--rules", help="YAML for the agents rules and ham; default: the one that ships."),
]
Components = Annotated[
    str | None,
    typer.Option(help="Of rules and ham: names, all, none, or a YAML file; default: those that are enabled."),
]
Actions = Annotated[
    str | None,
    typer.Option(
        help="Kinds that every agent is held to: 'placement' = migrate,power; default: the scenario's."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


def _print_version(asked: bool) -> None:
    if asked:
        _say(f"foreshade {version('foreshade')}")
        raise typer.Exit


@app.callback()
def _foreshade(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """Predictive resource orchestration for hypervisors."""


def main() -> None:
    """Entry point of the ``foreshade`` command."""
    _ready_output()
    signal.signal(signal.SIGTERM, _end)
    try:
        try:
            status = app(standalone_mode=False, prog_name="foreshade")
        finally:
            sys.stdout.flush()  # here, where a full disk can still be said
        sys.exit(status)
    except _UsageError as error:
        sys.stderr.write(_misused(error))
        sys.exit(2)
    except _EndedError:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)  # so that who waits is told of the signal
    except KeyboardInterrupt:  # between two steps that answer it themselves
        sys.exit(128 + signal.SIGINT)
    except ForeshadeError as error:
        print(f"foreshade: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        _drop_output()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _drop_output()
        print(f"foreshade: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
        sys.exit(2)


#: Of click, or of the copy of it inside typer.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _misused(error: Any) -> str:
    """What is wrong with the words of a command, in one line; the whole help where there were none."""
    said: str = error.format_message()
    if error.ctx is None or said == error.ctx.get_help():
        return f"{said}\n"
    path = error.ctx.command_path
    where = path.removeprefix("foreshade").strip()
    return f"foreshade: {where}{': ' if where else ''}{' '.join(said.split()).rstrip('.')}; see '{path} --help'\n"


class _EndedError(SystemExit):
    """SIGTERM, which unwinds as Ctrl-C does: what is half written is taken away, no worker is left behind."""


def _end(_: int, __: object) -> None:
    raise _EndedError


def _ready_output() -> None:
    """Standard output that takes every text: a closed one forgets it, one of few letters shows ``?`` for others."""
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _drop_output() -> None:
    """What Python still holds for standard output goes nowhere, rather than fail once more at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


@contextmanager
def _bar(what: str, *, hidden: bool) -> Iterator[tuple[Progress, int]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden) as progress:
        yield progress, int(progress.add_task(what, total=None))


@app.command()
def evaluate(
    scenario: Annotated[str, typer.Option(help="A shipped scenario's name, or a YAML file.")] = "enterprise",
    variant: Annotated[str, typer.Option(help="A variant of the scenario.")] = "",
    workload: Annotated[
        str | None,
        typer.Option(help="KIND:PATH?key=value, e.g. planetlab:DIR/20110303; default: the scenario's own."),
    ] = None,
    agent: Annotated[
        str,
        typer.Option(help="Of 'foreshade agent list', separated by commas; 'all' = all of them."),
    ] = "all",
    policy: Policy = None,
    rules: RulesFile = None,
    components: Components = None,
    actions: Actions = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MOST_SEED, help="Default: the scenario's seed.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100_000, help="Number of seeds, counted up from --seed.")
    ] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = os.cpu_count() or 1,
    anomalies: Annotated[
        bool, typer.Option("--anomalies/--no-anomalies", help="Anomaly detectors beside the world.")
    ] = False,
    forecast: Annotated[
        str | None,
        typer.Option(help="What the state shows: table (made once, kept), online or none; default: table."),
    ] = None,
    what_if: Annotated[
        str | None,
        typer.Option(help="Play again with changes: host+2,price.spot=0.03,demand*1.2; shown beside."),
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="YAML of hypervisor profiles, as profile learn writes it.")
    ] = None,
    calendar: Annotated[
        Path | None, typer.Option(help="An iCalendar file of maintenance and freezes, beside the scenario's.")
    ] = None,
    events: Annotated[
        Path | None,
        typer.Option(
            help="CSV of announced events (time, end, factor; low, high, series), known to forecasts."
        ),
    ] = None,
    ablate: Annotated[
        bool,
        typer.Option(
            "--ablate", help="Play rules (or ham, where named) with and without each component, and show it."
        ),
    ] = False,
    as_json: Json = False,
    report: Annotated[Path | None, typer.Option(help="Folder for a self-contained HTML report.")] = None,
) -> None:
    """Play a scenario with agents and show what each costs."""
    from foreshade.adapters.app.ablation import ablate as ablated  # noqa: PLC0415  keeps --help fast
    from foreshade.adapters.app.ablation import print_ablation, subjects  # noqa: PLC0415
    from foreshade.adapters.app.evaluate import evaluate as run  # noqa: PLC0415
    from foreshade.adapters.app.evaluate import forecast_of, workloads_of  # noqa: PLC0415
    from foreshade.adapters.app.report import check_folder, write_report  # noqa: PLC0415
    from foreshade.adapters.app.results import to_json  # noqa: PLC0415
    from foreshade.adapters.app.table import print_results  # noqa: PLC0415
    from foreshade.adapters.app.what_if import print_changes, to_rows  # noqa: PLC0415
    from foreshade.agents.baselines.registry import AgentFiles, agent_names  # noqa: PLC0415
    from foreshade.envs.forecast.knowledge import scheduled_events as announced  # noqa: PLC0415
    from foreshade.envs.scenarios.held import held_to  # noqa: PLC0415
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415
    from foreshade.envs.scenarios.profiles import read_profiles, with_profiles  # noqa: PLC0415
    from foreshade.envs.scenarios.what_if import what_if as changes  # noqa: PLC0415

    if report is not None:
        check_folder(report)  # before minutes of work, not after
    said = load_scenario(scenario, variant)
    if profiles is not None:
        said = with_profiles(said, read_profiles(profiles))
    if calendar is not None:
        from foreshade.adapters.app.calendar import with_calendar  # noqa: PLC0415  an optional extra

        said = with_calendar(said, calendar)
    if actions is not None:
        said = held_to(said, actions)
    changed = None if what_if is None else changes(said, what_if)
    labels = [name.strip() for name in agent.split(",")]
    if agent == "all":
        labels = list(dict.fromkeys([*agent_names(), *(["ham"] if policy is not None else [])]))
    first = said.seed if seed is None else seed
    tried = subjects(labels, everyone=agent == "all") if ablate else ()
    files = AgentFiles(policy, rules, components)
    quiet = as_json or not sys.stderr.isatty()
    with _bar(f"{said.name}: {len(labels)} agents", hidden=quiet) as (progress, task):

        def on_progress(done: int, total: int) -> None:
            progress.update(TaskID(task), completed=done, total=total)

        def say(line: str) -> None:
            progress.console.print(line, soft_wrap=True, highlight=False)

        results = run(
            said,
            workload,
            labels,
            range(first, first + seeds),
            jobs,
            on_progress,
            anomalies=anomalies,
            forecast=forecast,
            files=files,
            say=say,
            changed=changed,
            events=None if events is None else announced(events),
        )
        ablations = [
            ablated(
                said,
                workloads_of(said, workload, range(first, first + seeds)),
                name,
                forecast_of(said, forecast),
                jobs,
                on_progress,
                files=files,
                say=say,
            )
            for name in tried
        ]
    if as_json:
        added = {"ablations": [one.to_dict() for one in ablations]} if ablate else {}
        _say(json.dumps({**to_json(results), **to_rows(results), **added}, indent=1))
    else:
        print_results(results)
        print_changes(results)
        for one in ablations:
            print_ablation(one)
    if report is not None:
        command = shlex.join(["foreshade", *sys.argv[1:]])
        now = datetime.now().astimezone()
        path = write_report(results, report, command=command, written=now, ablations=ablations)
        print(f"report: {path}", file=sys.stderr)  # noqa: T201


@app.command()
def explain(
    tick: Annotated[int | None, typer.Option(help="Tick to look at, from 0.")] = None,
    plan: Annotated[
        str | None, typer.Option(help="A plan of the controller instead: why it is as it is.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="With --plan: configuration of the controller.")] = None,
    url: Url = None,
    scenario: Annotated[str, typer.Option(help="A shipped scenario's name, or a YAML file.")] = "enterprise",
    variant: Annotated[str, typer.Option(help="A variant of the scenario.")] = "",
    workload: Annotated[
        str | None, typer.Option(help="KIND:PATH?key=value; default: the scenario's own.")
    ] = None,
    agent: Annotated[str, typer.Option(help="ham or rules; default: ham where there is a policy.")] = "",
    policy: Policy = None,
    rules: RulesFile = None,
    components: Components = None,
    actions: Actions = None,
    seed: Annotated[
        int | None, typer.Option(min=0, max=MOST_SEED, help="Default: the scenario's seed.")
    ] = None,
    forecast: Annotated[
        str | None, typer.Option(help="What the state shows: table, online or none; default: table.")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Candidates shown of each decision; 0 = all.")] = 12,
    as_json: Json = False,
) -> None:
    """Why a tick, or a plan, was decided as it was.

    Plays to the tick and shows its candidates, what each was worth, and why the others lost.
    """
    from foreshade.adapters.app.explain import explain as run  # noqa: PLC0415  keeps --help fast
    from foreshade.adapters.app.explain import print_explanation, to_json  # noqa: PLC0415
    from foreshade.agents.baselines.registry import SHIPPED_POLICY, AgentFiles  # noqa: PLC0415
    from foreshade.envs.scenarios.held import held_to  # noqa: PLC0415
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415

    if plan is not None and tick is None:
        explain_plan(plan, config, top, as_json=as_json, url=url)
        return
    if tick is None or plan is not None:
        raise InputError("explain: expected one of --tick and --plan")
    if config is not None:
        raise InputError("explain --config: expected --plan, a plan of that controller; found --tick")
    said = load_scenario(scenario, variant)
    if actions is not None:
        said = held_to(said, actions)
    label = agent or ("ham" if policy is not None or SHIPPED_POLICY.is_dir() else "rules")
    quiet = as_json or not sys.stderr.isatty()
    with _bar(f"{said.name}: to tick {tick}", hidden=quiet) as (progress, task):
        explained = run(
            said,
            workload,
            label,
            tick,
            said.seed if seed is None else seed,
            files=AgentFiles(policy, rules, components),
            forecast=forecast,
            on_progress=lambda done, total: progress.update(TaskID(task), completed=done, total=total),
            say=lambda line: progress.console.print(line, soft_wrap=True, highlight=False),
        )
    if as_json:
        _say(json.dumps(to_json(explained), indent=1))
    else:
        print_explanation(explained, top)


@workload_app.command("describe")
def workload_describe(
    spec: Annotated[
        str, typer.Argument(help="KIND:PATH?key=value, e.g. bitbrains:DIR or generated:enterprise.")
    ],
    as_json: Json = False,
) -> None:
    """Size, statistics and defects of a workload."""
    from foreshade.adapters.app.workload_commands import describe_spec  # noqa: PLC0415

    _say(describe_spec(spec, as_json=as_json))


@workload_app.command("generate")
def workload_generate(
    name: Annotated[str, typer.Argument(help="Preset and options, e.g. enterprise?vms=200&days=3&seed=1.")],
    out: Annotated[Path, typer.Option("--out", help="File to write: .csv or .parquet.")],
) -> None:
    """Write a generated workload as a table."""
    from foreshade.adapters.app.workload_commands import convert_spec  # noqa: PLC0415

    _say(convert_spec(f"generated:{name.removeprefix('generated:')}", out))


@workload_app.command("convert")
def workload_convert(
    spec: Annotated[str, typer.Argument(help="KIND:PATH?key=value of any format that can be read.")],
    out: Annotated[Path, typer.Argument(help="File to write: .csv or .parquet.")],
) -> None:
    """Rewrite a trace as the plain table that 'table:FILE' reads."""
    from foreshade.adapters.app.workload_commands import convert_spec  # noqa: PLC0415

    _say(convert_spec(spec, out))


@scenario_app.command("list")
def scenario_list(as_json: Json = False) -> None:
    """The scenarios that ship with Foreshade."""
    from foreshade.envs.scenarios.load import list_scenarios  # noqa: PLC0415

    known = list_scenarios()
    if as_json:
        _say(json.dumps({"scenarios": [{"name": n, "description": d} for n, d in known.items()]}, indent=1))
        return
    for name, description in known.items():
        _say(f"{name:12} {description}")


@scenario_app.command("show")
def scenario_show(
    scenario: Annotated[str, typer.Argument(help="A shipped scenario's name, or a YAML file.")],
    variant: Annotated[str, typer.Option(help="A variant of the scenario.")] = "",
) -> None:
    """The effective scenario as YAML, defaults included."""
    from foreshade.envs.scenarios.load import load_scenario, show  # noqa: PLC0415

    _say(show(load_scenario(scenario, variant)).rstrip())


@scenario_app.command("validate")
def scenario_validate(
    files: Annotated[list[str], typer.Argument(help="Scenario files or names.")],
) -> None:
    """Check scenario files; the first error ends it with status 2."""
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415

    for file in files:
        said = load_scenario(file)
        _say(f"{file}: ok, {said.n_hosts} hosts and {said.n_rented} to rent, {said.n_ticks or 'all'} ticks")


def _measured(result: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        _say(json.dumps(result, indent=1))
        return
    for key, value in result.items():
        _say(f"{key:36} {value if isinstance(value, str) else format(value, ',.6g')}")


@bench_app.command("step")
def bench_step(
    hosts: Annotated[int, typer.Option(min=1, max=100_000, help="Hosts in each environment.")] = 100,
    vms: Annotated[int, typer.Option(min=1, max=1_000_000, help="VMs in each environment.")] = 1000,
    envs: Annotated[int, typer.Option(min=1, max=100_000, help="Environments in the batch.")] = 256,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = 1,
    gpu_share: Annotated[float, typer.Option(min=0, max=1, help="Share of VMs with a GPU.")] = 0.0,
    seconds: Annotated[float, typer.Option(min=0.05, max=3600, help="CPU time to measure for.")] = 2.0,
    forecast: Annotated[str, typer.Option(help="Forecasts in the state: none, table or online.")] = "none",
    as_json: Json = False,
) -> None:
    """Full simulator ticks per second.

    The memory bandwidth of the same minute stands beside it.
    """
    from foreshade.adapters.app.bench_step import measure  # noqa: PLC0415

    _measured(measure(hosts, vms, envs, threads, gpu_share, seconds, forecast), as_json)


@bench_app.command("control")
def bench_control(
    hosts: Annotated[int, typer.Option(min=2, max=100_000, help="Simulated hosts.")] = 1000,
    vms: Annotated[int, typer.Option(min=1, max=1_000_000, help="VMs on them.")] = 10_000,
    ticks: Annotated[int, typer.Option(min=4, max=100_000, help="Ticks to measure.")] = 12,
    as_json: Json = False,
) -> None:
    """Seconds of a controller's tick, stage by stage.

    From observing to the journalled plan.
    """
    from foreshade.adapters.app.bench_control import measure  # noqa: PLC0415

    _measured(measure(hosts, vms, ticks), as_json)


@bench_app.command("decide")
def bench_decide(
    hosts: Annotated[int, typer.Option(min=1, max=100_000, help="Hosts in each environment.")] = 100,
    vms: Annotated[int, typer.Option(min=1, max=1_000_000, help="VMs in each environment.")] = 1000,
    envs: Annotated[int, typer.Option(min=1, max=100_000, help="Environments in the batch.")] = 256,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Threads.")] = 1,
    k: Annotated[int, typer.Option(min=2, max=4096, help="Candidates shown.")] = 64,
    decisions: Annotated[int, typer.Option(min=1, max=4096, help="Decisions in a tick, wait included.")] = 4,
    seconds: Annotated[
        float,
        typer.Option(min=0.05, max=3600, help="CPU time to measure for at least: whole episodes are played."),
    ] = 20.0,
    forecast: Annotated[str, typer.Option(help="Forecasts in the state: none, table or online.")] = "none",
    as_json: Json = False,
) -> None:
    """Decisions per second of the native environments, over whole episodes.

    What a tick takes, and which part takes what share, stand beside it.
    """
    from foreshade.adapters.app.bench_decide import measure  # noqa: PLC0415

    _measured(measure(hosts, vms, envs, threads, k, decisions, seconds, forecast), as_json)
