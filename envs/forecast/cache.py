"""Where forecast tables are kept, and how much of them: those longest not used go when others need the room."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path

from foreshade.envs.errors import InputError

CACHE_VARIABLE = "FORESHADE_CACHE"
LIMIT_VARIABLE = "FORESHADE_CACHE_GIB"
DEFAULT_GIB = 20.0
_GIB = 1024.0**3

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where tables are kept: below FORESHADE_CACHE, else below the user's cache folder (XDG_CACHE_HOME)."""
    told = os.environ.get(CACHE_VARIABLE)
    base = (
        Path(told) if told else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreshade"
    )
    return base / "forecasts"


def cache_limit_bytes() -> float:
    """How much the tables there may take together: FORESHADE_CACHE_GIB, else 20 GiB.

    Raises:
        InputError: it is no positive number.

    """
    said = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_GIB)
    try:
        limit = float(said)
    except ValueError:
        limit = math.nan
    if not limit > 0:
        raise InputError(f"{LIMIT_VARIABLE}: expected GiB above 0, found {said!r}")
    return limit * _GIB


def note_use(files: Sequence[Path]) -> None:
    """These are used now, so they go last; a cache that is only to be read stays as it is."""
    for path in files:
        with contextlib.suppress(OSError):
            os.utime(path)


def make_room(folder: Path, needed_bytes: float, limit_bytes: float) -> None:
    """Delete tables, the longest not used first, until so much more stays within the limit.

    What somebody plays by stays mapped until they are done with it. One table that is larger than the limit is kept
    until the next is made, and a warning says so.
    """
    if needed_bytes > limit_bytes:
        _log.warning(
            "forecast table: %s: expected at least %.3g GiB, which one table takes, found %.3g: it is made again "
            "whenever another was made in between",
            LIMIT_VARIABLE,
            needed_bytes / _GIB,
            limit_bytes / _GIB,
        )
    kept = []
    for path in folder.glob("[!.]*.npy"):
        with contextlib.suppress(FileNotFoundError):  # somebody else makes room, too
            stat = path.stat()
            kept.append((stat.st_mtime, stat.st_size, path))
    over = sum(size for _, size, _ in kept) + needed_bytes - limit_bytes
    for _, size, path in sorted(kept):
        if over <= 0:
            return
        path.unlink(missing_ok=True)
        over -= size
