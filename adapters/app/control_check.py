"""What a configuration names, looked for before a controller is started or told to read it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from foreshade.adapters.app.control_config import NO_WORLD, ControlConfig, read_secret
from foreshade.adapters.app.simulated_site import simulated_site
from foreshade.adapters.libvirt_world.connection import unattended
from foreshade.adapters.libvirt_world.guest_template import read_template
from foreshade.adapters.libvirt_world.settings import LibvirtSettings
from foreshade.agents.baselines.registry import AgentFiles, make_agent
from foreshade.envs.errors import InputError

_STORES = ("sqlite", "postgresql")


def check(config: ControlConfig) -> str:
    """Read every file that is named; nothing is opened for writing and nobody is called.

    Returns:
        Why the rules would decide in HAM's place, as a controller then begins all the same; "" = they would not.

    Raises:
        InputError: no world, a scenario, workload, template, rules, components or secret that cannot be used, a
            certificate that cannot be read, or an address of a host or store that is none.

    """
    if config.simulated is not None:
        simulated_site(config.simulated)
    elif config.libvirt is not None:
        _check_libvirt(config.libvirt)
    else:
        raise InputError(NO_WORLD)
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


def _check_libvirt(said: LibvirtSettings) -> None:
    for host in said.hosts:
        for uri in {host.uri, host.peer_uri or host.uri}:
            try:
                unattended(uri)
            except InputError as error:
                raise InputError(f"libvirt: host {host.name}: {error}") from error
    for template in said.templates.values():
        for path in (template.domain, template.microvm):
            if path is not None:
                read_template(path)
    for key, path in _libvirt_secrets(said):
        if path is not None:
            read_secret(path, f"libvirt: {key}")


def _libvirt_secrets(said: LibvirtSettings) -> Iterator[tuple[str, Path | None]]:
    for host in said.hosts:
        yield f"host {host.name}: password_file", host.password_file
        if host.power is not None:
            yield f"host {host.name}: power.password_file", host.power.password_file
    for name, rack in said.racks.items():
        if rack.power is not None:
            yield f"rack {name}: power.password_file", rack.power.password_file
    if said.prometheus is not None:
        yield "prometheus.token_file", said.prometheus.token_file


def _check_store(where: str) -> None:
    if "://" not in where:
        return  # a path: SQLite's
    try:
        found = make_url(where).get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise InputError("store: expected a path or a database URL, found neither") from error
    if found not in _STORES:
        raise InputError(f"store: expected a path or a URL of {' or '.join(_STORES)}, found one of {found}")
