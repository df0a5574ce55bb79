"""Names of the codes in ``ClusterState``'s columns; the order is that of the native enums."""

from __future__ import annotations

from enum import IntEnum


class Resource(IntEnum):
    """Column of every ``(n, 5)`` array."""

    CPU = 0  # MHz
    MEMORY = 1  # MiB
    DISK = 2  # MiB/s, read + write
    NETWORK = 3  # Mbit/s, received + sent
    GPU = 4  # GPUs


class HostState(IntEnum):
    """What a host is doing."""

    OFF = 0  # no power but the management controller's
    BOOTING = 1
    ON = 2
    SHUTTING_DOWN = 3
    ASLEEP = 4  # suspended to memory
    WAKING = 5
    FAILED = 6  # under repair
    UNRENTED = 7  # a cloud host that we do not pay for
    RENTING = 8  # ordered, not yet there
    MAINTENANCE = 9  # powered, in the hands of people


class VmState(IntEnum):
    """What a VM is doing."""

    ABSENT = 0  # the slot is free, or the VM has left
    PENDING = 1  # requested, no host yet
    BOOTING = 2
    RUNNING = 3
    MIGRATING = 4  # serving on its source while it is copied
    STOPPING = 5
    PAUSED = 6  # a warm spare
    FAILED = 7  # lost its host; waits to be restarted


class VmKind(IntEnum):
    """What a VM is for."""

    PRODUCTION = 0
    SHADOW = 1  # warm clone of a production VM at a fraction of its allocation
    MICRO = 2  # small, short-lived helper of an application
