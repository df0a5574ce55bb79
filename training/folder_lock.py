"""One command at a time in a folder that it goes on with: two would write over each other's results."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreshade.envs.errors import InputError

LOCK = ".lock"  # stays, empty: who removed it could remove one that another has just taken


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The folder is ours until the end, however that comes: the lock is the kernel's, and ends with the process.

    Raises:
        InputError: another command works in it, or it cannot be made or written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = (folder / LOCK).open("a", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder}: expected a folder that can be written, {error.strerror}") from error
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: expected a folder that no other command works in, found one at it: "
                "wait for its end, or give another folder"
            ) from None
        except OSError as error:
            raise InputError(f"{folder}: expected a folder that can be locked, {error.strerror}") from error
        yield
