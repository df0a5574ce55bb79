"""One way to read the files of a trace: a folder, an archive or a single file, without unpacking by hand.

Members are streamed once, in the order in which they lie in the archive: xz cannot seek, so a second look
at an earlier member would mean decompressing from the start. What a file is, its first bytes say; a name
that promises something else is an error, because it is usually a download that failed.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import queue
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from foreshade.envs.errors import WorkloadError

#: First bytes of each container (RFC 1952, the .xz format 1.1.0, APPNOTE.TXT, bzip2).
_MAGIC = {"gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "zip": b"PK\x03\x04", "bzip2": b"BZh"}
_SUFFIXES = {".gz": "gzip", ".tgz": "gzip", ".xz": "xz", ".txz": "xz", ".zip": "zip", ".bz2": "bzip2"}
#: Batches decompressed ahead of their reader: enough to keep both threads busy, little enough memory.
_AHEAD = 4
_BATCH_BYTES = 1 << 20
_DAMAGE = (EOFError, OSError, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


def locate(text: str) -> tuple[Path, str]:
    """Split ``PATH`` or ``ARCHIVE/MEMBER`` into what lies on disk and the folder inside the archive.

    Raises:
        WorkloadError: nothing lies there, or it may not be looked at.

    """
    path = Path(text)
    inner: list[str] = []
    try:
        while not path.exists():
            if path.parent == path:
                raise WorkloadError(f"{text}: no such file or folder")
            inner.insert(0, path.name)
            path = path.parent
        if inner and path.is_dir():
            raise WorkloadError(f"{text}: no such file or folder; {path} has no {inner[0]!r}")
    except OSError as error:
        raise WorkloadError(f"{text}: cannot be opened: {error.strerror}") from error
    return path, "/".join(inner)


def read_members(
    path: Path, inner: str = "", wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of every wanted file below ``path``, decompressed.

    Names are relative to ``path`` with ``/`` between folders and without a final ``.gz``. With ``inner`` only
    what lies in a folder of that name (or the file itself) is yielded. Hidden files are passed over.

    Raises:
        WorkloadError: the archive is truncated, damaged or not what its name says; no permission.

    """

    def chosen(name: str) -> bool:
        parts = PurePosixPath(name).parts
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        inside = not inner or f"/{name}/".find(f"/{inner}/") >= 0
        return not hidden and inside and wanted(name)

    last = "the start"
    kind = "readable folder"
    try:
        if path.is_dir():
            source = _folder(path, chosen)
        else:
            kind = "archive"
            kind = _kind(path)
            source = _ahead(_members(path, kind, chosen))
        for name, data in source:
            last = name
            yield name, data
    except WorkloadError:
        raise
    except PermissionError as error:
        raise WorkloadError(f"{error.filename or path}: cannot be read: {error.strerror}") from error
    except _DAMAGE as error:
        raise WorkloadError(
            f"{path}: expected a complete {kind}, found it truncated or damaged after {last} ({error})"
        ) from error


def read_file(text: str, wanted: Callable[[str], bool], expected: str) -> tuple[str, bytes]:
    """Read the one file below ``text`` whose name is wanted; ``expected`` says what in the error.

    Raises:
        WorkloadError: no such file, more than one, or it cannot be read.

    """
    path, inner = locate(text)
    single = not path.is_dir() and _kind(path) in {"plain file", "gzip file", "xz file", "bzip2 file"}
    found = list(read_members(path, inner, lambda name: single or wanted(name)))
    if not found:
        raise WorkloadError(f"{text}: expected {expected}, found no such file")
    if len(found) > 1:
        names = ", ".join(name for name, _ in found[:4])
        raise WorkloadError(f"{text}: expected one {expected}, found {len(found)}: {names}")
    return found[0]


def _kind(path: Path) -> str:
    """Tell what a file is by its first bytes, checked against what its name promises."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read: {error.strerror}") from error
    found = next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), None)
    promised = _SUFFIXES.get(path.suffix.lower())
    if promised is not None and promised != found:
        raise WorkloadError(
            f"{path}: expected {promised} by its name ({_MAGIC[promised].hex()}), "
            f"found bytes {head[:6].hex() or 'none: the file is empty'}"
        )
    if path.suffix.lower() == ".tar" and not _is_tar(head):
        raise WorkloadError(f"{path}: expected a tar archive by its name, found bytes {head[:6].hex()}")
    if found == "zip":
        return "zip archive"
    if found is None:
        return "tar archive" if _is_tar(head) else "plain file"
    with _decompressed(path, found) as stream:
        inner = stream.read(512)
    return f"{found} tar archive" if _is_tar(inner) else f"{found} file"


def _is_tar(block: bytes) -> bool:
    return block[257:262] == b"ustar"  # POSIX.1-1988 header, offset 257


def _decompressed(path: Path, compression: str) -> IO[bytes]:
    if compression == "gzip":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if compression == "xz":
        return lzma.open(path, "rb")
    if compression == "bzip2":
        return bz2.open(path, "rb")
    return path.open("rb")


def _members(path: Path, kind: str, chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    if kind == "zip archive":
        yield from _zip(path, chosen)
        return
    with _decompressed(path, kind.split(maxsplit=1)[0]) as stream:
        if kind.endswith("tar archive"):
            yield from _tar(stream, chosen)
        else:
            yield _bare(path.name), stream.read()


def _tar(stream: IO[bytes], chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as archive:
        for info in archive:
            name = _bare(info.name.removeprefix("./"))
            if not info.isfile() or not chosen(name):
                continue
            member = archive.extractfile(info)
            data = member.read() if member is not None else b""
            if len(data) != info.size:
                raise EOFError(f"{info.name} has {len(data)} of {info.size} bytes")
            yield name, _inflated(data)
    # tarfile stops at the end mark; the checksum of a compressed stream is only verified at its very end
    while stream.read(1 << 20):
        pass


def _zip(path: Path, chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _bare(info.filename)
            if not info.is_dir() and chosen(name):
                yield name, _inflated(archive.read(info))


def _folder(path: Path, chosen: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(path, onerror=refuse):
        folders.sort()
        for file in sorted(files):
            full = Path(folder) / file
            name = _bare(full.relative_to(path).as_posix())
            if chosen(name):
                try:
                    data = _inflated(full.read_bytes())
                except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                    raise WorkloadError(
                        f"{full}: expected a complete gzip file, found it truncated or damaged ({error})"
                    ) from error
                yield name, data


def _ahead(source: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Run ``source`` on a thread of its own: decompression and parsing both let go of the interpreter.

    Small members travel in batches, or handing them over would cost more than reading them.
    """
    ready: queue.Queue[list[tuple[str, bytes]] | Exception | None] = queue.Queue(_AHEAD)
    abandoned = threading.Event()

    def put(item: list[tuple[str, bytes]] | Exception | None) -> None:
        while not abandoned.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def run() -> None:
        batch: list[tuple[str, bytes]] = []
        size = 0
        try:
            for member in source:
                batch.append(member)
                size += len(member[1])
                if size >= _BATCH_BYTES:
                    put(batch)
                    batch, size = [], 0
                if abandoned.is_set():
                    return
            put(batch)
            put(None)
        except Exception as error:  # raised again by the reader, after the members before it
            put(batch)
            put(error)

    thread = threading.Thread(target=run, name="archive", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield from item
    finally:
        abandoned.set()
        thread.join()


def _inflated(data: bytes) -> bytes:
    if not data.startswith(_MAGIC["gzip"]):
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        return stream.read()


def _bare(name: str) -> str:
    return name.removesuffix(".gz")
