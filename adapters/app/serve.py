"""The API beside a controller: started before the lease is waited for, so that a standby answers too."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from foreshade.adapters.app.control_config import ControlConfig
from foreshade.adapters.control_service import ControlService
from foreshade.adapters.store.lease import Lease
from foreshade.envs.extras import require

LOG = logging.getLogger(__name__)


def serve(
    config: ControlConfig, service: ControlService, lease: Lease, *, hint: str = ""
) -> Callable[[], None]:
    """Serve what the section ``api`` says; returns what ends it.

    At a terminal, and where nobody has made a token yet, one of twelve hours is shown in the address of the page.
    Where standard error is a file or systemd's journal no secret goes there.

    Raises:
        InputError: the address, a certificate, a key set or a secret cannot be used.

    """
    if not config.api.enabled:
        return lambda: None
    for module in ("fastapi", "uvicorn"):
        require(module, "api", "the API (api.enabled: false does without)")
    from foreshade.adapters.app.api.server import ApiServer, build, first_token  # noqa: PLC0415  of an extra

    world = "libvirt" if config.libvirt is not None else "simulated"
    surface = build(
        config.api,
        service,
        world,
        leader=lambda: lease.epoch > 0,
        windows=config.guard.windows,
        tracing=config.tracing,
    )
    server = ApiServer(config.api, surface)
    server.start()
    text = first_token(surface) if sys.stderr.isatty() else None
    if text is None:
        sys.stderr.write(f"foreshade: {server.url}/ (with a token: foreshade token create NAME{hint})\n")
    else:
        sys.stderr.write(f"foreshade: {server.url}/#token={text}\n")
    sys.stderr.flush()
    return server.stop
