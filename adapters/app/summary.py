"""A case in words: who did best, what it saved against the reference and at what service."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from foreshade.adapters.app.column import Figures, share
from foreshade.adapters.app.comparison import MEASURES, Case
from foreshade.training.estimate import Estimate

_BY_KEY = {measure.key: measure for measure in MEASURES}


def sentences(case: Case, reference: str) -> tuple[str, ...]:
    """Plain sentences, the most important first; names as given, not escaped."""
    best = case.cheapest()
    cost, energy, unmet = (_said(case, best, key) for key in ("cost_usd", "energy_kwh", "unmet_demand"))
    if len(case.agents) == 1:
        return (f"{best} cost {cost} and used {energy} at the hosts; {unmet} of the CPU demand went unmet.",)
    their_unmet = _said(case, reference, "unmet_demand")
    if best == reference:
        said = [
            f"No agent was cheaper than {reference}: {cost} and {energy} at the hosts, with {unmet} unmet."
        ]
    elif math.isfinite(case.difference(best, reference, _BY_KEY["cost_usd"]).mean):
        money, power = (_against(case, best, reference, key) for key in ("cost_usd", "energy_kwh"))
        first = f"{best} was the cheapest of {len(case.agents)} agents: {cost}, {money} than {reference}. "
        second = f"Its hosts used {energy}, {power}, and {unmet} of the CPU demand went unmet"
        said = [f"{first}{second} ({reference}: {their_unmet}).", _trust(case, best, reference)]
    else:
        first = f"{best} was the cheapest of {len(case.agents)} agents: {cost} and {energy} at the hosts, "
        second = f"with {unmet} of the CPU demand unmet. "
        said = [f"{first}{second}The runs of {reference} cannot be compared with it."]
    said += _runner_up(case, best, reference)
    if (thrifty := _least_energy(case)) not in (best, reference):
        said.append(
            f"{thrifty} used the least energy, {_said(case, thrifty, 'energy_kwh')}, but cost "
            f"{_said(case, thrifty, 'cost_usd')} and left {_said(case, thrifty, 'unmet_demand')} unmet."
        )
    return tuple(said)


def fallback_sentences(case: Case) -> tuple[str, ...]:
    """How often the rules decided for HAM and why; one sentence per agent whose decisions were HAM's."""
    said = []
    for agent in case.agents:
        runs = [run.decisions for run in case.runs[agent].values() if run.decisions is not None]
        doubts: Counter[str] = Counter()
        for decisions in runs:
            doubts.update(decisions.doubts)
        if not any(decisions.by_ham for decisions in runs) and not doubts:
            continue
        rate = sum(decisions.fallback_rate for decisions in runs) / len(runs)
        why = ", ".join(f"{reason} {count:,}" for reason, count in doubts.most_common())
        said.append(
            f"{agent}: the rules took {100.0 * rate:.1f} % of its decisions" + (f" ({why})." if why else ".")
        )
    return tuple(said)


def _said(case: Case, agent: str, key: str) -> str:
    mean = case.estimate(agent, _BY_KEY[key])
    figures = Figures.of(_BY_KEY[key], [mean])
    return f"{figures.number(mean.mean)} {figures.unit}".rstrip()


def _against(case: Case, agent: str, reference: str, key: str) -> str:
    measure = _BY_KEY[key]
    base = Figures.of(measure, [case.estimate(reference, measure)])
    # Over the seeds that both played: a mean over others would compare workloads, not agents.
    seeds = case.shared_seeds(agent, reference)
    difference = case.difference(agent, reference, measure).mean
    theirs = sum(measure.value(case.runs[reference][seed]) for seed in seeds) / max(1, len(seeds))
    if not math.isfinite(difference):
        return "which cannot be compared"
    if base.number(difference) == base.number(0.0):
        return "no more and no less"
    amount = share(difference, theirs) or f"{base.number(abs(difference))} {base.unit}"
    return f"{amount} {'less' if difference < 0 else 'more'}"


def _trust(case: Case, agent: str, reference: str) -> str:
    difference = case.difference(agent, reference, _BY_KEY["cost_usd"])
    if difference.n < 2:
        return "This is one seed, so there is no telling how much of the difference is chance."
    interval, verdict = _interval(difference)
    return f"Paired over n = {difference.n} seeds the cost differs by {interval} (95 % interval){verdict}."


def _runner_up(case: Case, best: str, reference: str) -> Iterator[str]:
    """Who comes next, and whether the seeds tell the two apart; nothing where that is the reference."""
    measure = _BY_KEY["cost_usd"]
    means = {agent: case.estimate(agent, measure).mean for agent in case.agents if agent != best}
    known = {agent: mean for agent, mean in means.items() if math.isfinite(mean)}
    if not known or (second := min(known, key=known.__getitem__)) == reference:
        return
    difference = case.difference(second, best, measure)
    if difference.n >= 2:
        interval, verdict = _interval(difference)
        yield f"{second} comes next, by {interval} over the same seeds{verdict}."
    else:
        yield f"{second} comes next, with {_said(case, second, 'cost_usd')}."


def _interval(difference: Estimate) -> tuple[str, str]:
    """A difference in cost with its interval, and what to say where that holds zero."""
    figures = Figures.of(_BY_KEY["cost_usd"], [difference])
    written = f"{figures.signed(difference.mean)} {figures.spread(difference.half_width)} {figures.unit}"
    return written, "" if difference.resolved else ", which could be chance"


def _least_energy(case: Case) -> str:
    measure = _BY_KEY["energy_kwh"]
    means = {agent: case.estimate(agent, measure).mean for agent in case.agents}
    return min(case.agents, key=lambda agent: means[agent] if math.isfinite(means[agent]) else math.inf)
