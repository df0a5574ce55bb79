"""libvirt's saved image of a running guest, with another identity.

libvirt refuses another name or UUID when it restores. The image is a header (magic, then 19 words: version, length of
the XML area, whether it ran, compression, where its cookie begins, …), the XML padded with zeros, the cookie within
that area, and then QEMU's own stream, which holds no name: so the XML is replaced, and the stream is copied as it is.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

from foreshade.adapters.libvirt_world.library import said
from foreshade.envs.errors import WorldError

_MAGIC = b"LibvirtQemudSave"
_WORDS = struct.Struct("=19I")
_LENGTH, _COOKIE = 1, 4


def twin(source: Path, target: Path, change: Callable[[str], str]) -> None:
    """Write ``source`` to ``target`` with its domain XML changed.

    Raises:
        WorldError: it cannot be read or written, or is no saved image; then there is no ``target``.

    """
    try:
        with source.open("rb") as old, target.open("wb") as new:
            magic = old.read(len(_MAGIC))
            if magic != _MAGIC:
                raise WorldError(f"{source}: expected a saved image, found {magic!r}")
            words = list(_WORDS.unpack(old.read(_WORDS.size)))
            area = old.read(words[_LENGTH])
            cookie = area[words[_COOKIE] :] if words[_COOKIE] else b""
            text = change(area.split(b"\0", 1)[0].decode()).encode() + b"\0"
            words[_LENGTH] = len(text) + len(cookie)
            words[_COOKIE] = len(text) if cookie else 0
            new.write(magic + _WORDS.pack(*words) + text + cookie)
            new.flush()
            _rest(old.fileno(), new.fileno(), old.tell(), source)
    except (OSError, struct.error, UnicodeDecodeError) as error:
        target.unlink(missing_ok=True)
        raise WorldError(
            f"{source}: expected to copy a saved image to {target}, found {said(error)}"
        ) from error
    except WorldError:
        target.unlink(missing_ok=True)
        raise


def _rest(old: int, new: int, at: int, source: Path) -> None:
    """The stream, inside the kernel where it can."""
    left = source.stat().st_size - at
    try:
        while left > 0:
            moved = os.copy_file_range(old, new, left, at)
            if moved == 0:
                break
            at, left = at + moved, left - moved
    except OSError:
        os.lseek(old, at, os.SEEK_SET)
        os.lseek(new, 0, os.SEEK_END)
        with os.fdopen(os.dup(old), "rb") as a, os.fdopen(os.dup(new), "wb") as b:
            shutil.copyfileobj(a, b, 1 << 22)
