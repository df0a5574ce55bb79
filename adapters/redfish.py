"""Redfish management controllers through sushy: a host's computer system, a rack's chassis."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from foreshade.adapters.power import PowerError, PowerReading, PowerState
from foreshade.envs.errors import InputError
from foreshade.envs.extras import require

_STATES = {
    "On": PowerState.ON,
    "Off": PowerState.OFF,
    "PoweringOn": PowerState.TURNING_ON,
    "PoweringOff": PowerState.TURNING_OFF,
}


class RedfishPower:
    """One resource of one service: ``…/Systems/ID`` can be switched, ``…/Chassis/ID`` as far as its vendor lets it.

    The session opens with the first call and again after an error, so that a controller may be away for a while.
    """

    def __init__(
        self,
        root: str,
        resource: str,
        *,
        user: str = "",
        password_file: Path | None = None,
        verify: bool = True,
        timeout_s: float = 10.0,
    ) -> None:
        """Remember it; nothing is sent.

        Raises:
            MissingExtraError: sushy is not installed.

        """
        self._sushy: Any = require("sushy", "live", "Redfish management controllers")
        self._root, self._resource = root, resource
        self._user, self._password_file, self._verify = user, password_file, verify
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._found: Any = None

    def read(self) -> PowerReading:
        """Power state; watts and the hottest sensor where the resource or its chassis tells them."""
        with self._lock:
            try:
                found = self._get()
                found.refresh(force=True)
                state = _STATES.get(
                    getattr(found.power_state, "value", str(found.power_state)), PowerState.UNKNOWN
                )
                chassis = found if self._is_chassis else next(iter(self._chassis(found)), None)
                return PowerReading(state, self._watts(chassis), self._hottest(chassis), time.monotonic())
            except (self._sushy.exceptions.SushyError, InputError, OSError) as error:
                raise self._lost("state", error) from error

    def on(self) -> None:
        """Reset type ``On``."""
        self._reset(self._sushy.ResetType.ON, PowerState.ON)

    def off(self, *, force: bool = False) -> None:
        """Reset type ``GracefulShutdown``, or ``ForceOff``; also where an orderly one is not offered."""
        kinds = self._sushy.ResetType
        try:
            self._reset(kinds.FORCE_OFF if force else kinds.GRACEFUL_SHUTDOWN, PowerState.OFF)
        except PowerError:
            if force:
                raise
            self._reset(kinds.FORCE_OFF, PowerState.OFF)

    @property
    def _is_chassis(self) -> bool:
        return "/Chassis/" in self._resource

    def _reset(self, kind: Any, wanted: PowerState) -> None:
        with self._lock:
            try:
                found = self._get()
                found.refresh(force=True)
                if _STATES.get(getattr(found.power_state, "value", "")) is wanted:
                    return
                (found.reset_chassis if self._is_chassis else found.reset_system)(kind)
            except (self._sushy.exceptions.SushyError, InputError, OSError) as error:
                raise self._lost(f"reset {kind.value}", error) from error

    def _lost(self, what: str, error: BaseException) -> PowerError:
        self._found = None
        text = " ".join(str(error).split())
        return PowerError(f"redfish: {self._root}{self._resource}: {what}: expected an answer, found {text}")

    def _get(self) -> Any:
        if self._found is None:
            # With a user sushy opens a session and falls back to basic authentication; without, neither is tried.
            auth = None if self._user else self._sushy.auth.BasicAuth("", "")
            service = self._sushy.Sushy(
                self._root,
                username=self._user or None,
                password=self._password(),
                auth=auth,
                verify=self._verify,
                read_timeout=self._timeout_s,
                connect_timeout=self._timeout_s,
                server_side_retries=0,
            )
            get = service.get_chassis if self._is_chassis else service.get_system
            self._found = get(self._resource)
        return self._found

    def _password(self) -> str | None:
        if self._password_file is None:
            return None
        try:
            return self._password_file.read_text(encoding="utf-8").splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as error:
            raise InputError(f"{self._password_file}: expected a password, found {error}") from error

    def _chassis(self, system: Any) -> Any:
        try:
            return system.chassis
        except (self._sushy.exceptions.SushyError, AttributeError):
            return ()

    def _watts(self, chassis: Any) -> float | None:
        """``PowerControl`` of the chassis' power resource (DMTF DSP0268): what it draws now."""
        try:
            controls = chassis.power.json.get("PowerControl", ()) if chassis is not None else ()
        except (self._sushy.exceptions.SushyError, AttributeError):
            return None
        drawn = [c["PowerConsumedWatts"] for c in controls if c.get("PowerConsumedWatts") is not None]
        return float(sum(drawn)) if drawn else None

    def _hottest(self, chassis: Any) -> float | None:
        try:
            sensors = chassis.thermal.temperatures if chassis is not None else ()
        except (self._sushy.exceptions.SushyError, AttributeError):
            return None
        told = [s.reading_celsius for s in sensors if s.reading_celsius is not None]
        return float(max(told)) if told else None
