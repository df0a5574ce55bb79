"""HAProxy's runtime API as a ``Traffic``: guests are dynamic servers of a backend that the operator declares.

The backend needs ``balance roundrobin`` (or another algorithm that takes dynamic servers), a health check
(``option httpchk``) and a ``timeout check`` that a guest capped to a tenth of a CPU can keep; HAProxy 2.5 or later.
Commands are single lines, answered and closed (management guide, 9.3). Weights there are whole numbers of 0 to 256,
so relative ones are scaled by a power of two that leaves most of that range: all of a backend together, whenever one
changes.
"""

from __future__ import annotations

import csv
import io
import math
import re
import socket
import threading
import time
from collections.abc import Mapping

from foreshade.adapters.traffic import Server, TrafficError

_MOST_WEIGHT = 256
_FINE = 64.0  # what a weight of 1 becomes where all fit
_NAME = re.compile(r"^[A-Za-z0-9_.:-]+$")


class HaproxyTraffic:
    """One HAProxy process by its runtime API."""

    def __init__(
        self, api: str, *, timeout_s: float = 5.0, check_ms: int = 500, remove_s: float = 5.0
    ) -> None:
        """Remember where it is; nothing is sent.

        Args:
            api: path of a UNIX socket with ``level admin``, or ``host:port``.
            timeout_s: for one command.
            check_ms: between health checks of a server that we add.
            remove_s: how long a server that still has connections is asked to let go of them.

        """
        self._api, self._timeout_s, self._check_ms, self._remove_s = api, timeout_s, check_ms, remove_s
        self._lock = threading.Lock()  # weights are read, scaled and set: one at a time
        self._weights: dict[str, dict[str, float]] = {}  # relative ones that we set, finer than HAProxy's

    def servers(self, app: str) -> Mapping[str, Server]:
        """The backend's servers from ``show stat``."""
        return {name: server for name, (server, _) in self._table(app).items()}

    def add(self, app: str, name: str, address: str, port: int) -> None:
        """A dynamic server at weight 0, its checks running; another address than before is another server."""
        with self._lock:
            known = self._table(app).get(name)
            if known is not None:
                if (known[0].address, known[0].port) == (address, port):
                    return
                self._remove(app, name)
            where = self._where(app, name)
            told = self._ask(
                f"add server {where} {address}:{port} check inter {self._check_ms}ms rise 1 fall 2 weight 0"
            )
            if "registered" not in told.lower():
                raise TrafficError(f"haproxy: {where}: expected a new server, found: {told or 'no answer'}")
            self._quiet(f"enable health {where}")
            self._quiet(f"enable server {where}")
            self._weights.setdefault(app, {})[name] = 0.0

    def weigh(self, app: str, weights: Mapping[str, float]) -> None:
        """Scale the whole backend's weights so that the ratios hold, and set those that change."""
        with self._lock:
            table = self._table(app)
            for name in weights:
                if name not in table:
                    raise TrafficError(f"haproxy: expected a server {app}/{name}, found none")
            fine = self._weights.setdefault(app, {})
            relative = {name: server.weight for name, (server, _) in table.items()}
            relative.update({name: w for name, w in fine.items() if name in table})
            relative.update(weights)
            scale = _scale(relative.values())
            wanted = {name: _whole(weight, scale) for name, weight in relative.items()}
            # Those that get more come first: no moment leaves the application without weight.
            for name in sorted(wanted, key=lambda name: table[name][1] - wanted[name]):
                if table[name][0].draining and name in weights:
                    self._quiet(f"set server {self._where(app, name)} state ready")
                if wanted[name] != table[name][1]:
                    self._quiet(f"set weight {self._where(app, name)} {wanted[name]}")
            self._weights[app] = relative

    def drain(self, app: str, name: str) -> None:
        """State ``drain``: health checks go on, no new requests."""
        if name in self._table(app):
            self._quiet(f"set server {self._where(app, name)} state drain")

    def remove(self, app: str, name: str) -> None:
        """Maintenance, then deletion; open connections that outlast ``remove_s`` are cut."""
        with self._lock:
            if name in self._table(app):
                self._remove(app, name)

    def _remove(self, app: str, name: str) -> None:
        where = self._where(app, name)
        self._quiet(f"set server {where} state maint")
        end = time.monotonic() + self._remove_s
        cut = False
        while True:
            told = self._ask(f"del server {where}")
            if "deleted" in told.lower() or "no such server" in told.lower():
                self._weights.get(app, {}).pop(name, None)
                return
            if time.monotonic() > end:
                if cut:
                    raise TrafficError(f"haproxy: {where}: expected it deleted, found: {told}")
                self._quiet(f"shutdown sessions server {where}")
                cut, end = True, time.monotonic() + self._remove_s
            time.sleep(0.05)

    def _table(self, app: str) -> dict[str, tuple[Server, int]]:
        """Servers by name, each with HAProxy's own whole weight."""
        rows = list(csv.DictReader(io.StringIO(self._ask("show stat").lstrip("# "))))
        mine = [row for row in rows if row.get("pxname") == app]
        if not any(row["svname"] == "BACKEND" for row in mine):
            raise TrafficError(f"haproxy: {self._api}: expected a backend {app!r}, found none of that name")
        addresses = self._addresses(app)
        fine = self._weights.get(app, {})
        table = {}
        for row in mine:
            name = row["svname"]
            if name in ("FRONTEND", "BACKEND") or name not in addresses:
                continue
            address, port, weight = addresses[name]
            status = row["status"]
            told = fine.get(name)
            same = told is not None and _whole(told, _scale(fine.values())) == weight
            server = Server(
                address=address,
                port=port,
                weight=told if same and told is not None else weight / _FINE,
                healthy=status.startswith(("UP", "DRAIN", "no check"))
                and row.get("check_status") not in _FAILED,
                draining=status.startswith(("DRAIN", "MAINT")),
                open_requests=int(row.get("scur") or 0) + int(row.get("qcur") or 0),
            )
            table[name] = (server, weight)
        return table

    def _addresses(self, app: str) -> dict[str, tuple[str, int, int]]:
        """Address, port and whole weight from ``show servers state``, whose columns its own header names."""
        lines = self._ask(f"show servers state {app}").splitlines()
        header = next((line for line in lines if line.startswith("#")), "#").lstrip("# ").split()
        found = {}
        for line in lines:
            words = line.split()
            if line.startswith("#") or len(words) < len(header) or len(words) < 10:
                continue
            row = dict(zip(header, words, strict=False))
            # Drained by weight, a server's own weight stays: the user's is what counts.
            weight = int(row["srv_uweight"])
            found[row["srv_name"]] = (row["srv_addr"], int(row["srv_port"]), weight)
        return found

    def _where(self, app: str, name: str) -> str:
        for word in (app, name):
            if not _NAME.match(word):
                raise TrafficError(f"haproxy: expected a name of letters, digits, _.:-, found {word!r}")
        return f"{app}/{name}"

    def _quiet(self, command: str) -> None:
        """A command that says nothing where it worked."""
        told = self._ask(command)
        if told and "no such session" not in told.lower():
            raise TrafficError(f"haproxy: {command}: expected no complaint, found: {told}")

    def _ask(self, command: str) -> str:
        host, colon, port = self._api.rpartition(":")
        local = "/" in self._api or not colon
        try:
            with socket.socket(socket.AF_UNIX if local else socket.AF_INET) as wire:
                wire.settimeout(self._timeout_s)
                wire.connect(self._api if local else (host, int(port)))
                wire.sendall(command.encode() + b"\n")
                told = b""
                while block := wire.recv(65_536):
                    told += block
        except (OSError, ValueError) as error:
            raise TrafficError(
                f"haproxy: {self._api}: expected an answer to {command.split(maxsplit=1)[0]}, found {error}"
            ) from error
        return told.decode(errors="replace").strip()


_FAILED = frozenset({"L4TOUT", "L4CON", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7STS"})


def _scale(weights: object) -> float:
    """What relative weights are multiplied by: the finest power of two under which the largest still fits."""
    largest = max((float(w) for w in weights), default=1.0)  # type: ignore[attr-defined]
    if largest <= 0.0:
        return _FINE
    return min(_FINE, 2.0 ** math.floor(math.log2(_MOST_WEIGHT / largest)))


def _whole(weight: float, scale: float) -> int:
    """HAProxy's weight; what has any keeps at least 1."""
    return 0 if weight <= 0.0 else max(1, min(_MOST_WEIGHT, round(weight * scale)))
