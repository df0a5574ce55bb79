"""What a configuration names, looked for before a controller is started or told to read it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from foreshade.adapters.app.control_config import ControlConfig, read_secret
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.envs.errors import InputError
from foreshade.envs.scenarios.load import load_scenario

_STORES = ("sqlite", "postgresql")


def check(config: ControlConfig) -> str:
    """Read every file that is named; nothing is opened for writing and nobody is called.

    Returns:
        Why the rules would decide in HAM's place, as a controller then begins all the same; "" = they would not.

    Raises:
        InputError: a scenario, rules, components or secret that cannot be used, a certificate that cannot
            be read, or a store's address that is none.

    """
    if config.simulated is not None:
        said = load_scenario(config.simulated.scenario, config.simulated.variant)
        if said.engine != "foreshade":
            raise InputError(
                f"simulated.scenario {said.name}: expected engine foreshade, found {said.engine}"
            )
    _check_store(config.store_url)
    agent = config.agent
    make_agent("rules", AgentFiles(rules=agent.rules, components=agent.components))  # beside HAM, too
    for key, path in _files(config):
        try:
            path.read_bytes()
        except OSError as error:
            raise InputError(f"{key} {path}: expected a file that can be read, {error.strerror}") from error
    for hook in config.api.webhooks:
        read_secret(hook.secret_file, f"api.webhooks {hook.name}: secret_file")
    try:
        make_agent(agent.name, AgentFiles(policy=agent.policy))
    except InputError as error:
        return str(error)
    return ""


def _files(config: ControlConfig) -> Iterator[tuple[str, Path]]:
    named = {"tls_certificate": config.api.tls_certificate, "tls_key": config.api.tls_key}
    if config.api.oidc is not None:
        named["oidc.jwks_file"] = config.api.oidc.jwks_file
    for key, path in named.items():
        if path is not None:
            yield f"api.{key}", path


def _check_store(where: str) -> None:
    if "://" not in where:
        return  # a path: SQLite's
    try:
        found = make_url(where).get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise InputError("store: expected a path or a database URL, found neither") from error
    if found not in _STORES:
        raise InputError(f"store: expected a path or a URL of {' or '.join(_STORES)}, found one of {found}")
