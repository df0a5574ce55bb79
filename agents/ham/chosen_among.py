"""What a policy chooses among, as its manifest says it.

A policy that was trained on the candidates of the rules with options beside them says its options alone, and is shown
the candidates of whatever rules are in force where it decides. One that was trained on candidates of its own says all
of them, and has them wherever it decides.
"""

from __future__ import annotations

from typing import Any

from foreshade.agents.ham.frozen import FrozenPolicy
from foreshade.agents.rules.rules import load_rules
from foreshade.envs.candidates import CandidateKnobs, Options
from foreshade.envs.errors import InputError
from foreshade.envs.native_schema import native_schema

#: What a policy is not trained for: there the rules decide.
_OTHER_SITES = ("idle_is_off", "placement_only")


def said_in_manifest(trained_on: CandidateKnobs) -> dict[str, Any]:
    """The entry of a manifest's ``origin``."""
    rules = load_rules()
    elsewhere = {name: getattr(rules, name) for name in _OTHER_SITES}
    if rules.with_options(trained_on.options) == trained_on.model_copy(update=elsewhere):
        return {"options": trained_on.options.model_dump(mode="json")}
    return {"candidates": trained_on.model_dump(mode="json")}


def candidates_of(policy: FrozenPolicy, rules: CandidateKnobs, where: str = "policy") -> CandidateKnobs:
    """What a policy chooses among: its options beside what these rules have, or what it was trained on by itself.

    Raises:
        InputError: its manifest says neither, or it was made for other observations.

    """
    said = policy.origin
    try:
        if "options" in said:
            knobs = rules.with_options(Options.model_validate(said["options"]))
        else:
            knobs = CandidateKnobs.model_validate(said.get("candidates"))
    except ValueError as error:
        key = "options" if "options" in said else "candidates"
        raise InputError(f"{where}: manifest: origin.{key}: expected what a policy was trained on") from error
    difference = native_schema(knobs.k).difference(policy.schema)
    if difference is not None:
        raise InputError(f"{where}: schema: {difference}")
    return knobs
