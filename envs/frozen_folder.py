"""A frozen model on disk: a folder of files and a manifest that says what they are and what they hash to.

``manifest.json`` holds ``format`` (what kind of model, with a version), ``sha256`` (of every other file), whatever
the model needs to be read again, and ``manifest_sha256``, of all of that. Nothing in it is executed: no pickle.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshade.envs.errors import InputError

MANIFEST = "manifest.json"
_OF_MANIFEST = "manifest_sha256"


def check_target(folder: str | Path) -> None:
    """Ask before the work whether a model can be frozen there; makes nothing.

    Raises:
        InputError: the folder holds something that is no frozen model, or cannot be written.

    """
    target = Path(folder)
    try:
        if target.is_dir():
            _check_replaceable(target)
        above = next(path for path in (target, *target.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=above):
            pass
    except OSError as error:
        raise InputError(f"{target}: expected a folder that can be written, {error.strerror}") from error


def _check_replaceable(target: Path) -> None:
    if any(target.iterdir()) and not (target / MANIFEST).exists():
        raise InputError(f"{target}: expected an empty folder or a frozen model to replace")


def freeze(folder: str | Path, kind: str, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Path:
    """Write a folder; the manifest last, so that a folder that has one is complete.

    Raises:
        InputError: the folder holds something that is no frozen model, or cannot be written.

    """
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        _check_replaceable(target)
        (target / MANIFEST).unlink(missing_ok=True)
        for name, data in files.items():
            (target / name).write_bytes(data)
        digests = {name: _digest(data) for name, data in sorted(files.items())}
        said = json.loads(json.dumps({"format": kind, **manifest, "sha256": digests}, allow_nan=False))
        text = json.dumps({**said, _OF_MANIFEST: _digest_of(said)}, indent=1, allow_nan=False)
        (target / MANIFEST).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{target}: cannot write the frozen model ({error})") from error
    return target


def thaw(folder: str | Path, kind: str) -> tuple[Mapping[str, Any], Mapping[str, bytes]]:
    """Read a folder back: its manifest and its files, each checked against its hash.

    Raises:
        InputError: no manifest, another kind or version, a missing file, or a file that was changed.

    """
    source = Path(folder)
    try:
        manifest = json.loads((source / MANIFEST).read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise InputError(f"{source}: expected a frozen model with {MANIFEST} ({error})") from error
    except ValueError as error:
        raise InputError(f"{source / MANIFEST}: expected JSON ({error})") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != kind:
        raise InputError(f"{source / MANIFEST}: format: expected {kind!r}, got {found!r}")
    whole = manifest.pop(_OF_MANIFEST, None)  # versions before 30 November 2026 wrote none
    if whole is not None and whole != _digest_of(manifest):
        raise InputError(
            f"{source / MANIFEST}: expected what {_OF_MANIFEST} was written of, got other values"
        )
    digests = manifest.get("sha256")
    if not isinstance(digests, dict) or not all(isinstance(digest, str) for digest in digests.values()):
        raise InputError(f"{source / MANIFEST}: sha256: expected the hash of each file, got {digests!r}")
    files = {}
    for name, digest in digests.items():
        if Path(name).name != name:
            raise InputError(f"{source / MANIFEST}: sha256: expected plain file names, got {name!r}")
        try:
            data = (source / name).read_bytes()
        except OSError as error:
            raise InputError(f"{source / name}: cannot read ({error})") from error
        if _digest(data) != digest:
            raise InputError(f"{source / name}: expected SHA-256 {digest[:12]}…, got {_digest(data)[:12]}…")
        files[name] = data
    return manifest, files


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _digest_of(manifest: Mapping[str, Any]) -> str:
    """Of the values, however they are laid out."""
    return _digest(json.dumps(manifest, sort_keys=True, allow_nan=False).encode())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
