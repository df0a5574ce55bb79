"""Keeps the lease while the loop is busy: one migration may take longer than a lease is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from foreshade.adapters.store.lease import Lease
from foreshade.envs.errors import FenceError, ForeshadeError

log = logging.getLogger(__name__)


def keep_lease(lease: Lease, length_s: float) -> Callable[[], None]:
    """Renew at a third of its length, until the function that is returned is called or the lease is another's."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(length_s / 3.0):
            try:
                lease.renew()
            except FenceError as error:
                log.error("the lease is lost: %s", error)
                return
            except ForeshadeError as error:  # it holds until it expires: tried again before that
                log.warning("the lease was not renewed: %s", error)

    thread = threading.Thread(target=keep, name="lease", daemon=True)
    thread.start()

    def stop() -> None:
        over.set()
        thread.join(5.0)

    return stop
