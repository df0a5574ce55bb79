"""``foreshade rules show|validate|tune``: rules that a person reads, and rules that tune themselves."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from foreshade.envs.errors import InputError
from foreshade.envs.knobs import MOST_SEED

#: All proposals that pay, in the folder of ``rules propose``.
ACCEPTED = "accepted.yaml"

rules_app = typer.Typer(help="Show, check, tune, distil and propose rules.", no_args_is_help=True)
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]
Scenario = Annotated[
    str, typer.Option(help="enterprise, planetlab, bitbrains, mixed, or any whose workload differs by seed.")
]
RulesFile = Annotated[
    Path | None, typer.Option("--rules", help="YAML to begin with; default: the one that ships.")
]
Components = Annotated[
    str | None, typer.Option(help="That are on beside the rules: names, all, none, or a YAML file.")
]


@rules_app.command("show")
def rules_show(
    file: Annotated[Path | None, typer.Argument(help="YAML; default: the one that ships.")] = None,
) -> None:
    """A file of rules as it is understood.

    What differs from the defaults, rules, tree.
    """
    from foreshade.agents.rules.rule_file import to_yaml  # noqa: PLC0415  keeps --help fast
    from foreshade.agents.rules.rules import load_rules  # noqa: PLC0415

    _say(to_yaml(load_rules(file)).rstrip())


@rules_app.command("validate")
def rules_validate(files: Annotated[list[Path], typer.Argument(help="Files of rules.")]) -> None:
    """Check files of rules; the first error ends it with status 2."""
    from foreshade.agents.rules.rules import load_rules  # noqa: PLC0415

    for file in files:
        knobs = load_rules(file)
        leaves = knobs.tree.leaves() if knobs.tree is not None else 0
        _say(f"{file}: ok, {len(knobs.rules)} rules and a tree of {leaves} leaves")


@rules_app.command("tune")
def rules_tune(
    scenario: Scenario = "enterprise",
    trials: Annotated[int, typer.Option(min=1, help="Trials that the study shall hold.")] = 60,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the search.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the study; one that is there goes on.")] = Path(
        "runs/rules"
    ),
    rules: RulesFile = None,
    components: Components = None,
    objectives: Annotated[
        str, typer.Option(help="What is made small: some of cost, energy, unmet, worst, migrations.")
    ] = "cost,unmet,migrations",
    worlds: Annotated[int, typer.Option(min=1, help="Worlds of a scenario to train on, at most.")] = 1000,
    as_json: Json = False,
) -> None:
    """Search for thresholds and weights.

    The front is written as HTML, JSON and a YAML for each point.
    """
    from foreshade.adapters.app.rules_front import write_front  # noqa: PLC0415
    from foreshade.agents.rules.rules import load_rules  # noqa: PLC0415
    from foreshade.envs.extras import require  # noqa: PLC0415
    from foreshade.envs.scenarios.load import load_scenario  # noqa: PLC0415
    from foreshade.training.folder_lock import alone_in  # noqa: PLC0415
    from foreshade.training.rules.ground import Ground  # noqa: PLC0415
    from foreshade.training.rules.search import check, search  # noqa: PLC0415

    goals = [name.strip() for name in objectives.split(",")]
    require("optuna", "rules", "rules tune")  # before the worlds are built
    knobs = load_rules(rules)
    load_scenario(scenario)
    check(out, goals)
    with alone_in(out), _bar(f"tune the rules on {scenario}") as on_progress:
        train = Ground.of(scenario, "train", components=components, most=worlds)
        validate = Ground.of(scenario, "validate", components=components)
        front = search(
            out,
            scenario,
            knobs,
            train,
            validate,
            n_trials=trials,
            seed=seed,
            objectives=goals,
            on_progress=on_progress,
        )
        page = write_front(front, out)
    if as_json:
        _say(json.dumps(front.to_dict(), indent=1))
    else:
        _say(front.sentence)
    print(f"front: {page}", file=sys.stderr)  # noqa: T201


@rules_app.command("distil")
def rules_distil(
    policy: Annotated[
        Path | None, typer.Option(help="Folder of a frozen policy; default: the one that ships.")
    ] = None,
    out: Annotated[Path, typer.Option(help="YAML to write.")] = Path("distilled.yaml"),
    scenario: Scenario = "enterprise",
    leaves: Annotated[int, typer.Option(min=2, max=32, help="Of the tree, at most.")] = 32,
    rounds: Annotated[int, typer.Option(min=1, help="Of playing and fitting.")] = 4,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the draws.")] = 0,
    rules: RulesFile = None,
    worlds: Annotated[int, typer.Option(min=1, help="Worlds of a scenario to learn from, at most.")] = 1000,
    as_json: Json = False,
) -> None:
    """Distil a policy into a readable tree.

    A shallow tree over named features, as a file of rules, and what is lost by it.
    """
    from foreshade.agents.ham.agent import Ham  # noqa: PLC0415
    from foreshade.agents.rules.rule_file import to_yaml  # noqa: PLC0415
    from foreshade.agents.rules.rules import load_rules  # noqa: PLC0415
    from foreshade.envs.extras import require  # noqa: PLC0415
    from foreshade.training.rules.distil import distil, heading  # noqa: PLC0415
    from foreshade.training.rules.ground import Ground  # noqa: PLC0415

    require("sklearn.tree", "rules", "rules distil")
    untuned = load_rules(rules)
    Ham(policy)  # raises where it does not verify, before worlds are made
    _writable(out)
    train = Ground.of(scenario, "train", components="none", most=worlds)
    validate = Ground.of(scenario, "validate", components="none")
    with _bar(f"distil on {scenario}") as on_progress:
        found = distil(
            policy, untuned, train, validate, leaves=leaves, rounds=rounds, seed=seed, on_progress=on_progress
        )
    named = "the policy that ships" if policy is None else policy.name
    lines = heading(found, named, scenario, tuple(validate.worlds))
    out.write_text(to_yaml(found.knobs, lines), encoding="utf-8")
    if as_json:
        _say(json.dumps({**found.to_dict(), "file": str(out)}, indent=1))
    else:
        for line in lines:
            _say(line)
    print(f"rules: {out}", file=sys.stderr)  # noqa: T201


@rules_app.command("propose")
def rules_propose(
    scenario: Scenario = "enterprise",
    out: Annotated[Path, typer.Option(help="Folder: a YAML of each proposal, and of those that pay.")] = Path(
        "proposals"
    ),
    rules: RulesFile = None,
    most: Annotated[int, typer.Option(min=1, help="Proposals that are tried, at most.")] = 8,
    worlds: Annotated[int, typer.Option(min=1, help="Worlds of a scenario to observe, at most.")] = 1000,
    as_json: Json = False,
) -> None:
    """Propose rules from what was observed.

    Each with evidence and a simulated before-and-after.
    """
    from foreshade.agents.rules.rule_file import to_yaml  # noqa: PLC0415
    from foreshade.agents.rules.rules import load_rules  # noqa: PLC0415
    from foreshade.envs.extras import require  # noqa: PLC0415
    from foreshade.training.rules.ground import Ground  # noqa: PLC0415
    from foreshade.training.rules.propose import heading, propose  # noqa: PLC0415

    require("sklearn.tree", "rules", "rules propose")
    knobs = load_rules(rules)
    _writable(out / ACCEPTED)
    train = Ground.of(scenario, "train", components="none", most=worlds)
    validate = Ground.of(scenario, "validate", components="none")
    with _bar(f"propose rules on {scenario}") as on_progress:
        found, kept, before, after = propose(knobs, train, validate, most=most, on_progress=on_progress)
    for number, proposal in enumerate(found, start=1):
        alone = knobs.model_copy(update={"rules": (*knobs.rules, proposal.rule)})
        path = out / f"proposal-{number:02d}.yaml"
        path.write_text(to_yaml(alone, heading(proposal)), encoding="utf-8")
    paying = [one for one in found if one.verdict == "pays"]
    change = after.less(before, "cost")
    together = f"{len(paying)} of {len(found)} proposals pay on {len(validate)} worlds that took no part" + (
        f"; together {change.mean:+.2f} ± {change.half_width:.2f} USD a run" if paying else ""
    )
    (out / ACCEPTED).write_text(to_yaml(kept, [f"{together}."]), encoding="utf-8")
    if as_json:
        said = {"proposals": [one.to_dict() for one in found], "together_usd": change.mean if paying else 0.0}
        _say(json.dumps(said, indent=1))
    else:
        for number, one in enumerate(found, start=1):
            _say(f"{number}. {one.rule.name}\n   observed: {one.rule.why}\n   simulated: {one.sentence()}")
        _say(together)
    print(f"proposals: {out}", file=sys.stderr)  # noqa: T201


def _writable(path: Path) -> None:
    """Refuse a file that cannot be written before minutes of work, not after."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise InputError(f"--out {path}: expected a file that can be written, {error.strerror}") from error


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"))
    clocks = (TimeElapsedColumn(), TimeRemainingColumn())
    hidden = not sys.stderr.isatty()
    with Progress(*columns, *clocks, console=Console(stderr=True), disable=hidden) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
