"""The file that a simulated cluster is replayed from: one JSON object a line, only ever appended to."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from foreshade.envs.errors import InputError, WorldError


class WorldLog:
    """Open from the first ``append`` until ``close``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn_lines = 0  # that were cut off when it was read
        self._fd = -1

    def read(self) -> Iterator[dict[str, Any]]:
        """Every whole line; what a crash left of the last one is cut off.

        Raises:
            InputError: a line is no JSON.

        """
        if not self.path.exists():
            return
        whole, newline, torn = self.path.read_bytes().rpartition(b"\n")
        if torn:
            self.torn_lines = 1
            os.truncate(self.path, len(whole) + len(newline))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise InputError(
                    f"{self.path}:{number}: expected a line of JSON, found {line[:40]!r}"
                ) from error

    def open(self) -> None:
        """For writing; made with its folder where there is none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)

    def append(self, entry: Mapping[str, Any]) -> None:
        """One line more, whole or not at all.

        Raises:
            WorldError: it cannot be written.

        """
        if self._fd < 0:
            raise WorldError(f"{self.path}: the world is closed")
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        size = os.fstat(self._fd).st_size
        try:
            if os.write(self._fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            os.ftruncate(self._fd, size)
            raise WorldError(f"{self.path}: cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
