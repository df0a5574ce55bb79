"""A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, on a socket in it, ended with its block."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self


def server_programs() -> Path | None:
    """Folder of initdb and postgres; None = PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: path.parts[4])
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


class Postgres:
    """Starts it, says its URL, asks it, stops it."""

    def __init__(self) -> None:
        programs = server_programs()
        if programs is None:
            raise RuntimeError("PostgreSQL IS MISSING: apt-get install postgresql")
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="foreshade-postgres-"))
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As SQLAlchemy takes it."""
        return f"postgresql+psycopg://foreshade@/postgres?host={self.folder}"

    @property
    def conninfo(self) -> str:
        """As libpq takes it."""
        return f"host={self.folder} user=foreshade dbname=postgres"

    def __enter__(self) -> Self:
        user = self._user()
        if user:
            record = pwd.getpwnam("postgres")
            os.chown(self.folder, record.pw_uid, record.pw_gid)
        data = self.folder / "data"
        initdb = [
            self._programs / "initdb",
            "-D",
            data,
            "-U",
            "foreshade",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        subprocess.run([*map(str, initdb)], check=True, capture_output=True, cwd=self.folder, **user)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = ["-D", self.folder / "data", "-h", "", "-k", self.folder]
        settings = ["-c", "fsync=off", "-c", "max_connections=60"]
        command = [*map(str, [self._programs / "postgres", *options]), *settings]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, **self._user())
        until = time.monotonic() + 120.0
        while True:
            try:
                self.ask("SELECT 1")
                return
            except Exception:
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.1)

    def stop(self) -> None:
        """End the server at once."""
        if self._server is not None:
            self._server.terminate()
            try:
                self._server.wait(10.0)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
            self._server = None

    def ask(self, query: str) -> Any:
        """The one value of a query."""
        return self.ask_all(query)[0]

    def ask_all(self, query: str, columns: int = 1) -> list[Any]:
        """The first column of a query, or its rows."""
        import psycopg  # noqa: PLC0415  only where there is a server

        with psycopg.connect(self.conninfo) as connection:
            rows = connection.execute(query).fetchall()
        return [row[0] for row in rows] if columns == 1 else [tuple(row[:columns]) for row in rows]

    def _user(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
