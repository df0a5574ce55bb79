"""HAProxy's runtime API on a UNIX socket, as far as dynamic servers need it; written from its management guide."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from pathlib import Path
from typing import Any


class FakeHaproxy:
    """One backend ``app``; records commands. A ``busy`` server cannot be deleted until its sessions are shut."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.servers: dict[str, dict[str, Any]] = {}
        self.said: list[str] = []
        self.busy: set[str] = set()
        fake = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                command = self.rfile.readline().decode().strip()
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write((fake.answer(command) + "\n").encode())

        self._server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Gone, as a process that was killed is."""
        self._server.shutdown()
        self._server.server_close()
        self.path.unlink()

    def answer(self, command: str) -> str:
        """To one line."""
        words = command.split()
        if command == "show stat":
            rows = ["# pxname,svname,scur,qcur,status,weight,check_status"]
            rows += [
                f"app,{name},{3 if name in self.busy else 0},0,{s['status']},{s['weight']},{s['check']}"
                for name, s in self.servers.items()
            ]
            return "\n".join([*rows, "app,BACKEND,0,0,UP,0,"])
        if words[:3] == ["show", "servers", "state"]:
            head = (
                "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
                "srv_port"
            )
            rows = [
                f"3 app {i} {name} {s['address']} 2 0 {s['weight']} 1 {s['port']}"
                for i, (name, s) in enumerate(self.servers.items(), 1)
            ]
            return "\n".join([head, *rows])
        self.said.append(command)
        name = next((w.partition("/")[2] for w in words if w.startswith("app/")), "")
        if words[0] == "add":
            address, _, port = words[3].partition(":")
            self.servers[name] = {
                "address": address,
                "port": port,
                "weight": 0,
                "status": "UP",
                "check": "L7OK",
            }
            return "New server registered."
        if name not in self.servers:
            return "No such server."
        if words[:2] == ["set", "weight"]:
            self.servers[name]["weight"] = int(words[3])
        elif words[:2] == ["set", "server"]:
            self.servers[name]["status"] = {"drain": "DRAIN", "maint": "MAINT", "ready": "UP"}[words[4]]
        elif words[0] == "del":
            if name in self.busy:
                return "Server still has connections attached to it, cannot remove it."
            del self.servers[name]
            return "Server deleted."
        elif words[0] == "shutdown":
            self.busy.discard(name)
        return ""
