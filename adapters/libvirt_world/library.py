"""libvirt's own Python module, imported in one place, and what its errors mean to us."""

from __future__ import annotations

import threading
from typing import Any

from foreshade.envs.errors import WorldError
from foreshade.envs.extras import require

_quiet = False
_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


class NoAnswerError(WorldError):
    """A host is not connected, or did not answer in time: what it did meanwhile is unknown."""


def library() -> Any:
    """The module ``libvirt``.

    Raises:
        MissingExtraError: it is not installed. It is built from source: Debian's ``libvirt-dev``, ``pkg-config``
            and a compiler must be there.

    """
    global _quiet  # noqa: PLW0603 - libvirt has one error handler per process
    libvirt = require(
        "libvirt", "live", "libvirt hosts (needs Debian's libvirt-dev and pkg-config to be built)"
    )
    if not _quiet:
        _quiet = True
        libvirt.registerErrorHandler(lambda *_: None, None)  # errors are raised: they need not be printed too
    return libvirt


def agent_library() -> Any:
    """The module ``libvirt_qemu``, of the same distribution: commands to the guest agent."""
    return require("libvirt_qemu", "live", "QEMU's guest agent")


def start_event_loop() -> None:
    """Run libvirt's default event loop in a thread of this process, once; without it keep-alive does not work.

    Must come before the first connection is opened.
    """
    global _loop  # noqa: PLW0603 - libvirt has one event loop per process
    libvirt = library()
    with _loop_lock:
        if _loop is not None:
            return
        libvirt.virEventRegisterDefaultImpl()

        def run() -> None:
            while True:
                libvirt.virEventRunDefaultImpl()

        # The loop only wakes for a file or a timer: one timer lets it see what other threads add.
        libvirt.virEventAddTimeout(500, lambda *_: None, None)
        _loop = threading.Thread(target=run, name="libvirt events", daemon=True)
        _loop.start()


def is_lost(error: Any) -> bool:
    """Whether an error says that the connection, and not what was asked of it, is at fault."""
    libvirt = library()
    if error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE):
        return True
    return error.get_error_code() in (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_ERR_INVALID_CONN)


def is_missing(error: Any) -> bool:
    """Whether an error says that there is no such domain."""
    return bool(error.get_error_code() == library().VIR_ERR_NO_DOMAIN)


def is_unsupported(error: Any) -> bool:
    """Whether an error says that this host, driver or guest can never do it, however often it is asked."""
    libvirt = library()
    return error.get_error_code() in (
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    )


def said(error: BaseException) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
