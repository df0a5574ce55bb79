"""QEMU's standard guest agent: nothing of our own runs inside a guest.

Every call has libvirt's own timeout, and none is made to an agent whose channel is not connected: libvirt would hold
the domain's job until the timeout, and with it every other call to that domain.
"""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from foreshade.adapters.libvirt_world.library import agent_library, library, said
from foreshade.envs.errors import WorldError


class AgentError(WorldError):
    """The guest agent is not there, does not answer, or cannot do what it was asked."""


def command(domain: Any, execute: str, timeout_s: int, **arguments: Any) -> Any:
    """One command; its return value.

    Raises:
        AgentError: no answer within the timeout, or the agent's own error.

    """
    libvirt = library()
    message: dict[str, Any] = {"execute": execute}
    if arguments:
        message["arguments"] = arguments
    try:
        told = agent_library().qemuAgentCommand(domain, json.dumps(message), timeout_s, 0)
        return json.loads(told)["return"]
    except (libvirt.libvirtError, ValueError, KeyError, TypeError) as error:
        raise AgentError(f"guest agent: {execute}: {said(error)}") from error


def answers(domain: Any, timeout_s: int) -> bool:
    """Whether the agent is there."""
    try:
        command(domain, "guest-ping", timeout_s)
    except AgentError:
        return False
    return True


def run(domain: Any, argv: tuple[str, ...], timeout_s: int, limit_s: float = 20.0) -> str:
    """Run a program in the guest and wait for its end; what it printed.

    Raises:
        AgentError: it cannot be run, does not end within ``limit_s``, or ends with another status than 0.

    """
    begun = command(
        domain, "guest-exec", timeout_s, path=argv[0], arg=list(argv[1:]), **{"capture-output": True}
    )
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        state = command(domain, "guest-exec-status", timeout_s, pid=begun["pid"])
        if state["exited"]:
            printed = base64.b64decode(state.get("out-data", "")).decode(errors="replace").strip()
            if state.get("exitcode", 0) != 0:
                raise AgentError(f"guest agent: {argv[0]}: expected status 0, found {state.get('exitcode')}")
            return printed
        time.sleep(0.02)
    raise AgentError(f"guest agent: {argv[0]}: expected it to end within {limit_s:.0f} s, found it running")


def address(domain: Any) -> str:
    """The guest's first address that is not its loop-back's; "" where nobody knows one yet.

    The agent is asked first, then the leases of libvirt's own networks, then the host's neighbour table.
    """
    libvirt = library()
    for source in (
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    ):
        try:
            found = domain.interfaceAddresses(source)
        except libvirt.libvirtError:
            continue
        for name, card in sorted(found.items()):
            for one in card.get("addrs") or ():
                if name != "lo" and one["type"] == libvirt.VIR_IP_ADDR_TYPE_IPV4:
                    return str(one["addr"])
    return ""


def online_vcpus(domain: Any) -> int | None:
    """CPUs that the guest uses of those it has; None where the agent cannot say."""
    libvirt = library()
    try:
        told = domain.guestVcpus()
    except libvirt.libvirtError:
        return None
    return _members(told.get("online", ""))


def set_online_vcpus(domain: Any, wanted: int) -> None:
    """Have the guest use its first ``wanted`` CPUs and no others; CPU 0 always stays.

    Raises:
        AgentError: the agent cannot, or the guest does not let go of one.

    """
    libvirt = library()
    try:
        told = domain.guestVcpus()
        there, online = _numbers(told.get("vcpus", "")), _numbers(told.get("online", ""))
        on = [cpu for cpu in there[:wanted] if cpu not in online]
        off = [cpu for cpu in there[wanted:] if cpu in online and cpu in _numbers(told.get("offlinable", ""))]
        if on:
            domain.setGuestVcpus(_listed(on), 1)
        if off:
            domain.setGuestVcpus(_listed(off), 0)
    except libvirt.libvirtError as error:
        raise AgentError(f"guest agent: CPUs: {said(error)}") from error
    now = online_vcpus(domain)
    if now != min(wanted, len(there)):
        raise AgentError(f"guest agent: expected {wanted} CPUs in use, found {now}")


def _numbers(text: str) -> list[int]:
    """CPU numbers of a list such as 0-2,5."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def _members(text: str) -> int:
    return len(_numbers(text))


def _listed(cpus: list[int]) -> str:
    return ",".join(str(cpu) for cpu in cpus)
