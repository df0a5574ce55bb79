"""A management controller over HTTP as Redfish describes it (DMTF DSP0266, DSP0268), as far as switching needs it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Bmc:
    """Systems that are switched by callbacks, in one chassis with a power meter and a thermometer."""

    def __init__(
        self, systems: dict[str, str], switch: Callable[[str, str], None] = lambda _name, _kind: None
    ) -> None:
        """Serve on a free port of the loop-back.

        Args:
            systems: power state by name, ``On`` or ``Off``.
            switch: told (name, reset type) before the state changes.

        """
        self.systems = systems
        self.chassis = "On"
        self.watts: float | None = 321.0
        self.celsius = 24.0
        self.resets: list[tuple[str, str]] = []
        self.broken = False
        bmc = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._say(200, bmc.get(self.path.rstrip("/")))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                said = json.loads(self.rfile.read(length) or b"{}")
                _, _, kind, name, *_ = self.path.strip("/").split("/")
                bmc.resets.append((name, said["ResetType"]))
                switch(name, said["ResetType"])
                state = "On" if said["ResetType"] in ("On", "ForceOn") else "Off"
                if kind == "Chassis":
                    bmc.chassis = state
                else:
                    bmc.systems[name] = state
                self._say(204, None)

            def _say(self, status: int, body: Any) -> None:
                if bmc.broken or (status == 200 and body is None):
                    status, body = (500 if bmc.broken else 404), {"error": {"message": "out of order"}}
                data = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def root(self) -> str:
        """Address of the service."""
        return f"http://127.0.0.1:{self._server.server_port}/redfish/v1"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()

    def get(self, path: str) -> Any:
        """A resource; None = there is none."""
        top = "/redfish/v1"
        collection = {"Systems": list(self.systems), "Chassis": ["1"]}
        if path in (top, ""):
            links = {name: {"@odata.id": f"{top}/{name}"} for name in collection}
            return {
                "Id": "RootService",
                "Name": "Root",
                "RedfishVersion": "1.6.0",
                "UUID": "1",
                "Links": {},
                **links,
            }
        parts = path.removeprefix(top).strip("/").split("/")
        if len(parts) == 1 and parts[0] in collection:
            members = [{"@odata.id": f"{top}/{parts[0]}/{name}"} for name in collection[parts[0]]]
            return {"Name": parts[0], "Members": members, "Members@odata.count": len(members)}
        if parts[0] == "Systems" and len(parts) == 2 and parts[1] in self.systems:
            return {
                "@odata.id": path,
                "Id": parts[1],
                "Name": parts[1],
                "PowerState": self.systems[parts[1]],
                "Links": {"Chassis": [{"@odata.id": f"{top}/Chassis/1"}]},
                "Actions": {"#ComputerSystem.Reset": _action(f"{path}/Actions/ComputerSystem.Reset")},
            }
        if path == f"{top}/Chassis/1":
            return {
                "@odata.id": path,
                "Id": "1",
                "Name": "rack",
                "ChassisType": "Rack",
                "PowerState": self.chassis,
                "Power": {"@odata.id": f"{path}/Power"},
                "Thermal": {"@odata.id": f"{path}/Thermal"},
                "Actions": {"#Chassis.Reset": _action(f"{path}/Actions/Chassis.Reset")},
            }
        if path == f"{top}/Chassis/1/Power":
            drawn = [] if self.watts is None else [{"MemberId": "0", "PowerConsumedWatts": self.watts}]
            return {"Id": "Power", "Name": "Power", "PowerControl": drawn, "PowerSupplies": []}
        if path == f"{top}/Chassis/1/Thermal":
            sensor = {"MemberId": "0", "Name": "inlet", "ReadingCelsius": self.celsius}
            return {"Id": "Thermal", "Name": "Thermal", "Temperatures": [sensor], "Fans": []}
        return None


def _action(target: str) -> dict[str, Any]:
    return {
        "target": target,
        "ResetType@Redfish.AllowableValues": ["On", "ForceOff", "GracefulShutdown", "ForceOn"],
    }
