"""Server-sent events over a connection that may stop being read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

#: How long one frame may wait for the reader before the stream is ended.
PATIENCE_S = 20.0


class EventStream(Response):
    """``text/event-stream``: one frame after the other, each within ``PATIENCE_S``."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], patience_s: float = PATIENCE_S) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._frames = frames
        self._patience_s = patience_s

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002  ASGI
        receive: Receive,
        send: Send,
    ) -> None:
        """Send until the frames end, the client goes, or it stops reading."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        gone = asyncio.ensure_future(_gone(receive))
        pump = asyncio.ensure_future(self._pump(send))
        try:
            await asyncio.wait((gone, pump), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, pump):
                task.cancel()
            await asyncio.gather(gone, pump, return_exceptions=True)

    async def _pump(self, send: Send) -> None:
        try:
            async for frame in self._frames:
                async with asyncio.timeout(self._patience_s):
                    await send({"type": "http.response.body", "body": frame, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except (TimeoutError, ClientDisconnect, OSError):
            return  # it does not read, or is gone: nothing to be told
        finally:
            close = getattr(self._frames, "aclose", None)
            if close is not None:
                await close()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
