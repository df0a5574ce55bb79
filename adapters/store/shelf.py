"""Rules and policies of a cluster: kept with their hashes, verified before they are, activated, rolled back.

They lie in the store, not in files, so that a standby takes over with what the leader had. ``shipped`` is what comes
with the package; it is always there and cannot be replaced.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from foreshade.adapters.store.store import Store
from foreshade.adapters.store.surface_tables import activations, artefacts
from foreshade.envs.errors import InputError, PlanError

ArtefactKind = Literal["rules", "policy"]
SHIPPED = "shipped"
_MOST_FILES = 16
_MOST_BYTES = 64 << 20  # of an unpacked policy


@dataclass(frozen=True, slots=True)
class Artefact:
    """Rules or a policy that can be activated."""

    kind: ArtefactKind
    name: str
    sha256: str  # "" of what ships
    added: datetime | None
    added_by: str
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Activation:
    """What was put in force, when, by whom."""

    number: int
    name: str
    sha256: str
    at: datetime
    by: str


Check = Callable[[ArtefactKind, bytes], Mapping[str, Any]]
"""Verifies the bytes and says what they are; raises InputError."""


class Shelf:
    """What can be activated, and what is."""

    def __init__(
        self, store: Store, check: Check, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store, self._check, self._now = store, check, now

    def artefacts(self, kind: ArtefactKind) -> list[Artefact]:
        """Everything on the shelf, the shipped first."""
        columns = [c for c in artefacts.c if c.name != "data"]
        with self._store.reading() as connection:
            rows = connection.execute(
                select(*columns).where(artefacts.c.kind == kind).order_by(artefacts.c.added_s)
            ).all()
        shipped = Artefact(kind, SHIPPED, "", None, "", {"comes with": "the package"})
        return [
            shipped,
            *(Artefact(kind, r.name, r.sha256, _when(r.added_s), r.added_by, r.about) for r in rows),
        ]

    def put(self, kind: ArtefactKind, name: str, data: bytes, by: str) -> Artefact:
        """Verify and keep; a name that is taken is refused, so that what was activated stays what it was.

        Raises:
            InputError: it does not verify; nothing is kept.
            PlanError: the name is taken by something else.

        """
        about = self._check(kind, data)
        now, digest = self._now(), hashlib.sha256(data).hexdigest()
        values = {
            "kind": kind,
            "name": name,
            "sha256": digest,
            "data": data,
            "added_s": now.timestamp(),
            "added_by": by,
            "about": dict(about),
        }
        if name == SHIPPED:
            raise PlanError(f"{kind} {name}: expected another name, that one is the package's")
        try:
            with self._store.writing() as connection:
                connection.execute(artefacts.insert().values(values))
        except IntegrityError as error:
            found = next((a for a in self.artefacts(kind) if a.name == name), None)
            if found is not None and found.sha256 == digest:
                return found
            raise PlanError(f"{kind} {name}: expected a new name, it is taken by other content") from error
        return Artefact(kind, name, digest, now, by, about)

    def data(self, kind: ArtefactKind, name: str) -> bytes | None:
        """The bytes; None = what ships.

        Raises:
            InputError: there is none of that name, or its bytes do not give its hash.

        """
        if name == SHIPPED:
            return None
        with self._store.reading() as connection:
            row = connection.execute(
                select(artefacts.c.data, artefacts.c.sha256).where(
                    artefacts.c.kind == kind, artefacts.c.name == name
                )
            ).first()
        if row is None:
            raise InputError(f"{kind} {name}: expected a name on the shelf, there is none")
        data = bytes(row.data)
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise InputError(
                f"{kind} {name}: expected SHA-256 {row.sha256[:12]}…, the stored bytes give another"
            )
        return data

    def verify(self, kind: ArtefactKind, name: str) -> Mapping[str, Any]:
        """Check what is kept once more; what it says of itself."""
        data = self.data(kind, name)
        return {} if data is None else self._check(kind, data)

    def active(self, kind: ArtefactKind) -> str:
        """Name of what is in force."""
        history = self.history(kind, 1)
        return history[0].name if history else SHIPPED

    def history(self, kind: ArtefactKind, limit: int = 50) -> list[Activation]:
        """Activations, the newest first."""
        with self._store.reading() as connection:
            rows = connection.execute(
                select(activations)
                .where(activations.c.kind == kind)
                .order_by(activations.c.number.desc())
                .limit(limit)
            ).all()
        return [Activation(r.number, r.name, r.sha256, _when(r.at_s), r.by) for r in rows]

    def activate(self, kind: ArtefactKind, name: str, by: str) -> Activation:
        """Put it in force from the next tick on; it is verified once more.

        Raises:
            InputError: there is none of that name, or it does not verify.

        """
        data = self.data(kind, name)
        if data is not None:
            self._check(kind, data)
        return self._record(kind, name, "" if data is None else hashlib.sha256(data).hexdigest(), by)

    def would_activate(self, kind: ArtefactKind, name: str, by: str) -> Activation:
        """What ``activate`` would write down, after the same checks."""
        data = self.data(kind, name)
        if data is not None:
            self._check(kind, data)
        past = self.history(kind, 1)
        digest = "" if data is None else hashlib.sha256(data).hexdigest()
        return Activation(past[0].number + 1 if past else 1, name, digest, self._now(), by)

    def roll_back(self, kind: ArtefactKind, by: str) -> Activation:
        """Go back to what was in force before; doing it twice goes forth again, as the history shows.

        Raises:
            PlanError: nothing was in force before.

        """
        past = self.history(kind, 2)
        if not past:
            raise PlanError(f"{kind}: expected something that was in force before, there is nothing")
        before = past[1].name if len(past) > 1 else SHIPPED
        return self.activate(kind, before, by)

    def _record(self, kind: ArtefactKind, name: str, digest: str, by: str) -> Activation:
        now = self._now()
        with self._store.writing() as connection:
            number = _last(connection, kind) + 1
            connection.execute(
                activations.insert().values(
                    kind=kind, number=number, name=name, sha256=digest, at_s=now.timestamp(), by=by
                )
            )
        return Activation(number, name, digest, now, by)


def _last(connection: Connection, kind: ArtefactKind) -> int:
    found = connection.execute(
        select(func.max(activations.c.number)).where(activations.c.kind == kind)
    ).scalar_one()
    return int(found or 0)


def _when(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def unpack(data: bytes, folder: Path, what: str) -> None:
    """Write the files of a policy's zip; plain names, few files, and not larger than a policy can be.

    Raises:
        InputError: it is no such zip.

    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            members = packed.infolist()
            if len(members) > _MOST_FILES or sum(m.file_size for m in members) > _MOST_BYTES:
                raise InputError(
                    f"{what}: expected at most {_MOST_FILES} files of {_MOST_BYTES >> 20} MiB in all"
                )
            for member in members:
                if (
                    member.is_dir()
                    or Path(member.filename).name != member.filename
                    or member.filename in (".", "..")
                ):
                    raise InputError(f"{what}: expected plain file names, found {member.filename[:80]!r}")
                with packed.open(member) as source:
                    (folder / member.filename).write_bytes(source.read(_MOST_BYTES))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{what}: expected a zip of a frozen policy's files, found {error}") from error


def unpacked(data: bytes, what: str) -> tempfile.TemporaryDirectory[str]:
    """A folder with the files, that goes when it is closed."""
    folder = tempfile.TemporaryDirectory(prefix="foreshade-policy-")
    try:
        unpack(data, Path(folder.name), what)
    except InputError:
        folder.cleanup()
        raise
    return folder
