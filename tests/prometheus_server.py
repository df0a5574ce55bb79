"""A Prometheus of the tests' own, on the loopback: ready when it is handed out, ended with its block."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

_LISTENS = re.compile(r'msg="Listening on" address=(\S+)')
_PATIENCE_S = 120.0


@contextmanager
def prometheus(config: Path, folder: Path) -> Iterator[str]:
    """Yields the address of a server of that configuration; its store and its log are in ``folder``.

    The system gives it a port, so that nobody can take it between being found free and being bound; the server says
    in its log which one it is. It takes no questions (503) until it has read its store.
    """
    folder.mkdir(exist_ok=True)
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    log = folder / "log"
    with log.open("wb") as told:
        server = subprocess.Popen([*command, "--web.listen-address=127.0.0.1:0"], stdout=told, stderr=told)
    try:
        end, address = time.monotonic() + _PATIENCE_S, ""
        while not (address and _ready(address)):
            said = log.read_text()
            assert server.poll() is None, said[-2000:]
            assert time.monotonic() < end, said[-2000:]
            if found := _LISTENS.search(said):
                address = f"http://{found[1]}"
            time.sleep(0.1)
        yield address
    finally:
        server.kill()
        server.wait()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/-/ready", timeout=10.0).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
